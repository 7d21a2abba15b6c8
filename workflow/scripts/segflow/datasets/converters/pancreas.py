"""Pancreas lesions in CT, with the subtype of the lesion.

``train`` and ``validation`` have the folders ``subtype0``, ``subtype1`` and ``subtype2`` with
``quiz_S_NNN_0000.nii.gz`` (the image) and ``quiz_S_NNN.nii.gz`` (the label), where S is the
subtype; ``test`` has images ``quiz_NNN_0000.nii.gz`` alone. The raw folder is ``data`` or the
folder around it.
"""

from pathlib import Path

from segflow.datasets.converters._pairing import by_name, inner_folder, pairs, relative
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.folders import visible
from segflow.files.suffixes import ending_with

OPTIONS: dict[str, dict] = {}
SUFFIX = ".nii.gz"
FOLDERS = {"train": "train", "val": "validation"}


def find_cases(raw: Path) -> Catalogue:
    """Return the cases of the three published parts.

    The class of a case is the name of its folder, ``subtype0`` to ``subtype2``; that of a test
    case is unknown. Each case counts as one patient.

    Raises
    ------
    FileNotFoundError
        If `raw` has no ``train/subtypeS`` with images.
    """
    root = inner_folder(raw, "data")
    cases: list[SourceCase] = []
    problems: list[Problem] = []
    for split, part in FOLDERS.items():
        for folder in visible(root / part, "subtype*"):
            for case in _cases(raw, folder, split, r"quiz_\d_\d{3}", problems):
                cases.append(case)
                number = case.case.split("_")[1]
                if case.class_label != f"subtype{number}":
                    text = f"the name says subtype {number}, the folder is {folder.name}"
                    file = relative(raw, case.images[0])
                    problems.append(Problem(case.case, file, "error", text, "move or rename it"))
        if not cases:
            expected = f"data/train/subtype{{0,1,2}}/quiz_S_NNN_0000{SUFFIX}"
            raise no_cases(raw, expected)
    cases += _cases(raw, root / "test", "test", r"quiz_\d{3}", problems)
    return Catalogue(cases, problems)


def _cases(
    raw: Path, folder: Path, split: str, name: str, problems: list[Problem]
) -> list[SourceCase]:
    """Return the cases of one folder, whose names fit a pattern."""
    files = ending_with(folder, SUFFIX)
    of_images = [path for name, path in files.items() if name.endswith("_0000")]
    of_labels = [path for name, path in files.items() if not name.endswith("_0000")]
    images = by_name(raw, of_images, rf"({name})_0000", problems)
    labels = by_name(raw, of_labels, rf"({name})", problems)
    subtype = "" if split == "test" else folder.name
    return [
        SourceCase(name, name, split, (image,), reference, class_label=subtype)
        for name, image, reference in pairs(raw, images, labels, split != "test", problems)
    ]
