"""Tables of cases: the one place that says what a data set consists of."""

import csv
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from segflow.files.content import Damaged, replacing


@dataclass(frozen=True)
class Case:
    """One converted case, a row of ``cases.csv``.

    Parameters
    ----------
    case, patient, group, split, class_label : str
        As in `segflow.datasets.sources.SourceCase`.
    images, label : str
        Raw files relative to the data set's folder; several are separated by ``;``. The label is
        empty without a reference, the word ``empty`` where it is known to hold nothing, and
        ``made`` where conversion makes it (the mask of a brain).
    image_sha256, label_sha256 : str
        SHA-256 of the raw files (of the digests, if there are several); empty without a label.
    content : str
        Key of the converted image and label: of the raw files and the rules of the conversion.
    shape : str
        Voxels along z, y and x, separated by blanks.
    spacing_mm : str
        Spacing along z, y and x, separated by blanks.
    published_split : str
        The part that the publishers gave the case to: ``train``, ``val``, ``test``, or empty.
    voxels : str
        Key of the decoded voxels of each channel, separated by ``;`` (see
        `segflow.images.identity`); empty for a channel of one value.
    label_voxels : str
        Number of voxels of each label value from 1 on, separated by blanks; empty without a
        reference.
    orientation : str
        How the axes of the raw image lie in the body (see `segflow.images.orientation`); empty
        for 2D images.
    covariates : dict of str to str
        Further columns of the table: age, session, ...
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
    content: str
    shape: str
    spacing_mm: str
    published_split: str = ""
    voxels: str = ""
    label_voxels: str = ""
    orientation: str = ""
    covariates: dict[str, str] = field(default_factory=dict)

    @property
    def n_voxels(self) -> int:
        """Number of voxels of one channel."""
        return math.prod(int(size) for size in self.shape.split())

    @property
    def label_volumes_mm3(self) -> dict[int, float]:
        """Volume of each label value from 1 on that the reference holds; areas of 2D images."""
        one = math.prod(float(value) for value in self.spacing_mm.split())
        counts = enumerate(map(int, self.label_voxels.split()), 1)
        return {value: count * one for value, count in counts if count}


def ages_of(cases: Iterable[Case]) -> dict[str, float]:
    """Return the age in years of each case that has the covariate ``age``."""
    return {case.case: float(case.covariates["age"]) for case in cases if "age" in case.covariates}


COLUMNS = [column.name for column in fields(Case) if column.name != "covariates"]


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write a table of cases, sorted by name; covariates become columns of their own.

    Raises
    ------
    ValueError
        If a covariate has the name of another column.
    """
    cases = sorted(cases, key=lambda case: case.case)
    names = sorted({name for case in cases for name in case.covariates})
    if taken := sorted({*names} & {*COLUMNS}):
        raise ValueError(f"{path}: covariates cannot be called {taken}: these columns are taken")
    rows = []
    for case in cases:
        row = asdict(case)
        covariates = row.pop("covariates")
        rows.append(row | dict.fromkeys(names, "") | covariates)
    write_rows(path, rows, COLUMNS + names)


def read_cases(path: Path) -> list[Case]:
    """Read a table of cases.

    Raises
    ------
    Damaged
        If it has other columns, or ends within a row.
    ValueError
        If a case is listed twice.
    """
    cases, seen = [], set()
    for row in read_rows(path, COLUMNS, more=True):
        own = {name: row.pop(name) for name in COLUMNS}
        if own["case"] in seen:
            raise ValueError(f"{path}: case {own['case']!r} is listed twice")
        seen.add(own["case"])
        cases.append(Case(**own, covariates={name: value for name, value in row.items() if value}))
    return cases


def write_rows(path: Path, rows: Iterable[dict], columns: list[str]) -> None:
    """Write rows as a CSV file with these columns, atomically; a NaN is an empty field."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({name: "" if value != value else value for name, value in row.items()})


def read_rows(path: Path, columns: list[str], more: bool = False) -> list[dict[str, str]]:
    """Read the rows of a CSV file that has exactly these columns, or these and `more`.

    Raises
    ------
    Damaged
        If it has other columns, or ends within a row.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        found = list(reader.fieldnames or [])
        if (found[: len(columns)] if more else found) != columns:
            raise Damaged(f"{path}: expected columns {columns}, found {found}", path)
        rows = list(reader)
    if any(None in row or None in row.values() for row in rows):
        raise Damaged(f"{path}: a row has not {len(found)} fields as the first has", path)
    return rows
