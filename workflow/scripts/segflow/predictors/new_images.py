"""New images: found, read and compared with the training before any network looks at them."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from segflow.datasets.sources import Problem, SourceCase
from segflow.files.cases import Case
from segflow.files.folders import visible
from segflow.files.suffixes import DICOM, IMAGES, stem, suffix
from segflow.files.words import counted, enumerate_some
from segflow.images.dicom_headers import is_dicom
from segflow.images.dicom_series import loose_slices, missing_images
from segflow.images.nifti import SUFFIX
from segflow.images.raw_files import knows_its_grid
from segflow.images.segments import is_segmentation

PLACE_APART = "give each image a name, or a folder, of its own"
LEDGER = ".ledger"  # of a folder that this project filled


def find_images(
    folder: Path, n_channels: int, output: Path | None = None
) -> tuple[list[SourceCase], list[Problem]]:
    """Find new images: ``CASE_0000.nii.gz`` and so on, or one file ``CASE.nii.gz``.

    Parameters
    ----------
    folder : Path
        Folder of the images, in any format that `segflow.images.raw_files` reads, or of folders
        with one DICOM series each. What is not looked at is printed: files of no known format,
        and folders without DICOM files.
    n_channels : int
        Channels that each case must have; one file may hold several.
    output : Path, optional
        A folder that is not looked at.

    Returns
    -------
    cases : list of SourceCase
        Those in which nothing is wrong so far.
    problems : list of Problem
        Errors of all other cases, and notes.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of new images")
    found: dict[str, list[Path]] = {}
    others, problems = [], []
    for path in visible(folder):
        if path.is_dir() and (_is_same(path, output) or (path / LEDGER).exists()):
            others.append(path.name)
        elif path.is_dir():
            text = _wrong_with_folder(path)
            if text:
                problems.append(_error(path.name, [path.name], text))
            elif is_dicom(path):
                found.setdefault(path.name, []).append(path)
            else:
                others.append(path.name)
        elif suffix(path) in IMAGES or is_dicom(path):
            found.setdefault(_name(path), []).append(path)
        else:
            others.append(path.name)
    if others:
        print(f"{folder}: not looked at: {', '.join(others)}", file=sys.stderr)
    if not found and not problems:
        raise FileNotFoundError(f"{folder}: expected images CASE_0000{SUFFIX}, found none")
    _take_loose_slices(found, problems)
    cases = []
    for case, paths in _by_case(found, n_channels).items():
        text = _wrong_with_files(case, found, paths, n_channels)
        if text:
            problems.append(_error(case, [path.name for path in paths], text))
            continue
        for path in filter(Path.is_dir, paths):
            errors, notes = missing_images(path)
            problems += [_error(case, [path.name], text) for text in errors]
            problems += [Problem(case, path.name, "note", text, "kept") for text in notes]
        cases.append(SourceCase(case, case, "test", tuple(paths), None))
    failed = {problem.case for problem in problems if problem.severity == "error"}
    return [case for case in cases if case.case not in failed], problems


def _name(path: Path) -> str:
    """Return the name of a file without a known suffix."""
    return stem(path) if suffix(path) in IMAGES else path.name


def _is_same(path: Path, other: Path | None) -> bool:
    return other is not None and path.resolve() == other.resolve()


def _error(case: str, files: Iterable[str], text: str) -> Problem:
    return Problem(case, ";".join(files), "error", text, PLACE_APART)


def _has_images(folder: Path) -> bool:
    """Say whether a folder holds DICOM files that are no segments."""
    return any(
        file.is_file() and is_dicom(file) and not is_segmentation(file) for file in visible(folder)
    )


def _wrong_with_folder(folder: Path) -> str:
    """Say why a folder is not one DICOM series; empty if it is one, or none at all."""
    inside = visible(folder)
    if not inside:
        return "the folder is empty"
    if _has_images(folder):
        strange = [
            path.name
            for path in inside
            if path.is_file() and suffix(path) in IMAGES and suffix(path) not in DICOM
        ]
        if strange:
            return f"DICOM files and files of other formats ({enumerate_some(strange)}) are mixed"
        return ""
    deeper = [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_dir() and not (path / LEDGER).exists() and _has_images(path)
    ]
    return f"DICOM files lie in folders inside it ({enumerate_some(deeper)})" if deeper else ""


def _take_loose_slices(found: dict[str, list[Path]], problems: list[Problem]) -> None:
    """Take DICOM files that are slices of one series out of `found`, as a problem a series."""
    files = [path for paths in found.values() for path in paths if path.is_file()]
    for group in loose_slices(filter(is_dicom, files)):
        names = [path.name for path in group]
        text = f"{counted(len(group), 'slice')} of one DICOM series ({enumerate_some(names)})"
        case = _name(group[0])
        problems.append(Problem(case, group[0].name, "error", text, "put them into a folder"))
        for path in group:
            found[_name(path)].remove(path)


def _by_case(found: dict[str, list[Path]], n_channels: int) -> dict[str, list[Path]]:
    """Return the files of each case; ``_0000`` ends the name of its first channel."""
    cases: dict[str, list[Path]] = {}
    for name, paths in found.items():
        case = re.sub(r"_\d{4}$", "", name)
        if n_channels == 1 and f"{case}_0000" not in found:
            case = name
        if paths:
            cases.setdefault(case, []).extend(paths)
    return cases


def _wrong_with_files(
    case: str, found: dict[str, list[Path]], paths: list[Path], n_channels: int
) -> str:
    """Say why files are not the channels of one case; empty if they are."""
    names = [path.name if path.is_dir() else _name(path) for path in paths]
    if any(len(found[name]) > 1 for name in names):
        return f"case {case!r} is there in several files"
    wanted = [f"{case}_{number:04d}" for number in range(n_channels)]
    if names not in (wanted, [case]):
        return f"case {case!r} needs {wanted}, found {names}"
    return ""


def unlike_training(
    cases: list[Case], dataset_json: dict, configurations: Iterable[str]
) -> list[Problem]:
    """Report images of another dimension, or without a grid where those of the training have one.

    nnU-Net would stretch a picture to hundreds of slices.

    Parameters
    ----------
    cases : list of Case
        The converted images.
    dataset_json : dict
        nnU-Net's description of the data set; one from elsewhere tells no dimensions and formats.
    configurations : iterable of str
        Configurations of the networks.
    """
    solid = any(name.startswith("3d") for name in configurations)
    dimensions = dataset_json.get("dimensions", [3] if solid else [2, 3])
    formats = [Path(f"image{ending}") for ending in dataset_json.get("formats", [])]
    placed = bool(formats) and all(map(knows_its_grid, formats))
    stated = "spacing_mm" in dataset_json["reading"]
    problems = []
    for case in cases:
        dimension = 3 if case.orientation else 2
        texts = []
        if dimension not in dimensions:
            texts.append(f"is {dimension}D, but the network learned from {dimensions[0]}D images")
        if (
            placed
            and not stated
            and not all(map(knows_its_grid, map(Path, case.images.split(";"))))
        ):
            texts.append("knows no spacing, as the images of the training do")
        action = "segment images like those of the training"
        problems += [Problem(case.case, case.images, "error", text, action) for text in texts]
    return problems
