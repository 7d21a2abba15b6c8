"""The raw files of a data set's cases, and whether they changed since they were converted."""

import importlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from segflow.datasets.pseudonyms import pseudonym, read_key
from segflow.files.content import content_key, file_sha256, read_json
from segflow.files.folders import visible
from segflow.files.labels import plain_name, single_values
from segflow.files.suffixes import may_name_segments

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Problem:
    """Something found in the raw files.

    Parameters
    ----------
    case : str
        The case, or empty if the problem belongs to none.
    file : str
        The file, relative to the raw folder.
    severity : {'error', 'repaired', 'leak', 'note'}
        An ``error`` stops the conversion when all problems are known; a ``leak`` tears a patient
        or group apart in a published split; a ``note`` is only worth knowing.
    problem, action : str
        What is wrong; what was done, or what to do.
    """

    case: str
    file: str
    severity: str
    problem: str
    action: str


@dataclass(frozen=True)
class SourceCase:
    """The raw files of one case, as a converter finds them.

    Parameters
    ----------
    case : str
        Name of the case, unique in the data set: letters, digits, ``.``, ``_`` and ``-``.
    patient : str
        Whom the images show. A converter that cannot tell gives the case's name.
    split : {'train', 'val', 'test'}
        The part that the case belongs to; a converter gives the published one. ``val`` is part of
        the training cases unless a run asks for the published split by name. A set without a
        published split has ``train`` only.
    images : tuple of Path
        One file for each channel, or one file with all channels. A folder is a DICOM series.
    labels : tuple of Path, or None
        The files of the reference segmentation, which are united. None where there is no
        reference; without files the reference is known to be empty.
    group : str
        What must not be torn apart by a split; the patient if empty.
    class_label : str
        Class of the whole case, by which folds are stratified; empty if there is none.
    other_labels : tuple of Path
        Further segmentations that are compared with the reference, and reported where they differ.
    covariates : mapping of str to str
        Further columns of ``cases.csv``: age, session, ...
    follow_up : bool
        Whether this is a later visit of the patient, which never serves as a test case.
    published_split : str
        The published part, where there are several; set by `find_cases`.
    label_names : tuple of str
        For each file of `labels` the label that it is a mask of; empty where the files hold the
        values of the labels.
    mask_values : tuple of int
        Values of these labels; set by `find_cases`.
    segment_values : mapping of str to int
        Value of each label by its name, spelled by `segflow.files.labels.plain_name`, where a file
        may say what its segments are called; set by `find_cases`.
    """

    case: str
    patient: str
    split: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...] | None
    group: str = ""
    class_label: str = ""
    other_labels: tuple[Path, ...] = ()
    covariates: Mapping[str, str] = field(default_factory=dict)
    follow_up: bool = False
    published_split: str = ""
    label_names: tuple[str, ...] = ()
    mask_values: tuple[int, ...] = ()
    segment_values: Mapping[str, int] = field(default_factory=dict)

    @property
    def image_files(self) -> list[Path]:
        """The files of the images; those of a folder one by one."""
        return [file for path in self.images for file in _inside(path) or [path]]

    @property
    def label_files(self) -> list[Path]:
        """The files of the reference and of what is compared with it; of a folder one by one."""
        labels = (*(self.labels or ()), *self.other_labels)
        return [file for path in labels for file in _inside(path) or [path]]

    @property
    def files(self) -> list[Path]:
        """All raw files of the case."""
        return [*self.image_files, *self.label_files]


@dataclass(frozen=True)
class Catalogue:
    """What a converter finds in a raw folder by looking at names and tables.

    Parameters
    ----------
    cases : list of SourceCase
        The cases.
    problems : list of Problem
        What is wrong or worth knowing: missing partners, orphans, contradicting tables.
    """

    cases: list[SourceCase]
    problems: list[Problem] = field(default_factory=list)


def find_cases(dataset: dict, raw: Path) -> Catalogue:
    """Return the cases that a data set's converter finds in its raw folder, sorted by name.

    Only names and small tables are looked at, no image is read.

    Parameters
    ----------
    dataset : dict
        Description of the data set (``config/datasets``).
    raw : Path
        Folder of the data set as published.

    Raises
    ------
    FileNotFoundError
        If the folder is missing, empty or of another layout.
    """
    origin = f"the data come from {dataset['source']}"
    if not raw.is_dir():
        raise FileNotFoundError(
            f"{raw}: no such folder; put the data set there, or name its place under raw_folders "
            f"in the configuration ({origin})"
        )
    converter = importlib.import_module(f"segflow.datasets.converters.{dataset['converter']}")
    try:
        found = converter.find_cases(raw, **dataset["options"])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} ({origin})") from None
    problems = list(found.problems)
    cases = [_with_patient(case, dataset.get("patient"), problems) for case in found.cases]
    if not dataset.get("spellings_differ"):
        cases = _one_spelling(_one_spelling(cases, "patient", problems), "group", problems)
    if dataset["pseudonyms"]:
        key = read_key()
        cases = [
            replace(
                case,
                patient=pseudonym(case.patient, key),
                group=case.group and pseudonym(case.group, key),
            )
            for case in cases
        ]
    files = {case.case: _name(raw, case) for case in cases}
    for name, count in Counter(case.case for case in cases).items():
        if count > 1:
            text = f"case {name!r} is there {count} times"
            problems.append(Problem(name, files[name], "error", text, "rename one"))
        if not NAME.fullmatch(name):
            text, allowed = (
                f"{name!r} cannot name a case",
                "use Latin letters, digits, '.', '_', '-'",
            )
            problems.append(Problem(name, files[name], "error", text, allowed))
    known = dataset.get("classes")
    for case in cases:
        unknown = case.split == "test" and not case.class_label  # test cases may keep it secret
        if known and case.class_label not in known and not unknown:
            text = f"class {case.class_label!r} is not declared"
            allowed = f"declare it or mend it (allowed: {', '.join(known)})"
            problems.append(Problem(case.case, _name(raw, case), "error", text, allowed))
    if dataset.get("task") == "classification":
        problems += _lacking_classes(cases, known)
        problems += _empty_columns(cases, dataset["subgroups"])
    masks = single_values(dataset.get("labels", {}))
    named = {plain_name(name): value for name, value in {"background": 0, **masks}.items()}
    for case in cases:
        for unknown in sorted({*case.label_names} - masks.keys()):
            text = f"there is a mask of {unknown!r}, which is no label of one value"
            allowed = f"name one of the labels (allowed: {', '.join(sorted(masks)) or 'none'})"
            problems.append(Problem(case.case, _name(raw, case), "error", text, allowed))
    cases = [
        replace(
            case,
            mask_values=tuple(masks.get(name, 0) for name in case.label_names),
            segment_values=named if any(map(may_name_segments, case.label_files)) else {},
        )
        for case in cases
    ]
    counts = Counter(case.split for case in cases)
    cases = _without_excluded(raw, cases, dataset.get("exclude", {}), problems)
    if len(counts) > 1:
        cases = [replace(case, published_split=case.split) for case in cases]
    for split, count in dataset.get("expected_cases", {}).items():
        if counts[split] != count:
            text = f"{counts[split]} of the {count} published {split} cases are there"
            problems.append(Problem("", "", "note", text, "used what is there"))
    return Catalogue(sorted(cases, key=lambda case: case.case), problems)


def _lacking_classes(cases: list[SourceCase], classes: list[str]) -> list[Problem]:
    """Report declared classes that no case has, where cases are there to be told apart."""
    counts = Counter(case.class_label for case in cases)
    if not counts or not (lacking := [name for name in classes if not counts[name]]):
        return []
    shown = ", ".join(f"{counts[name]} {name}" for name in classes)
    text = f"no case is of class {', '.join(lacking)} (found {shown})"
    return [Problem("", "", "error", text, "mend the tables, or declare these classes no more")]


def _empty_columns(cases: list[SourceCase], columns: list[str]) -> list[Problem]:
    """Report columns for subgroups in which no case has a value, before any image is read."""
    there = {name for case in cases for name, value in case.covariates.items() if value}
    there.add("class_label")
    action = "add the tables that say it, or take it out of subgroups"
    return [
        Problem("", "", "error", f"subgroups: no case has a value of {column!r}", action)
        for column in columns
        if cases and column not in there
    ]


def _without_excluded(
    raw: Path, cases: list[SourceCase], reasons: Mapping[str, str], problems: list[Problem]
) -> list[SourceCase]:
    """Return the cases that the description does not exclude.

    What is wrong with an excluded case makes way for a note with the reason.
    """
    files = {case.case: _name(raw, case) for case in cases}
    known = files.keys() | {problem.case for problem in problems}
    problems[:] = [problem for problem in problems if problem.case not in reasons]
    for name, reason in reasons.items():
        if name in known:
            found = Problem(name, files.get(name, ""), "note", f"excluded: {reason}", "left out")
        else:
            text = f"exclude names {name!r}, but there is no such case"
            found = Problem(name, "", "error", text, "mend the name in the description")
        problems.append(found)
    return [case for case in cases if case.case not in reasons]


def _with_patient(case: SourceCase, rule: str | None, problems: list[Problem]) -> SourceCase:
    """Return a case with the patient that the data set's rule reads from its name."""
    if rule is None:
        return case
    if rule == "dicom":
        from segflow.images.dicom_headers import (
            patient_of,  # pydicom is not needed for any other data set
        )

        return replace(case, patient=patient_of(case.image_files[0]))
    match = re.match(rule, case.case)
    if match is None:
        text = f"the rule for patients, {rule!r}, does not fit {case.case!r}"
        problems.append(Problem(case.case, "", "error", text, "mend the rule or the name"))
        return case
    return replace(case, patient=match[1])


def _one_spelling(cases: list[SourceCase], kind: str, problems: list[Problem]) -> list[SourceCase]:
    """Return cases whose patients, or groups, that are alike but for spelling have one name.

    The names themselves stay unsaid, for they may be those of people.
    """
    alike: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        name = getattr(case, kind)
        alike[_spelled_alike(name)][name].append(case.case)
    for names in alike.values():
        if len(names) > 1:
            examples = sorted(min(members) for members in names.values())
            text = (
                f"the names of the {kind}s of {' and '.join(examples)} differ in case, leading "
                "zeros or blanks only"
            )
            action = f"taken for one {kind}; spellings_differ: true keeps them apart"
            problems.append(Problem(examples[0], "", "note", text, action))
    return [
        replace(case, **{kind: min(alike[_spelled_alike(getattr(case, kind))])}) for case in cases
    ]


def _spelled_alike(name: str) -> str:
    """Return what the spellings of a name have in common: `PAT 04`, `pat4`."""
    name = unicodedata.normalize("NFKC", name).casefold()
    name = re.sub(r"(?<=\d)\s+(?=\d)", "|", name)  # 1 11 is not 11 1
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"\s+", "", name))


def no_cases(raw: Path, expected: str) -> FileNotFoundError:
    """Return the error of a raw folder of another layout: what was expected, and what is there."""
    names = sorted(path.name + "/" * path.is_dir() for path in raw.iterdir())
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return FileNotFoundError(f"{raw}: expected {expected}, found {shown or 'an empty folder'}")


def _inside(path: Path) -> list[Path]:
    """Return the files of a DICOM series' folder; none for a file."""
    return [file for file in visible(path) if file.is_file()] if path.is_dir() else []


def _name(raw: Path, case: SourceCase) -> str:
    return str(case.images[0].relative_to(raw)) if case.images else ""


def describe_files(raw: Path, cases: Iterable[SourceCase]) -> dict[str, list[int]]:
    """Return size in bytes and modification time in ns of each file of `cases`, by path."""
    files = {}
    for case in cases:
        for path in case.files:
            state = path.stat() if path.exists() else None
            files[str(path.relative_to(raw))] = [state.st_size, state.st_mtime_ns] if state else []
    return dict(sorted(files.items()))


def state_of_sources(raw: Path, cases: Iterable[SourceCase], record: Path) -> str:
    """Return a key of the raw files that changes when their content does.

    The first time the key is taken from sizes and modification times, so that a new data set
    is not read twice. Once conversion has recorded the key together with the files' hashes, it
    stays as it is while the content does: a file that was only touched is recognised by its
    hash.

    Parameters
    ----------
    raw : Path
        Folder of the data set.
    cases : iterable of SourceCase
        The cases whose files count.
    record : Path
        JSON file that conversion writes (see `record_sources`); it need not exist.

    Returns
    -------
    str
        The key.
    """
    cases = list(cases)
    files = describe_files(raw, cases)
    roles = _roles(raw, cases)
    try:
        known = read_json(record)
    except (OSError, ValueError):
        known = None
    if (
        isinstance(known, dict)
        and known.get("roles") == roles
        and known.get("files", {}).keys() == files.keys()
    ):
        for name, (size, mtime, sha256) in known["files"].items():
            if files[name] == [size, mtime]:
                continue
            if not files[name] or files[name][0] != size or file_sha256(raw / name) != sha256:
                break
        else:
            return known["state"]
    return content_key(roles, files)


def record_sources(raw: Path, cases: Iterable[SourceCase], sha256: dict[Path, str]) -> dict:
    """Return what `state_of_sources` needs to recognise these files, less the key."""
    cases = list(cases)
    files = describe_files(raw, cases)
    return {
        "roles": _roles(raw, cases),
        "files": {name: [*state, sha256[raw / name]] for name, state in files.items()},
    }


def _roles(raw: Path, cases: list[SourceCase]) -> list[list]:
    """Return what the files mean: which case, whose, of which class, in which order."""
    return [
        [
            case.case,
            case.patient,
            case.split,
            case.published_split,
            case.group,
            case.class_label,
            dict(case.covariates),
            case.follow_up,
            *([list(case.mask_values)] if case.mask_values else []),
            *([dict(case.segment_values)] if case.segment_values else []),
            *(
                None if paths is None else [str(path.relative_to(raw)) for path in paths]
                for paths in (case.images, case.labels, case.other_labels)
            ),
        ]
        for case in cases
    ]


def folder_state(raw: Path, record: Path | None = None, without: Path | None = None) -> str:
    """Return a key of the names, sizes and times of everything in a folder.

    Parameters
    ----------
    raw : Path
        The folder. If it is gone, the data set that was converted from it stands for it.
    record : Path or None
        Where conversion records the state of what it read.
    without : Path or None
        A folder that does not count.
    """
    if not raw.is_dir():
        try:
            return read_json(record)["state"] if record else "missing"
        except (OSError, ValueError, KeyError, TypeError):
            return "missing"
    files = {}
    left_out = without and without.absolute()
    for path in sorted(path for path in raw.rglob("*") if path.is_file()):
        if left_out and left_out in path.absolute().parents:
            continue
        state = path.stat()
        files[str(path.relative_to(raw))] = [state.st_size, state.st_mtime_ns]
    return content_key(files)
