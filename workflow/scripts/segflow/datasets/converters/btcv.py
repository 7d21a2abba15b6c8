"""BTCV: abdominal organs in CT (Multi-Atlas Labeling Beyond the Cranial Vault).

Images are ``img/imgNNNN.nii.gz``, or ``averaged-training-images/imgNNNN.nii.gz``, and labels
``label/labelNNNN.nii.gz``. These folders are in the raw folder or in its ``RawData/Training``; the
test images, which have no labels, are in ``RawData/Testing/img``.
"""

from pathlib import Path

from segflow.datasets.converters._pairing import by_name, inner_folder, pairs
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.suffixes import ending_with

OPTIONS: dict[str, dict] = {}
SUFFIX = ".nii.gz"
IMAGES = ("averaged-training-images", "img")


def find_cases(raw: Path) -> Catalogue:
    """Return the training and test cases; each counts as one patient.

    Raises
    ------
    FileNotFoundError
        If `raw` has no training images.
    """
    root = inner_folder(raw, "RawData")
    training, testing = inner_folder(root, "Training"), root / "Testing"
    cases: list[SourceCase] = []
    problems: list[Problem] = []
    for split, folder in (("train", training), ("test", testing)):
        images = _numbered(raw, inner_folder(folder, *IMAGES), "img", problems)
        labels = _numbered(raw, folder / "label", "label", problems)
        if split == "train" and not images:
            raise no_cases(raw, f"img/imgNNNN{SUFFIX} and label/labelNNNN{SUFFIX} of BTCV")
        for name, image, reference in pairs(raw, images, labels, split == "train", problems):
            cases.append(SourceCase(name, name, split, (image,), reference))
    return Catalogue(cases, problems)


def _numbered(raw: Path, folder: Path, kind: str, problems: list[Problem]) -> dict[str, Path]:
    """Return the files of a folder by the names of their cases, which are those of the images."""
    paths = ending_with(folder, SUFFIX).values()
    files = by_name(raw, paths, rf"{kind}(\d{{4}})", problems)
    return {f"img{number}": path for number, path in files.items()}
