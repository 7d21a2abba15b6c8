"""What a job finds damaged: noted by the job, and set aside when no other job can need it any more.

A table that a job found wrong may be what others of the same run wait for. Were it gone at once,
Snakemake would end in the midst of its work, and its error would name the missing table in place
of the damage.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from segflow.files.content import Damaged, read_own_json, write_json

SNAKEMAKE = Path(".snakemake")  # Snakemake's own folder in the working folder, which jobs share
NOTES = "damaged"  # folder in it


@contextmanager
def noting_damage() -> Iterator[None]:
    """Note what the block finds damaged, so that it is set aside and made again.

    Where no Snakemake has run, it is set aside at once.

    Raises
    ------
    ValueError
        In place of `Damaged`; it says what to do.
    """
    try:
        yield
    except Damaged as damage:
        found = [path for path in damage.files if path.exists()]
        if SNAKEMAKE.is_dir():
            note = [[str(path.absolute()), path.stat().st_mtime_ns] for path in found]
            write_json(SNAKEMAKE / NOTES / f"{uuid4().hex}.json", note)
        else:
            _set_aside(found)
        raise ValueError(
            f"{damage}; set aside as *.damaged: {', '.join(map(str, found))}; run again, and only "
            "what is missing is made again"
        ) from None


def set_damage_aside(folder: Path = SNAKEMAKE) -> None:
    """Rename what jobs found damaged, unless it was made again since.

    Parameters
    ----------
    folder : Path
        Snakemake's own folder.
    """
    for note in sorted((folder / NOTES).glob("*.json")):
        try:
            noted = [(Path(name), time) for name, time in read_own_json(note)]
            _set_aside([p for p, time in noted if p.exists() and p.stat().st_mtime_ns == time])
        except Damaged:  # the note, by a power cut: whoever needs the file finds it damaged again
            pass
        note.unlink(missing_ok=True)


def _set_aside(paths: list[Path]) -> None:
    for path in paths:
        path.replace(path.with_name(f"{path.name}.damaged"))
