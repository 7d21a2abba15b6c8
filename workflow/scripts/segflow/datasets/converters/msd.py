"""Medical Segmentation Decathlon (any of its ten tasks).

A task has the folders ``imagesTr``, ``labelsTr`` and ``imagesTs`` with files ``NAME_NNN.nii.gz``.
Several channels are the last axis of one 4D image. ``labelsTs`` is not part of the published
tasks; where somebody put it, its labels serve as references of the test cases.
"""

from pathlib import Path
from typing import Any

from segflow.datasets.converters import nnunet
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.folders import visible

OPTIONS: dict[str, dict] = {}
SUFFIX = ".nii.gz"


def find_cases(raw: Path) -> Catalogue:
    """Return the training and test cases of the task in `raw`.

    The Decathlon does not say which cases show the same patient: each case counts as one.

    Raises
    ------
    FileNotFoundError
        If `raw` has no ``imagesTr`` with images.
    """
    if not _names(raw / "imagesTr"):
        expected = f"imagesTr/*{SUFFIX} and labelsTr/*{SUFFIX} of a Decathlon task"
        raise no_cases(raw, expected)
    cases, problems = [], []
    for split, part in (("train", "Tr"), ("test", "Ts")):
        images, labels = _names(raw / f"images{part}"), _names(raw / f"labels{part}")
        needed = images if split == "train" else []
        problems += _unpaired(needed, labels, f"images{part}", f"labels{part}")
        problems += _unpaired(labels, images, f"labels{part}", f"images{part}")
        labelled = set(labels)
        for name in images:
            label = raw / f"labels{part}" / f"{name}{SUFFIX}" if name in labelled else None
            image = raw / f"images{part}" / f"{name}{SUFFIX}"
            cases.append(SourceCase(name, name, split, (image,), (label,) if label else None))
    return Catalogue(cases, problems)


def describe(raw: Path) -> dict[str, Any]:
    """Return names of channels and labels; see `segflow.datasets.converters.nnunet.describe`."""
    return nnunet.describe(raw)


def _names(folder: Path) -> list[str]:
    """Return the case names in a folder."""
    return [path.name.removesuffix(SUFFIX) for path in visible(folder, f"*{SUFFIX}")]


def _unpaired(names: list[str], partners: list[str], here: str, there: str) -> list[Problem]:
    return [
        Problem(name, f"{here}/{name}{SUFFIX}", "error", f"has no partner in {there}", "add it")
        for name in sorted(set(names) - set(partners))
    ]
