"""Which runs there are in a working folder, and what is tidied up where no other one is alive.

Snakemake locks what a run reads and writes, and cannot tell a living run from a dead one. Here each
run enters itself beside the locks, so that the next one knows.
"""

import atexit
import sys
from dataclasses import asdict
from pathlib import Path

from segflow.files.content import read_json, write_json
from segflow.files.damage import set_damage_aside
from segflow.jobs.folder_leases import Owner, this_process


def enter_run(folder: Path) -> None:
    """Enter this run, remove locks of runs which are gone, and set aside what they found damaged.

    Both stay if any run may be alive: if one is, if one was started on another host, or if there
    is no record of who took them.

    Parameters
    ----------
    folder : Path
        Snakemake's own folder, ``.snakemake`` in the working folder.
    """
    mine = this_process()
    gone, others = _entered_runs(folder, mine)
    if gone and not others:
        locks = sorted((folder / "locks").glob("*.lock"))
        if locks:
            print("The last run was killed; its lock is removed.", file=sys.stderr)
        for path in (*locks, *gone):
            path.unlink(missing_ok=True)
    if not others:
        set_damage_aside(folder)
    record = folder / "runs" / f"{mine.token}.json"
    write_json(record, asdict(mine))
    atexit.register(record.unlink, missing_ok=True)


def end_run(folder: Path) -> None:
    """Set aside what jobs found damaged, unless another run may be using it.

    Parameters
    ----------
    folder : Path
        Snakemake's own folder.
    """
    if _entered_runs(folder, this_process())[1] <= 1:  # this one
        set_damage_aside(folder)


def _entered_runs(folder: Path, mine: Owner) -> tuple[list[Path], int]:
    """Return the records of runs that are gone, and how many runs may be alive."""
    gone, alive = [], 0
    for path in sorted((folder / "runs").glob("*.json")):
        try:
            owner = Owner(**read_json(path))
        except (ValueError, TypeError):
            owner = None  # torn by a power cut
        except FileNotFoundError:
            continue
        if owner is None or _is_gone(owner, mine):
            gone.append(path)
        else:
            alive += 1
    return gone, alive


def _is_gone(owner: Owner, mine: Owner) -> bool:
    """Say whether a process has surely ended: here, or before this host was started again."""
    if owner.place == mine.place:
        return not owner.is_alive()
    return owner.host == mine.host and owner.boot != mine.boot
