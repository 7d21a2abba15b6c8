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
    runs = folder / "runs"
    gone, others = [], 0
    for path in sorted(runs.glob("*.json")):
        try:
            owner = Owner(**read_json(path))
        except (ValueError, TypeError):
            owner = None  # torn by a power cut
        except FileNotFoundError:
            continue
        if owner is None or _is_gone(owner, mine):
            gone.append(path)
        else:
            others += 1
    if gone and not others:
        locks = sorted((folder / "locks").glob("*.lock"))
        if locks:
            print("The last run was killed; its lock is removed.", file=sys.stderr)
        for path in (*locks, *gone):
            path.unlink(missing_ok=True)
    if not others:
        set_damage_aside(folder)
    record = runs / f"{mine.token}.json"
    write_json(record, asdict(mine))
    atexit.register(record.unlink, missing_ok=True)


def _is_gone(owner: Owner, mine: Owner) -> bool:
    """Say whether a process has surely ended: here, or before this host was started again."""
    if owner.place == mine.place:
        return not owner.is_alive()
    return owner.host == mine.host and owner.boot != mine.boot
