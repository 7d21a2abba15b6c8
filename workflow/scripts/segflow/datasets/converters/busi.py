"""BUSI: breast ultrasound images.

The folders ``benign``, ``malignant`` and ``normal`` of ``Dataset_BUSI_with_GT`` hold pictures
``CLASS (N).png``, each with its masks ``CLASS (N)_mask.png``, ``CLASS (N)_mask_1.png``, ... The
raw folder is ``Dataset_BUSI_with_GT`` or the folder around it.
"""

import re
from collections import defaultdict
from pathlib import Path

from segflow.datasets.converters._pairing import inner_folder, relative
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.suffixes import ending_with

OPTIONS: dict[str, dict] = {}
CLASSES = ("benign", "malignant", "normal")
FILE = re.compile(r"(\w+) \((\d+)\)(_mask(?:_(\d+))?)?")


def find_cases(raw: Path) -> Catalogue:
    """Return the cases, named ``CLASS_NNN``; the set has no published split.

    All masks of a picture together are its reference; a normal picture has an empty one. BUSI does
    not say which pictures show the same patient: each counts as one.

    Raises
    ------
    FileNotFoundError
        If `raw` has none of the three folders with pictures.
    """
    root = inner_folder(raw, "Dataset_BUSI_with_GT")
    pictures: dict[str, Path] = {}
    masks: dict[str, dict[int, Path]] = defaultdict(dict)
    classes: dict[str, str] = {}
    problems: list[Problem] = []
    for label in CLASSES:
        for name, path in ending_with(root / label, ".png").items():
            match = FILE.fullmatch(name)
            if match is None or match[1] != label:
                text = f"the name is neither '{label} (N).png' nor '{label} (N)_mask.png'"
                problems.append(_error("", raw, path, text, "rename or remove it"))
                continue
            name = f"{label}_{int(match[2]):03d}"
            classes[name] = label
            if match[3]:
                masks[name][int(match[4] or 0)] = path
            else:
                pictures[name] = path
    if not pictures:
        raise no_cases(raw, f"the folders {', '.join(CLASSES)} with 'benign (1).png', ...")
    for name in pictures.keys() - masks.keys():
        file = pictures[name]
        problems.append(
            _error(name, raw, file, "the picture has no mask", f"add '{file.stem}_mask.png'")
        )
    for name in masks.keys() - pictures.keys():
        for path in masks[name].values():
            problems.append(_error(name, raw, path, "the mask has no picture", "add the picture"))
    cases = [
        SourceCase(
            name,
            name,
            "train",
            (picture,),
            tuple(masks[name][number] for number in sorted(masks[name])) or None,
            class_label=classes[name],
        )
        for name, picture in pictures.items()
    ]
    return Catalogue(cases, sorted(problems, key=lambda problem: problem.file))


def _error(case: str, raw: Path, path: Path, text: str, action: str) -> Problem:
    return Problem(case, relative(raw, path), "error", text, action)
