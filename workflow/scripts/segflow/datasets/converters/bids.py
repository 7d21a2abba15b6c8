"""Classes of subjects in a BIDS folder: T1-weighted images, and a diagnosis for each session.

An image is ``sub-NAME/ses-NAME/anat/sub-NAME_ses-NAME_T1w.nii.gz``, or the same without session.
Who has which diagnosis stands in one of two forms:

* BIDS: ``participants.tsv`` gives the sex, ``sub-NAME/sub-NAME_sessions.tsv`` the diagnosis, age
  and scores of each session;
* one table for all (`table`), as NACC and OASIS publish it, whose columns `columns` names. Without
  a column for the session a row is that of the only session of its subject.

The class of an image is the diagnosis of its own session, never that of another one. An image
without diagnosis, or with an ambiguous one, is left out and listed.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ancpbids import DatasetOptions, load_dataset

from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.folders import visible
from segflow.files.words import counted

FACTS = ("subject", "session", "diagnosis", "age", "sex", "mmse", "cdr")
_WORDS = {"type": "array", "items": {"type": "string"}}
OPTIONS: dict[str, dict] = {
    "sessions": {
        "enum": ["all", "baseline"],
        "default": "all",
        "description": "all sessions, or the first one of each subject only",
    },
    "baseline": {
        "type": "string",
        "description": "regular expression of the names of first sessions (`ses-M0+`); without it "
        "the first of each subject, in the order of numbers in their names",
    },
    "table": {
        "type": "string",
        "description": "table of all sessions below the raw folder, in place of BIDS's own",
    },
    "columns": {
        "type": "object",
        "propertyNames": {"enum": list(FACTS)},
        "additionalProperties": {"type": "string"},
        "description": "column of the table for each of subject, session, diagnosis, age, sex, "
        "mmse, cdr",
    },
    "diagnoses": {
        "type": "object",
        "additionalProperties": _WORDS,
        "description": "spellings, or codes, of each class in the table",
    },
    "ambiguous": {
        **_WORDS,
        "default": [],
        "description": "diagnoses whose images are left out and listed, for they are no class",
    },
    "missing": {
        **_WORDS,
        "default": [],
        "description": "what the table writes for an unknown value, beside n/a, -1 and -4",
    },
    "incomplete": {
        "enum": ["error", "leave_out"],
        "default": "error",
        "description": "what a session without an image, or with several, and a subject that "
        "only the table or only the folder knows are: an error, or left out and listed",
    },
}
CLASSES = {
    "CN": ("cn", "nc", "nl", "smc"),
    "MCI": ("mci", "emci", "lmci"),
    "AD": ("ad", "dementia"),
}
SEXES = {"M": ("m", "male", "1"), "F": ("f", "female", "2")}
# Names of the columns in small letters.
SUBJECT_COLUMNS = {"subject": ("participant_id",), "sex": ("sex", "gender")}
SESSION_COLUMNS = {
    "session": ("session_id",),
    "diagnosis": ("diagnosis", "dx"),
    "age": ("age",),
    "mmse": ("mmse", "mms"),
    "cdr": ("cdr_global", "cdr_cdglobal", "cdr"),
}
RANGES = {"age": (18, 120), "mmse": (0, 30), "cdr": (0, 3)}  # of adults; of the scales
# ADNI writes -1 and -4 for what was not measured or does not apply.
MISSING = {"", "n/a", "nan", "none", "-1", "-1.0", "-4", "-4.0"}
MEND = "mend the table"
ADD = "add the tables; those of ADNI come from clinica convert adni-to-bids --clinical-data-only"
EXCLUDE = "mend it, or state options.incomplete: leave_out"

Row = Mapping[str, str]
Session = tuple[str, str]  # the names of subject and session; that of the session may be empty


@dataclass
class _Tables:
    """What the tables say: a row for each session, the subjects that they list, and where."""

    rows: dict[Session, Row] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # the table of each subject's sessions
    subjects: set[str] | None = None
    subjects_name: str = ""


def find_cases(
    raw: Path,
    sessions: str = "all",
    baseline: str | None = None,
    table: str | None = None,
    columns: Mapping[str, str] | None = None,
    diagnoses: Mapping[str, Sequence[str]] | None = None,
    ambiguous: Sequence[str] = (),
    missing: Sequence[str] = (),
    incomplete: str = "error",
) -> Catalogue:
    """Return one case for each session with a T1-weighted image and a diagnosis.

    The data set has no published split. The covariates of a case are session, visit (``baseline``
    or ``follow-up``), age, age_group, sex, mmse and cdr, each empty where it is unknown.

    Parameters
    ----------
    raw : Path
        The BIDS folder. Its ``derivatives`` are not looked at.
    sessions, baseline, table, columns, diagnoses, ambiguous, missing, incomplete
        See ``OPTIONS``.

    Raises
    ------
    FileNotFoundError
        If `raw` has no T1-weighted images, or no such `table`.
    """
    problems: list[Problem] = []
    images = _find_images(raw, problems)
    if not images:
        raise no_cases(raw, "sub-*/[ses-*/]anat/*_T1w.nii.gz of a BIDS folder")
    folders = _find_sessions(raw)
    firsts = _first_sessions(images.keys() | folders, baseline)
    unknown = MISSING | {word.lower() for word in missing}
    if table:
        tables = _read_one_table(raw, table, columns or {}, images, unknown, problems)
    else:
        subjects = sorted({subject for subject, _ in images})
        tables = _read_bids_tables(raw, subjects, unknown, problems)
    words = {name: (name.lower(), *spelled) for name, spelled in CLASSES.items()}
    if diagnoses:
        words = {name: tuple(one.lower() for one in spelled) for name, spelled in diagnoses.items()}
    left_out = {word.lower() for word in ambiguous}
    severity = "error" if incomplete == "error" else "note"
    action = EXCLUDE if incomplete == "error" else "left out"
    chosen = [key for key in sorted(images) if images[key]]
    chosen = [key for key in chosen if sessions == "all" or key in firsts]
    for key in sorted(folders - images.keys()):
        if sessions == "all" or key in firsts:
            text = "the session has no T1-weighted image"
            problems.append(
                Problem(_name(key), "/".join(filter(None, key)), severity, text, action)
            )
    there = {subject for subject, _ in images.keys() | folders}
    problems += _compare_subjects(there, tables, severity, action)
    cases = []
    for key in chosen:
        subject, session = key
        name, paths = _name(key), images[key]
        file = str(paths[0].relative_to(raw))
        if len(paths) > 1:
            text = f"the session has {len(paths)} T1-weighted images"
            text += f" ({', '.join(path.name for path in paths)})"
            problems.append(Problem(name, file, severity, text, action))
            continue
        row = tables.rows.get(key)
        label = _diagnosis(name, file, tables.names[subject], row, words, left_out, problems)
        if not label:
            continue
        where = tables.names[subject]
        covariates = {
            "session": session,
            "visit": "baseline" if key in firsts else "follow-up",
            "sex": _known(row["sex"], SEXES),
            **{score: _score(name, where, score, row, problems) for score in RANGES},
        }
        covariates["age_group"] = _decade(covariates["age"])
        cases.append(
            SourceCase(
                case=name,
                patient=subject,
                split="train",
                images=(paths[0],),
                labels=None,
                class_label=label,
                covariates=covariates,
                follow_up=key not in firsts,
            )
        )
    if lost := len({key for key in tables.rows if key[0] in tables.names} - images.keys()):
        text = f"{counted(lost, 'visit')} of these subjects without a T1-weighted image"
        problems.append(Problem("", "", "note", text, "used what is there"))
    if not cases and not any(problem.severity == "error" for problem in problems):
        text = f"no image has a diagnosis ({', '.join(words)}) in the tables"
        problems.append(Problem("", table or "", "error", text, ADD))
    return Catalogue(cases, problems)


def _find_images(raw: Path, problems: list[Problem]) -> dict[Session, list[Path]]:
    """Return the T1-weighted images of each session; those in a wrong folder are problems."""
    # A pickle that somebody left in the folder could run anything.
    options = DatasetOptions(ignore=["derivatives", "sourcedata"], ignore_pickle_file=True)
    dataset = load_dataset(str(raw), options)
    wanted = {"suffix": "T1w", "extension": [".nii.gz", ".nii"], "scope": "raw"}
    images: dict[Session, list[Path]] = {}
    for found in dataset.query(**wanted, return_type="objects"):
        path = Path(found.get_absolute_path())
        place = path.relative_to(raw).parts
        if path.name.startswith(".") or "anat" not in place[1:3]:
            continue
        key = (place[0], place[1] if place[1].startswith("ses-") else "")
        if not path.name.startswith(f"{_name(key)}_"):
            text = f"lies in the folder of {_name(key)}, but bears another name"
            wrong = str(path.relative_to(raw))
            problems.append(Problem(_name(key), wrong, "error", text, "move or rename the image"))
            images.setdefault(key, [])
        else:
            images.setdefault(key, []).append(path)
    return {key: sorted(paths) for key, paths in images.items()}


def _find_sessions(raw: Path) -> set[Session]:
    """Return the sessions that have a folder; of a subject without any, the subject's own."""
    found = set()
    for subject in _folders(raw, "sub-*"):
        own = {(subject.name, session.name) for session in _folders(subject, "ses-*")}
        found |= own or {(subject.name, "")}
    return found


def _folders(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in visible(folder, pattern) if path.is_dir())


def _first_sessions(sessions: Iterable[Session], baseline: str | None) -> set[Session]:
    """Return the first session of each subject."""
    if baseline is not None:
        return {key for key in sessions if re.fullmatch(baseline, key[1])}
    by_subject: dict[str, list[str]] = {}
    for subject, session in sessions:
        by_subject.setdefault(subject, []).append(session)
    return {(subject, min(own, key=_by_numbers)) for subject, own in by_subject.items()}


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """Return what sorts `ses-2` before `ses-10`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _name(key: Session) -> str:
    return "_".join(filter(None, key))


def _read_bids_tables(
    raw: Path, subjects: list[str], missing: set[str], problems: list[Problem]
) -> _Tables:
    """Read ``participants.tsv`` and the table of each subject's sessions."""
    path = raw / "participants.tsv"
    tables = _Tables(subjects_name=path.name)
    sexes = {}
    if path.is_file():
        rows = _read_table(raw, path, SUBJECT_COLUMNS, ("subject",), missing, problems)
        sexes = {row["subject"]: row["sex"] for row in rows}
        tables.subjects = set(sexes) if rows else None
    else:
        problems.append(Problem("", path.name, "note", "the file is missing", "left sex empty"))
    for subject in subjects:
        path = raw / subject / f"{subject}_sessions.tsv"
        tables.names[subject] = str(path.relative_to(raw))
        if not path.is_file():
            continue
        for row in _read_table(
            raw, path, SESSION_COLUMNS, ("session", "diagnosis"), missing, problems
        ):
            _add(tables, (subject, row["session"]), row | {"sex": sexes.get(subject, "")}, problems)
    return tables


def _read_one_table(
    raw: Path,
    table: str,
    columns: Mapping[str, str],
    images: Iterable[Session],
    missing: set[str],
    problems: list[Problem],
) -> _Tables:
    """Read one table of all subjects, whose columns are named."""
    path = raw / table
    if ".." in Path(table).parts or not path.is_file():
        raise no_cases(raw, f"a table {table} of diagnoses")
    if unnamed := [fact for fact in ("subject", "diagnosis") if fact not in columns]:
        raise ValueError(
            f"options.columns names no column for {' and '.join(unnamed)}; allowed are "
            f"{', '.join(FACTS)}"
        )
    spelled = {fact: (column.lower(),) for fact, column in columns.items()}
    tables = _Tables(subjects=set(), subjects_name=table)
    known: dict[str, dict[str, str]] = {}
    for subject, session in images:
        known.setdefault(_plain(subject), {"": subject})[_plain(session) or "_"] = session
    rows = _read_table(raw, path, spelled, tuple(columns), missing, problems)
    if not rows:
        tables.subjects = None  # which is wrong by itself
    for row in rows:
        full = dict.fromkeys(FACTS, "") | row
        own = known.get(_plain(full["subject"]))
        if own is None:
            tables.subjects.add(full["subject"])
            continue
        subject = own[""]
        tables.subjects.add(subject)
        tables.names[subject] = table
        sessions = {plain: name for plain, name in own.items() if plain}
        if "session" in columns:
            name = sessions.get(_plain(full["session"]), full["session"])
        elif len(sessions) == 1:
            (name,) = sessions.values()
        else:
            text = f"{subject} has {len(sessions)} sessions, but the table does not say whose it is"
            problems.append(Problem("", table, "error", text, "name its column in options.columns"))
            continue
        _add(tables, (subject, name), full, problems)
    tables.names = dict.fromkeys((own[""] for own in known.values()), table)
    return tables


def _plain(name: str) -> str:
    """Return what names of subjects and sessions have in common: `sub-OAS30001`, `OAS3_0001`."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^(sub|ses)-", "", name.lower()))


def _add(tables: _Tables, key: Session, row: Row, problems: list[Problem]) -> None:
    if key in tables.rows:
        text = f"session {key[1] or key[0]!r} is listed twice"
        problems.append(Problem("", tables.names[key[0]], "error", text, MEND))
    tables.rows[key] = row


def _compare_subjects(
    there: set[str], tables: _Tables, severity: str, action: str
) -> list[Problem]:
    """Report subjects that only the table or only the folder has."""
    if tables.subjects is None:
        return []
    only_listed = "subject {!r} is in the table, but has no images"
    only_there = "the subject has a folder, but no row in the table"
    return [
        Problem(subject, tables.subjects_name, severity, text.format(subject), action)
        for subjects, text in (
            (tables.subjects - there, only_listed),
            (there - tables.subjects, only_there),
        )
        for subject in sorted(subjects)
    ]


def _diagnosis(
    name: str,
    file: str,
    table: str,
    row: Row | None,
    words: Mapping[str, Sequence[str]],
    left_out: set[str],
    problems: list[Problem],
) -> str:
    """Return the class of an image; empty, and reported, if its session has none."""
    written = row["diagnosis"] if row else ""
    if found := _known(written, words):
        return found
    severity, action = "note", "left the image out"
    if row is None:
        text = f"{table} is missing or does not list the session"
    elif not written:
        text = "no diagnosis"
    elif written.lower() in left_out:
        text = f"the session has the ambiguous diagnosis {written!r}"
    else:
        known = ", ".join(spelled for spellings in words.values() for spelled in spellings)
        text = f"the session has the unknown diagnosis {written!r}"
        severity = "error"
        action = (
            f"known: {known}; name others under options.diagnoses, or under options.ambiguous, "
            "which leaves them out"
        )
    problems.append(Problem(name, file, severity, text, action))
    return ""


def _score(name: str, table: str, score: str, row: Row, problems: list[Problem]) -> str:
    """Return a number of a session as it is written; what cannot be is an error."""
    low, high = RANGES[score]
    try:
        if not row[score] or low <= float(row[score]) <= high:
            return row[score]
    except ValueError:
        pass
    text = f"{score} {row[score]!r} is no number from {low} to {high}"
    problems.append(Problem(name, table, "error", text, f"{MEND}, or leave the cell empty"))
    return ""


def _decade(age: str) -> str:
    """Return a range of ages for subgroups: below 60, 60-69, ..., 90 and above."""
    if not age:
        return ""
    decade = int(float(age)) // 10 * 10
    if decade < 60:
        return "below 60"
    return "90 and above" if decade >= 90 else f"{decade}-{decade + 9}"


def _known(written: str, spellings: Mapping[str, Sequence[str]]) -> str:
    return next((name for name, known in spellings.items() if written.lower() in known), "")


def _read_table(
    raw: Path,
    path: Path,
    columns: Mapping[str, tuple[str, ...]],
    needed: tuple[str, ...],
    missing: set[str],
    problems: list[Problem],
) -> list[dict[str, str]]:
    """Read some columns of a table; what is missing is empty.

    Clinica writes more than a thousand columns for each session, so no row becomes a dictionary
    of all of them.
    """
    file = str(path.relative_to(raw))
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            delimiter = max("\t,;", key=stream.readline().count)
            stream.seek(0)
            header, *lines = list(csv.reader(stream, delimiter=delimiter)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        problems.append(Problem("", file, "error", f"cannot be read ({error})", MEND))
        return []
    names = [name.strip().lower() for name in header]
    places = {
        column: next((names.index(known) for known in spellings if known in names), None)
        for column, spellings in columns.items()
    }
    lacking = [column for column in needed if places[column] is None]
    for column in lacking:
        text = f"has no column {columns[column][0]}"
        problems.append(Problem("", file, "error", text, MEND))
    if lacking:
        return []
    return [
        {column: _cell(line, place, missing) for column, place in places.items()}
        for line in lines
        if line
    ]


def _cell(line: list[str], place: int | None, missing: set[str]) -> str:
    text = line[place].strip() if place is not None and place < len(line) else ""
    return "" if text.lower() in missing else text
