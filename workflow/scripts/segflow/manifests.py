"""Tables of finished cases that steps hand to each other: a name and a key of the content."""

from pathlib import Path

from segflow.cases import read_rows, write_rows

COLUMNS = ["case", "key"]


def read_manifest(path: Path) -> dict[str, str]:
    """Read a table of finished cases: the key of each case by its name."""
    return {row["case"]: row["key"] for row in read_rows(path, COLUMNS)}


def write_manifest(path: Path, keys: dict[str, str]) -> None:
    """Write a table of finished cases, sorted by name."""
    write_rows(path, [{"case": case, "key": keys[case]} for case in sorted(keys)], COLUMNS)
