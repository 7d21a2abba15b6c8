"""KiTS 2019 and 2023: kidneys and their tumours in CT.

A case is a folder ``case_NNNNN`` with ``imaging.nii.gz`` and ``segmentation.nii.gz``, in ``data``
(2019) or ``dataset`` (2023); the raw folder is this folder or the one around it. The images are
downloaded separately, so that a fresh clone of the published repository has labels alone. In 2019
the cases from number 210 on are the test cases, without labels.

The published table of patients, ``kits.json`` or ``kits23.json``, is compared with the folders if
it is there, and gives the covariates.
"""

import re
from pathlib import Path
from typing import Any

from segflow.datasets.converters._pairing import inner_folder, missing, relative
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.content import read_json
from segflow.files.folders import visible
from segflow.files.words import enumerate_some

OPTIONS: dict[str, dict] = {
    "edition": {
        "description": "Year of the challenge.",
        "enum": [2019, 2023],
        "default": 2019,
    }
}
FOLDERS = {2019: "data", 2023: "dataset"}
TABLES = {2019: "kits.json", 2023: "kits23.json"}
FIRST_TEST_CASE = 210  # of 2019; the later edition has published training cases only
COVARIATES = ("malignant", "tumor_histologic_subtype")


def find_cases(raw: Path, edition: int = 2019) -> Catalogue:
    """Return the cases; each is one patient.

    Where the table of patients is there, the cases have the covariates ``malignant`` (``true`` or
    ``false``) and ``tumor_histologic_subtype``; both are empty where the table is silent.

    Parameters
    ----------
    raw : Path
        The raw folder.
    edition : {2019, 2023}
        Year of the challenge.

    Raises
    ------
    FileNotFoundError
        If `raw` has no folders of cases.
    """
    root = inner_folder(raw, FOLDERS[edition])
    folders = [
        folder
        for folder in visible(root, "case_*")
        if folder.is_dir() and re.fullmatch(r"case_\d{5}", folder.name)
    ]
    if not folders:
        expected = f"{FOLDERS[edition]}/case_NNNNN/imaging.nii.gz of KiTS {edition}"
        raise no_cases(raw, expected)
    cases: list[SourceCase] = []
    problems: list[Problem] = []
    tests = {folder.name for folder in folders if _is_test(folder.name, edition)}
    patients = {}
    paths = (folder / TABLES[edition] for folder in (root, raw))
    table = next((path for path in paths if path.is_file()), None)
    if table is not None:
        patients = _patients(raw, table, problems)
        training = {folder.name for folder in folders} - tests
        problems += _compare(relative(raw, table), training, set(patients)) if patients else []
    for folder in folders:
        name = folder.name
        image, label = folder / "imaging.nii.gz", folder / "segmentation.nii.gz"
        if not image.is_file():
            action = "download the images, which the published repository does not contain"
            problems.append(missing(raw, name, image, action))
            continue
        labels = (label,) if label.is_file() else None
        if labels is None and name not in tests:
            problems.append(missing(raw, name, label))
        split = "test" if name in tests else "train"
        entry = patients.get(name, {})
        covariates = {key: _text(entry.get(key)) for key in COVARIATES} if patients else {}
        cases.append(SourceCase(name, name, split, (image,), labels, covariates=covariates))
    return Catalogue(cases, problems)


def _is_test(name: str, edition: int) -> bool:
    return edition == 2019 and int(name.removeprefix("case_")) >= FIRST_TEST_CASE


def _patients(raw: Path, table: Path, problems: list[Problem]) -> dict[str, dict]:
    """Return the entries of the table of patients by case; nothing if it cannot be read."""
    try:
        return {entry["case_id"]: entry for entry in read_json(table)}
    except (ValueError, TypeError, KeyError):
        text = "expected a JSON list of patients, each with its case_id"
        problem = Problem("", relative(raw, table), "error", text, "mend or remove the table")
        problems.append(problem)
        return {}


def _compare(table: str, cases: set[str], listed: set[str]) -> list[Problem]:
    """Return what the table and the folders of the training cases do not share."""
    differences = {
        "training cases are not in the table": cases - listed,
        "cases of the table have no folder": listed - cases,
    }
    return [
        Problem("", table, "note", f"{len(names)} {text}: {enumerate_some(names)}", "none needed")
        for text, names in differences.items()
        if names
    ]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
