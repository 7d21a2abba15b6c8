"""Tables of finished cases that steps hand to each other: a name and a key of the content."""

from collections.abc import Iterable
from pathlib import Path

from segflow.files.cases import Case, read_cases, read_rows, write_rows
from segflow.files.content import Damaged
from segflow.files.ledger import Ledger

COLUMNS = ["case", "key"]
# Of new images: tables of those that are segmented and of what they hold, and the probabilities of
# their classes.
SEGMENTED, MEASURED, CLASSIFIED = "segmentations.csv", "volumes.csv", "classes.csv"


def read_manifest(path: Path) -> dict[str, str]:
    """Read a table of finished cases: the key of each case by its name."""
    return {row["case"]: row["key"] for row in read_rows(path, COLUMNS)}


def read_finished(path: Path, folder: Path, cases: Iterable[str] | None = None) -> dict[str, str]:
    """Read a table of finished cases and check that their files are as they were left.

    Parameters
    ----------
    path : Path
        The table.
    folder : Path
        Folder of the cases' files, with a ledger.
    cases : iterable of str, optional
        The cases to look at; all, if left out.

    Returns
    -------
    dict of str to str
        The key of each case of the table.

    Raises
    ------
    Damaged
        If a file is lost or has another size, or the table itself is damaged.
    """
    keys = read_manifest(path)
    chosen = keys.keys() if cases is None else keys.keys() & set(cases)
    check_finished({case: keys[case] for case in chosen}, path, folder)
    return keys


def check_finished(keys: dict[str, str], path: Path, folder: Path) -> None:
    """Check that the files of finished cases, read from the table `path`, are as they were left.

    Raises
    ------
    Damaged
        If a file is lost or has another size.
    """
    ledger = Ledger(folder)
    for case in sorted(keys):
        _check(ledger, case, keys[case], path)


def read_converted(path: Path, raw: Path, *vouching: Path) -> list[Case]:
    """Read a table of cases and check that their converted files are as they were left.

    Parameters
    ----------
    path : Path
        The table.
    raw : Path
        Folder of the data set in nnU-Net's raw layout.
    *vouching : Path
        Tables that `path` was gathered from.

    Raises
    ------
    Damaged
        If a file is lost or has another size, or the table itself is damaged.
    """
    cases = read_cases(path)
    for case in cases:
        part = "Tr" if case.split == "train" else "Ts"
        for kind in ("images", "labels") if case.label else ("images",):
            _check(Ledger(raw / f"{kind}{part}"), case.case, case.content, path, *vouching)
    return cases


def _check(ledger: Ledger, case: str, key: str, *vouching: Path) -> None:
    if ledger.find(case, key) is None:
        raise Damaged(
            f"{ledger.folder}: a file of case {case!r} is lost, cut short or replaced", *vouching
        )


def write_manifest(path: Path, keys: dict[str, str]) -> None:
    """Write a table of finished cases, sorted by name."""
    write_rows(path, [{"case": case, "key": keys[case]} for case in sorted(keys)], COLUMNS)
