"""BraTS 2021 and 2023 (adult glioma): brain tumours in MRI of four sequences.

A case is a folder with one file for each sequence and, unless it is a test case, the label:
``BraTS2021_NNNNN/BraTS2021_NNNNN_flair.nii.gz`` in 2021, and in 2023
``BraTS-GLI-NNNNN-TTT/BraTS-GLI-NNNNN-TTT-t1n.nii.gz``, where NNNNN is the patient and TTT the time
point. These folders are in the raw folder, or in folders of it, such as the unpacked archives of
training and validation.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from segflow.datasets.converters._pairing import missing
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.folders import visible

OPTIONS: dict[str, dict] = {
    "edition": {
        "description": "Year of the challenge.",
        "enum": [2021, 2023],
        "default": 2021,
    }
}
SUFFIX = ".nii.gz"


@dataclass(frozen=True)
class _Edition:
    folder: re.Pattern  # groups: patient, time point
    example: str
    joint: str
    sequences: tuple[str, ...]


EDITIONS = {
    2021: _Edition(
        re.compile(r"(BraTS2021_\d{5})()"),
        "BraTS2021_NNNNN",
        "_",
        ("flair", "t1", "t1ce", "t2"),
    ),
    2023: _Edition(
        re.compile(r"(BraTS-GLI-\d{5})-(\d{3})"),
        "BraTS-GLI-NNNNN-TTT",
        "-",
        ("t1n", "t1c", "t2w", "t2f"),
    ),
}


def find_cases(raw: Path, edition: int = 2021) -> Catalogue:
    """Return the cases; those without a label are test cases.

    The channels are flair, t1, t1ce, t2 in 2021, and t1n, t1c, t2w, t2f in 2023. Every time point
    of a patient but the first one that is there is a follow-up.

    Parameters
    ----------
    raw : Path
        The raw folder.
    edition : {2021, 2023}
        Year of the challenge.

    Raises
    ------
    FileNotFoundError
        If `raw` has no cases of this edition.
    """
    layout = EDITIONS[edition]
    found = [(path, *match.groups()) for path, match in _folders(raw, layout.folder)]
    if not found:
        example = f"{layout.example}/{layout.example}{layout.joint}{layout.sequences[0]}{SUFFIX}"
        raise no_cases(raw, f"{example} of BraTS {edition}")
    first: dict[str, str] = {}
    for _, patient, time_point in found:
        first[patient] = min(time_point, first.get(patient, time_point))
    cases: list[SourceCase] = []
    problems: list[Problem] = []
    for folder, patient, time_point in found:
        name = folder.name
        files = set(visible(folder))
        images = tuple(_file(folder, layout, sequence) for sequence in layout.sequences)
        lost = [image for image in images if image not in files]
        problems += [missing(raw, name, image) for image in lost]
        if lost:
            continue
        label = _file(folder, layout, "seg")
        labels = (label,) if label in files else None
        split = "test" if labels is None else "train"
        later = time_point != first[patient]
        cases.append(SourceCase(name, patient, split, images, labels, follow_up=later))
    return Catalogue(cases, problems)


def _folders(raw: Path, pattern: re.Pattern) -> list[tuple[Path, re.Match]]:
    """Return the cases' folders, in `raw` or one folder further down, with their matches."""
    found = []
    for path in visible(raw):
        if not path.is_dir():
            continue
        inside = [path] if pattern.fullmatch(path.name) else visible(path)
        matches = ((folder, pattern.fullmatch(folder.name)) for folder in inside)
        found += [(folder, match) for folder, match in matches if match and folder.is_dir()]
    return found


def _file(folder: Path, layout: _Edition, kind: str) -> Path:
    return folder / f"{folder.name}{layout.joint}{kind}{SUFFIX}"
