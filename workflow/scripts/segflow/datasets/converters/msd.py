"""Medical Segmentation Decathlon (any of its ten tasks).

A task has the folders ``imagesTr``, ``labelsTr`` and ``imagesTs`` with files ``NAME_NNN.nii.gz``.
Several channels are the last axis of one 4D image. ``labelsTs`` is not part of the published
tasks; where somebody put it, its labels serve as references of the test cases.
"""

from pathlib import Path
from typing import Any

from segflow.datasets.converters import nnunet
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.suffixes import ending_with

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
    if not ending_with(raw / "imagesTr", SUFFIX):
        expected = f"imagesTr/*{SUFFIX} and labelsTr/*{SUFFIX} of a Decathlon task"
        raise no_cases(raw, expected)
    cases, problems = [], []
    for split, part in (("train", "Tr"), ("test", "Ts")):
        images = ending_with(raw / f"images{part}", SUFFIX)
        labels = ending_with(raw / f"labels{part}", SUFFIX)
        needed = images if split == "train" else {}
        problems += _unpaired(needed, labels, f"labels{part}")
        problems += _unpaired(labels, images, f"images{part}")
        for name, image in images.items():
            label = (labels[name],) if name in labels else None
            cases.append(SourceCase(name, name, split, (image,), label))
    return Catalogue(cases, problems)


def describe(raw: Path) -> dict[str, Any]:
    """Return names of channels and labels; see `segflow.datasets.converters.nnunet.describe`."""
    return nnunet.describe(raw)


def _unpaired(files: dict[str, Path], partners: dict[str, Path], there: str) -> list[Problem]:
    return [
        Problem(
            name,
            f"{files[name].parent.name}/{files[name].name}",
            "error",
            f"has no partner in {there}",
            "add it",
        )
        for name in sorted(files.keys() - partners.keys())
    ]
