"""Medical Segmentation Decathlon (any of its ten tasks).

A task has the folders ``imagesTr``, ``labelsTr`` and ``imagesTs`` with files ``NAME_NNN.nii.gz``.
Several channels are the last axis of one 4D image. ``labelsTs`` is not part of the published
tasks; where somebody put it, its labels serve as references of the test cases.
"""

from pathlib import Path

from segflow.sources import SourceCase

SUFFIX = ".nii.gz"


def find_cases(raw: Path) -> list[SourceCase]:
    """Return the training and test cases of the task in `raw`.

    The Decathlon does not say which cases show the same patient: each case counts as one.

    Raises
    ------
    FileNotFoundError
        If `raw` has no ``imagesTr`` with images.
    ValueError
        If a training image has no label or a label no image.
    """
    training = _names(raw / "imagesTr")
    if not training:
        raise FileNotFoundError(
            f"{raw}: expected imagesTr/*{SUFFIX} and labelsTr/*{SUFFIX} of a Decathlon task, found "
            + (", ".join(sorted(path.name for path in raw.iterdir())) or "an empty folder")
        )
    problems = [
        *_unpaired(training, _names(raw / "labelsTr"), "imagesTr", "labelsTr"),
        *_unpaired(_names(raw / "labelsTr"), training, "labelsTr", "imagesTr"),
    ]
    test_labels = _names(raw / "labelsTs")
    problems += _unpaired(test_labels, _names(raw / "imagesTs"), "labelsTs", "imagesTs")
    if problems:
        raise ValueError(f"{raw}: " + "; ".join(problems))
    cases = [_case(raw, name, "train", labelled=True) for name in training]
    cases += [_case(raw, name, "test", name in test_labels) for name in _names(raw / "imagesTs")]
    return cases


def _names(folder: Path) -> list[str]:
    """Return the case names in a folder, without the ``._`` files that macOS leaves."""
    paths = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
    return sorted(p.name.removesuffix(SUFFIX) for p in paths if not p.name.startswith("."))


def _unpaired(names: list[str], partners: list[str], here: str, there: str) -> list[str]:
    missing = sorted(set(names) - set(partners))
    return [f"{here}/{name}{SUFFIX} has no partner in {there}" for name in missing]


def _case(raw: Path, name: str, split: str, labelled: bool) -> SourceCase:
    part = "Tr" if split == "train" else "Ts"
    label = raw / f"labels{part}" / f"{name}{SUFFIX}" if labelled else None
    return SourceCase(name, name, split, (raw / f"images{part}" / f"{name}{SUFFIX}",), label)
