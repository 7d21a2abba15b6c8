"""BraTS 2020, 2021 and 2023 (adult glioma): brain tumours in MRI of four sequences.

A case is a folder with one file for each sequence and, unless it is a test case, the label, in
files that are compressed or not:

* 2020: ``BraTS20_Training_NNN/BraTS20_Training_NNN_flair.nii``; the label of case 355 has another
  name, which ends in ``_Segm.nii``;
* 2021: ``BraTS2021_NNNNN/BraTS2021_NNNNN_flair.nii.gz``;
* 2023: ``BraTS-GLI-NNNNN-TTT/BraTS-GLI-NNNNN-TTT-t1n.nii.gz``, where NNNNN is the patient and TTT
  the time point.

These folders are in the raw folder, or up to two folders further down, as in the unpacked archives
of training and validation.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from segflow.datasets.converters._pairing import missing
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.folders import visible
from segflow.files.suffixes import stem

OPTIONS: dict[str, dict] = {
    "edition": {
        "description": "Year of the challenge.",
        "enum": [2020, 2021, 2023],
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
    2020: _Edition(
        re.compile(r"(BraTS20_(?:Training|Validation)_\d{3})()"),
        "BraTS20_Training_NNN",
        "_",
        ("flair", "t1", "t1ce", "t2"),
    ),
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

    The channels are flair, t1, t1ce, t2 in 2020 and 2021, and t1n, t1c, t2w, t2f in 2023. Every
    time point of a patient but the first one that is there is a follow-up.

    Parameters
    ----------
    raw : Path
        The raw folder.
    edition : {2020, 2021, 2023}
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
        images = tuple(_file(folder, layout, sequence, files) for sequence in layout.sequences)
        lost = [image for image in images if image not in files]
        problems += [missing(raw, name, image) for image in lost]
        if lost:
            continue
        label = _file(folder, layout, "seg", files)
        odd = [path for path in files if stem(path).endswith("_Segm")]
        labels = (label,) if label in files else tuple(odd) or None
        if labels is None and "_Training_" in name:
            problems.append(missing(raw, name, label))
        split = "test" if labels is None else "train"
        later = time_point != first[patient]
        cases.append(SourceCase(name, patient, split, images, labels, follow_up=later))
    return Catalogue(cases, problems)


def _folders(folder: Path, pattern: re.Pattern, depth: int = 2) -> list[tuple[Path, re.Match]]:
    """Return the cases' folders, in `folder` or up to `depth` further down, with their matches."""
    found = []
    for path in visible(folder):
        match = pattern.fullmatch(path.name)
        if match and path.is_dir():
            found.append((path, match))
        elif depth and path.is_dir():
            found += _folders(path, pattern, depth - 1)
    return found


def _file(folder: Path, layout: _Edition, kind: str, files: set[Path]) -> Path:
    """Return the file of a sequence or the label: the uncompressed one where there is no other."""
    compressed = folder / f"{folder.name}{layout.joint}{kind}{SUFFIX}"
    plain = compressed.with_suffix("")
    return plain if plain in files and compressed not in files else compressed
