"""A user's own files, named by one CSV.

The table has one row for each case and these columns, of which only the first is needed:

* ``image``: the file; several channels are several files, separated by ``;`` or ``|``, or columns
  ``image_0``, ``image_1``, ... instead of ``image``. All rows have the same number of files.
* ``label``: the file of the reference; several, separated in the same way, are united, each with
  the values that it holds. ``NAME=FILE`` is a mask of the label NAME alone; labels that are not
  named are not there. The word ``empty`` stands for a reference that is known to be empty, a blank
  for no reference.
* ``label_NAME`` instead of ``label``, one column for each label that has masks of its own. The word
  ``empty`` stands for a label that is not there; a case without a reference is blank in all.
* ``case``: a name of Latin letters, digits, ``.``, ``_`` and ``-``; if blank, that of the image, or
  ``case_`` and a number where this has no such character.
* ``patient``: if blank, each case counts as one.
* ``group``: what a split must not tear apart; if blank, the patient.
* ``split``: ``train``, ``val`` or ``test``; if blank, ``train``.
* ``class``: class of the whole case.
* ``covariate_NAME``: anything else worth knowing.

Paths are relative to the table, with forward slashes. A file is NIfTI, NRRD, MHA, PNG, TIFF, JPEG,
BMP or DICOM; a folder is one DICOM series. The cells of the table may be separated by comma,
semicolon or tabulator, as spreadsheets of different countries write them.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from segflow.datasets.sources import NAME, Catalogue, Problem, SourceCase, no_cases
from segflow.files.content import content_key
from segflow.files.folders import visible
from segflow.files.suffixes import IMAGES, stem, suffix
from segflow.files.words import counted

OPTIONS: dict[str, dict] = {
    "table": {
        "type": "string",
        "default": "cases.csv",
        "description": "the table's file, below the raw folder",
    },
}
COLUMNS = ("image", "label", "case", "patient", "group", "split", "class")
CHANNEL = re.compile(r"image_(0|[1-9]\d*)")
LABEL = re.compile(r"label_(.+)")
COVARIATE = re.compile(r"covariate_(\w+)")
SPLITS = ("train", "val", "test")
DELIMITERS = ",;\t"
# Headers that name another file with the voxels (.mhd, .nhdr, .hdr) are not among them: a change
# of that file would go unseen.
SUFFIXES = tuple(known for known in IMAGES if known not in (".mhd", ".npy"))
MEND = "mend the table"

Row = Mapping[str, str]
Report = Callable[..., None]


def find_cases(raw: Path, table: str = "cases.csv") -> Catalogue:
    """Return the cases that a table lists.

    Every problem of the table is reported with its line, of which the header is the first. A case
    with a problem is left out.

    Parameters
    ----------
    raw : Path
        The folder with the table.
    table : str
        Path of the table below `raw`.

    Raises
    ------
    FileNotFoundError
        If the table is missing.
    """
    path = raw / table
    if ".." in Path(table).parts or not path.is_relative_to(raw) or not path.is_file():
        raise no_cases(raw, f"a table {table} that names the images")
    problems: list[Problem] = []

    def report(line: int, problem: str, action: str = MEND, case: str = "") -> None:
        text = f"line {line}: {problem}" if line else problem
        problems.append(Problem(case, table, "error", text, action))

    def report_row(line: int, case: str) -> Report:
        return lambda problem, action=MEND: report(line, problem, action, case)

    rows = _read_rows(path, report)
    cases: dict[int, SourceCase] = {}
    for line, row in rows.items():
        count = len(problems)
        name = row.get("case") or _name_of(_image_names(row))
        case = _read_case(path.parent, row, name, report_row(line, name))
        if len(problems) == count:
            cases[line] = case
    _check_names(cases, report)
    _check_images(raw, cases, report)
    _check_channels(cases, report)
    _check_groups(cases, report)
    if not rows and not problems:
        report(0, "there is no row below the header", "add a row for each case")
    wrong = {problem.case for problem in problems}
    return Catalogue([case for case in cases.values() if case.case not in wrong], problems)


def _read_rows(path: Path, report: Report) -> dict[int, Row]:
    """Return the rows by their lines; none if the header is wrong."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        report(line, "is not UTF-8", "save the table as 'CSV UTF-8'")
        return {}
    if "\0" in text:
        report(0, "the file is damaged or no text (it holds NUL bytes)")
        return {}
    rows: dict[int, list[str]] = {}
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        line = 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows[line] = [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        report(line, f"cannot be read ({error})")
        return {}
    if not rows:
        report(0, "the table is empty", "name the images in it")
        return {}
    line, *lines = rows
    columns = _without_blanks(rows[line])
    if not _check_header(line, columns, report):
        return {}
    for line in lines:
        surplus = _without_blanks(rows[line])[len(columns) :]
        if surplus:
            text = (
                f"{counted(len(columns) + len(surplus), 'cell')} below a header of {len(columns)}"
            )
            report(line, text, "separate files within a cell by '|', or quote the cell")
    blank = dict.fromkeys(columns, "")
    return {
        line: blank | dict(zip(columns, rows[line], strict=False))
        for line in lines
        if len(_without_blanks(rows[line])) <= len(columns)
    }


def _delimiter(text: str) -> str:
    """Return what separates the cells: that by which the header has the most known columns."""
    header = next((line for line in text.splitlines() if line.strip()), "")

    def known(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip(' "') for cell in header.split(delimiter)]
        return sum(_is_known(cell) for cell in cells), len(cells)

    return max(DELIMITERS, key=known)


def _is_known(column: str) -> bool:
    return column in COLUMNS or any(kind.fullmatch(column) for kind in (CHANNEL, LABEL, COVARIATE))


def _without_blanks(cells: list[str]) -> list[str]:
    """Return cells without the blank ones at the end, which spreadsheets add."""
    length = max((number for number, cell in enumerate(cells, 1) if cell), default=0)
    return cells[:length]


def _check_header(line: int, columns: list[str], report: Report) -> bool:
    """Report what is wrong with the columns, and say whether nothing is."""
    found: list[str] = []
    for column, count in Counter(columns).items():
        if not _is_known(column):
            more = "image_0, image_1, ..., label_NAME, covariate_NAME"
            allowed = f"allowed: {', '.join(COLUMNS)}, {more}"
            found.append(f"unknown column {column!r} ({allowed})")
        elif count > 1:
            found.append(f"column {column!r} is there {count} times")
    channels = [column for column in columns if CHANNEL.fullmatch(column)]
    expected = [f"image_{number}" for number in range(len(channels))]
    if channels and "image" in columns:
        found.append("there are both 'image' and 'image_0', ...; one kind is enough")
    elif not channels and "image" not in columns:
        found.append("there is no column 'image'")
    elif set(channels) != set(expected):
        found.append(f"found columns {', '.join(channels)}, expected {', '.join(expected)}")
    if "label" in columns and any(LABEL.fullmatch(column) for column in columns):
        found.append("there are both 'label' and 'label_NAME'; one kind is enough")
    for text in found:
        report(line, text)
    return not found


def _image_names(row: Row) -> list[str]:
    """Return the names of the images of a row, one for each channel."""
    channels = sorted((name for name in row if CHANNEL.fullmatch(name)), key=_channel)
    names = [row[name] for name in channels] or _split(row["image"])
    while channels and names and not names[-1]:
        names.pop()  # a case of fewer channels, which is found out later
    return names


def _read_case(folder: Path, row: Row, case: str, report: Report) -> SourceCase:
    """Return the case of a row, reporting what is wrong with it."""
    names = _image_names(row)
    if not all(names) or not names:
        report("the image is missing")
    images = tuple(_find(folder, name, report) for name in names if name)
    labels, label_names = _read_labels(folder, row, report)
    if case and not NAME.fullmatch(case):
        report(f"{case!r} cannot name a case", "use letters, digits, '.', '_' and '-'")
    split = row.get("split") or "train"
    if split not in SPLITS:
        report(f"unknown split {split!r} (allowed: {', '.join(SPLITS)}, or blank for train)")
    return SourceCase(
        case=case,
        patient=row.get("patient") or case,
        split=split,
        images=images,
        labels=labels,
        label_names=label_names,
        group=row.get("group", ""),
        class_label=row.get("class", ""),
        covariates={
            match[1]: value for name, value in row.items() if (match := COVARIATE.fullmatch(name))
        },
    )


def _read_labels(
    folder: Path, row: Row, report: Report
) -> tuple[tuple[Path, ...] | None, tuple[str, ...]]:
    """Return the files of the reference, or None, and the label that each of them is a mask of."""
    cells = {match[1]: cell for name, cell in row.items() if (match := LABEL.fullmatch(name))}
    if blank := [name for name, cell in cells.items() if not cell]:
        if len(blank) < len(cells):
            text = f"no mask of {', '.join(blank)}, but of other labels"
            report(text, "name the file, or write 'empty' where the label is not there")
        return None, ()
    if not cells:
        written = row.get("label", "")
        if not written:
            return None, ()
        cells = {"": written}
    files = [
        (name, file)
        for name, cell in cells.items()
        for file in ([] if cell.lower() == "empty" else _split(cell))
    ]
    if "" in cells:
        files = [_named(folder, file) for _, file in files]
        if len({bool(name) for name, _ in files}) > 1:
            report("some files have the name of their label and some have not")
    paths = tuple(_find(folder, file, report) for _, file in files)
    return paths, tuple(name for name, _ in files) if any(name for name, _ in files) else ()


def _named(folder: Path, file: str) -> tuple[str, str]:
    """Return the label and the file of ``NAME=FILE``; a file may have the sign in its own name."""
    if "=" not in file or os.path.isfile(folder / file):
        return "", file
    name, _, file = file.partition("=")
    return name.strip(), file.strip()


def _channel(column: str) -> int:
    return int(column.removeprefix("image_"))


def _split(cell: str) -> list[str]:
    """Return the names in a cell. A spreadsheet that puts ``;`` between cells needs the ``|``."""
    return [name.strip() for name in re.split(r"[;|]", cell)] if cell else []


def _find(folder: Path, name: str, report: Report) -> Path:
    """Return the path of a file or series, reporting it if it is not there or not allowed."""
    parts = PurePosixPath(name)
    path = folder / parts
    if not parts.parts:
        report("a name is missing between two separators")
    elif "\\" in name:
        report(f"{name!r} has backslashes", "write the path with forward slashes")
    elif parts.is_absolute() or ".." in parts.parts or re.match("[A-Za-z]:", name):
        report(f"{name!r} leaves the raw folder", "write the path relative to the table")
    elif os.path.isdir(path):  # which, unlike pathlib, take names that are too long for a file
        if not any(file.is_file() for file in visible(path)):
            report(f"the folder {name} has no files", "put the DICOM files there")
    elif not os.path.isfile(path):
        report(f"there is no file {name}", "add the file or mend its name")
    # Files of a DICOM series may have no suffix, or end in a number.
    elif suffix(path) not in SUFFIXES and not re.fullmatch(r"|\.\d+", parts.suffix):
        report(f"{name} is of an unknown kind (allowed: {', '.join(SUFFIXES)})", "convert the file")
    return path


def _name_of(names: list[str]) -> str:
    """Return a name for a case of these files: that of the first, made safe.

    A name without any Latin letter or digit is replaced by one that stands for it.
    """
    if not names:
        return ""
    path = Path(names[0])
    name = stem(path) if suffix(path) in SUFFIXES else path.name
    if len(names) > 1:
        name = name.removesuffix("_0000")
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip("._-")
    return safe or f"case_{content_key(name)[:8]}"


def _check_names(cases: dict[int, SourceCase], report: Report) -> None:
    """Report cases of one name."""
    first: dict[str, int] = {}
    for line, case in cases.items():
        other = first.setdefault(case.case, line)
        if other != line:
            text = f"case {case.case!r} is already in line {other}"
            report(line, text, "give the rows names of their own in a column 'case'", case.case)


def _check_images(raw: Path, cases: dict[int, SourceCase], report: Report) -> None:
    """Report images that are listed twice."""
    first: dict[Path, int] = {}
    for line, case in cases.items():
        for path in case.images:
            if path in first:
                where = "this line" if first[path] == line else f"line {first[path]}"
                text = f"image {path.relative_to(raw)} is already in {where}"
                report(line, text, "take one of them out", case.case)
            first.setdefault(path, line)


def _check_channels(cases: dict[int, SourceCase], report: Report) -> None:
    """Report cases with another number of files than most."""
    counts = Counter(len(case.images) for case in cases.values())
    usual = max(counts, key=lambda count: (counts[count], count), default=0)
    for line, case in cases.items():
        if len(case.images) != usual:
            text = f"number of images is {len(case.images)}, that of most rows {usual}"
            report(line, text, "name one file for each channel", case.case)


def _check_groups(cases: dict[int, SourceCase], report: Report) -> None:
    """Report patients of several groups: a split by groups would tear them apart."""
    first: dict[str, tuple[int, str]] = {}
    for line, case in cases.items():
        other, group = first.setdefault(case.patient, (line, case.group))
        if group != case.group:
            # Patient and group may be names of people, so they stay unsaid.
            text = f"the patient is of another group than in line {other}"
            report(line, text, "put the patient into one group", case.case)
