"""ADNI (Alzheimer's Disease Neuroimaging Initiative) in the BIDS layout that Clinica writes.

A T1-weighted image is ``sub-ADNI002S0295/ses-M000/anat/sub-ADNI002S0295_ses-M000_T1w.nii.gz``
(``ses-M00`` in older versions). ``participants.tsv`` gives the sex, and one
``sub-ADNI002S0295/sub-ADNI002S0295_sessions.tsv`` for each subject gives diagnosis, age and
scores of each visit. The visits are those of the clinical data: many have no image.

The class of an image is the diagnosis of its own session, never that of the screening or of
another session. The subgroups of ADNI 2 count as what they are subgroups of: early and late mild
cognitive impairment (EMCI, LMCI) as MCI, and significant memory concern (SMC) as CN, for these
participants score within the normal range. An image without one of these diagnoses is left out.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.folders import visible
from segflow.files.words import counted

OPTIONS: dict[str, dict] = {
    "sessions": {
        "enum": ["all", "baseline"],
        "default": "all",
        "description": "all sessions, or the first visit of each subject (M00) only",
    },
}
IMAGES = ("*_T1w.nii.gz", "*_T1w.nii")
CLASSES = {
    "CN": ("cn", "nc", "nl", "smc"),
    "MCI": ("mci", "emci", "lmci"),
    "AD": ("ad", "dementia"),
}
SEXES = {"M": ("m", "male"), "F": ("f", "female")}
# Names of the columns in small letters; Clinica's own come first.
SUBJECT_COLUMNS = {"participant": ("participant_id",), "sex": ("sex", "gender")}
SESSION_COLUMNS = {
    "session": ("session_id",),
    "diagnosis": ("diagnosis", "dx"),
    "age": ("age",),
    "mmse": ("mmse", "mms"),
    "cdr": ("cdr_global", "cdr_cdglobal", "cdr"),
}
SCORES = ("age", "mmse", "cdr")
# ADNI writes -1 and -4 for what was not measured or does not apply.
MISSING = {"", "n/a", "nan", "-1", "-1.0", "-4", "-4.0"}
BASELINE = re.compile(r"ses-M0+")
DOWNLOADED = re.compile(r"\d{3}_S_\d{4,}")
CLINICAL = ("ADNIMERGE*.csv", "DXSUM*.csv")
MEND = "mend the table, or convert the data again"

Row = Mapping[str, str]


def find_cases(raw: Path, sessions: str = "all") -> Catalogue:
    """Return one case for each session with a T1-weighted image and a diagnosis.

    Where a session has several such images, the first by name is taken. The data set has no
    published split. The covariates of a case are session, age, sex, mmse and cdr, each empty
    where it is unknown.

    Parameters
    ----------
    raw : Path
        The BIDS folder. Its ``derivatives`` are not looked at.
    sessions : {'all', 'baseline'}
        Which sessions to take.

    Raises
    ------
    FileNotFoundError
        If `raw` has no T1-weighted images, or is a download that was not converted to BIDS.
    """
    images = {
        (patient.name, session.name): found
        for patient in _folders(raw, "sub-*")
        for session in _folders(patient, "ses-*")
        if (found := [path for name in IMAGES for path in visible(session / "anat", name)])
    }
    if not images:
        if found := _download(raw):
            raise FileNotFoundError(
                f"{raw}: {found} belongs to a download of ADNI; convert it to BIDS with Clinica "
                "(clinica convert adni-to-bids DOWNLOAD CLINICAL_DATA BIDS) and give that folder"
            )
        raise no_cases(raw, "sub-*/ses-*/anat/*_T1w.nii.gz of a BIDS folder")
    problems: list[Problem] = []
    sexes = _read_sexes(raw, problems)
    visits = {
        patient: _read_visits(raw, patient, problems)
        for patient in sorted({patient for patient, _ in images})
    }
    cases = []
    for (patient, session), paths in images.items():
        if sessions == "baseline" and not BASELINE.fullmatch(session):
            continue
        row = visits[patient].get(session)
        name = f"{patient}_{session}"
        image = _first(raw, name, sorted(paths), problems)
        class_label = _diagnosis(raw, name, image, row, problems)
        if image is None or not class_label:
            continue
        covariates = {"session": session, "sex": sexes.get(patient, "")}
        for score in SCORES:
            covariates[score] = _score(raw, patient, name, score, row, problems)
        cases.append(
            SourceCase(
                case=name,
                patient=patient,
                split="train",
                images=(image,),
                labels=None,
                class_label=class_label,
                covariates=covariates,
                follow_up=not BASELINE.fullmatch(session),
            )
        )
    listed = {(patient, session) for patient, rows in visits.items() for session in rows}
    if lost := len(listed - images.keys()):
        text = f"{counted(lost, 'visit')} of these subjects without a T1-weighted image"
        problems.append(Problem("", "", "note", text, "used what is there"))
    if not cases and not any(problem.severity == "error" for problem in problems):
        text = "no image has a diagnosis (CN, MCI or AD) in its subject's sessions.tsv"
        action = "write the tables with: clinica convert adni-to-bids --clinical-data-only"
        problems.append(Problem("", "", "error", text, action))
    return Catalogue(cases, problems)


def _folders(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in visible(folder, pattern) if path.is_dir())


def _download(raw: Path) -> str:
    """Return the first sign that a folder holds ADNI as downloaded; empty if there is none."""
    for folder in (raw, *_folders(raw, "*")):
        subjects = [path for path in _folders(folder, "*_S_*") if DOWNLOADED.fullmatch(path.name)]
        tables = [path for name in CLINICAL for path in visible(folder, name)]
        for path in (*subjects, *tables):
            return str(path.relative_to(raw))
    return ""


def _first(raw: Path, name: str, paths: list[Path], problems: list[Problem]) -> Path | None:
    """Return the first image of a session that bears its name."""
    file = str(paths[0].relative_to(raw))
    for path in paths:
        if not path.name.startswith(f"{name}_"):
            text = f"lies in the folder of {name}, but bears another name"
            wrong = str(path.relative_to(raw))
            problems.append(Problem(name, wrong, "error", text, "move or rename the image"))
            return None
    if len(paths) > 1:
        text = f"the session has {len(paths)} T1-weighted images"
        problems.append(Problem(name, file, "note", text, "took the first by name"))
    return paths[0]


def _diagnosis(
    raw: Path, name: str, image: Path | None, row: Row | None, problems: list[Problem]
) -> str:
    """Return the class of an image; empty, with a note, if its session has none."""
    if image is None:
        return ""
    written = row["diagnosis"] if row else ""
    if found := _known(written, CLASSES):
        return found
    text = f"the session has the unknown diagnosis {written!r}" if written else "no diagnosis"
    text = text if row else "the subject's sessions.tsv is missing or does not list the session"
    problems.append(Problem(name, str(image.relative_to(raw)), "note", text, "left the image out"))
    return ""


def _score(
    raw: Path, patient: str, name: str, score: str, row: Row, problems: list[Problem]
) -> str:
    """Return a number of a session as it is written; empty, with a note, if it is none."""
    try:
        if not row[score] or float(row[score]) >= 0:
            return row[score]
    except ValueError:
        pass
    file = str(_visits_file(raw, patient).relative_to(raw))
    text = f"{score} {row[score]!r} is no number of 0 or more"
    problems.append(Problem(name, file, "note", text, "left it empty"))
    return ""


def _known(written: str, spellings: Mapping[str, tuple[str, ...]]) -> str:
    return next((name for name, known in spellings.items() if written.lower() in known), "")


def _read_sexes(raw: Path, problems: list[Problem]) -> dict[str, str]:
    """Return the sex of each subject, ``M``, ``F`` or empty."""
    path = raw / "participants.tsv"
    if not path.is_file():
        problems.append(Problem("", path.name, "note", "the file is missing", "left sex empty"))
        return {}
    rows = _read_table(raw, path, SUBJECT_COLUMNS, ("participant",), problems)
    return {row["participant"]: _known(row["sex"], SEXES) for row in rows}


def _read_visits(raw: Path, patient: str, problems: list[Problem]) -> dict[str, Row]:
    """Return the row of each session of a subject."""
    path = _visits_file(raw, patient)
    if not path.is_file():
        return {}
    visits: dict[str, Row] = {}
    for row in _read_table(raw, path, SESSION_COLUMNS, ("session", "diagnosis"), problems):
        if row["session"] in visits:
            text = f"session {row['session']!r} is listed twice"
            problems.append(Problem("", str(path.relative_to(raw)), "error", text, MEND))
        visits[row["session"]] = row
    return visits


def _visits_file(raw: Path, patient: str) -> Path:
    return raw / patient / f"{patient}_sessions.tsv"


def _read_table(
    raw: Path,
    path: Path,
    columns: Mapping[str, tuple[str, ...]],
    needed: tuple[str, ...],
    problems: list[Problem],
) -> list[Row]:
    """Read some columns of a table; what is missing is empty.

    Clinica writes more than a thousand columns for each session, so no row becomes a dictionary
    of all of them.
    """
    file = str(path.relative_to(raw))
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            header, *lines = list(csv.reader(stream, delimiter="\t")) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        problems.append(Problem("", file, "error", f"cannot be read ({error})", MEND))
        return []
    names = [name.strip().lower() for name in header]
    places = {
        column: next((names.index(known) for known in spellings if known in names), None)
        for column, spellings in columns.items()
    }
    for column in needed:
        if places[column] is None:
            text = f"has no column {columns[column][0]}"
            problems.append(Problem("", file, "error", text, MEND))
    if any(places[column] is None for column in needed):
        return []
    return [
        {column: _cell(line, place) for column, place in places.items()} for line in lines if line
    ]


def _cell(line: list[str], place: int | None) -> str:
    text = line[place].strip() if place is not None and place < len(line) else ""
    return "" if text.lower() in MISSING else text
