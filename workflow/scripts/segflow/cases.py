"""Tables of cases: the one place that says what a data set consists of."""

import csv
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from segflow.content import content_key, replacing


@dataclass(frozen=True)
class Case:
    """One converted case, a row of ``cases.csv``.

    Parameters
    ----------
    case, patient, group, split, class_label : str
        As in `segflow.sources.SourceCase`.
    images, label : str
        Raw files relative to the data set's folder; several are separated by ``;``.
    image_sha256, label_sha256 : str
        SHA-256 of the raw files (of the digests, if there are several); empty without a label.
    shape : str
        Voxels along z, y and x, separated by blanks.
    spacing_mm : str
        Spacing along z, y and x, separated by blanks.
    """

    case: str
    patient: str
    group: str
    split: str
    class_label: str
    images: str
    label: str
    image_sha256: str
    label_sha256: str
    shape: str
    spacing_mm: str

    @property
    def n_voxels(self) -> int:
        """Number of voxels of one channel."""
        return math.prod(int(size) for size in self.shape.split())

    @property
    def content(self) -> str:
        """Key of the case's image and label."""
        return content_key(self.image_sha256, self.label_sha256)


COLUMNS = [field.name for field in fields(Case)]


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write a table of cases, sorted by name."""
    write_rows(path, [asdict(case) for case in sorted(cases, key=lambda c: c.case)], COLUMNS)


def read_cases(path: Path) -> list[Case]:
    """Read a table of cases.

    Raises
    ------
    ValueError
        If a column is missing or a case is listed twice.
    """
    cases = [Case(**row) for row in read_rows(path, COLUMNS)]
    seen = set()
    for case in cases:
        if case.case in seen:
            raise ValueError(f"{path}: case {case.case!r} is listed twice")
        seen.add(case.case)
    return cases


def write_rows(path: Path, rows: Iterable[dict], columns: list[str]) -> None:
    """Write rows as a CSV file with these columns, atomically; a NaN is an empty field."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({name: "" if value != value else value for name, value in row.items()})


def read_rows(path: Path, columns: list[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV file that has exactly these columns.

    Raises
    ------
    ValueError
        If it has other columns.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != columns:
            raise ValueError(f"{path}: expected columns {columns}, found {reader.fieldnames}")
        return list(reader)
