"""What the converters of published layouts share: finding files by name and pairing them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from segflow.datasets.sources import Problem
from segflow.files.suffixes import stem


def inner_folder(folder: Path, *names: str) -> Path:
    """Return the first of the named folders that is inside `folder`, or `folder` if none is."""
    inside = (folder / name for name in names)
    return next((path for path in inside if path.is_dir()), folder)


def by_name(
    raw: Path, paths: Iterable[Path], pattern: str, problems: list[Problem]
) -> dict[str, Path]:
    """Return files by the part of their names that tells the case.

    Parameters
    ----------
    raw : Path
        The raw folder.
    paths : iterable of Path
        The files.
    pattern : str
        Regular expression of a whole file name without its suffix; its first group is the key.
    problems : list of Problem
        Takes a note for each file whose name does not fit, which is left out.
    """
    files = {}
    for path in paths:
        match = re.fullmatch(pattern, stem(path))
        if match:
            files[match[1]] = path
        else:
            text = f"the name does not fit {pattern}"
            problems.append(Problem("", relative(raw, path), "note", text, "left it out"))
    return files


def pairs(
    raw: Path,
    images: Mapping[str, Path],
    labels: Mapping[str, Path],
    labelled: bool,
    problems: list[Problem],
) -> Iterator[tuple[str, Path, tuple[Path, ...] | None]]:
    """Yield name, image and label files of each case.

    Parameters
    ----------
    raw : Path
        The raw folder.
    images, labels : mapping of str to Path
        Files by the names of their cases.
    labelled : bool
        Whether each image must have a label. A label must have an image in any case.
    problems : list of Problem
        Takes an error for each file without its partner.
    """
    for name in sorted(labels.keys() - images.keys()):
        file = relative(raw, labels[name])
        problems.append(Problem(name, file, "error", "the label has no image", "add the image"))
    for name, image in images.items():
        if labelled and name not in labels:
            file = relative(raw, image)
            problems.append(Problem(name, file, "error", "the image has no label", "add the label"))
        yield name, image, (labels[name],) if name in labels else None


def missing(raw: Path, case: str, path: Path, action: str = "add it") -> Problem:
    """Return the error of a file that should be there."""
    return Problem(case, relative(raw, path), "error", "the file is missing", action)


def relative(raw: Path, path: Path) -> str:
    """Return a path as problems name it."""
    return path.relative_to(raw).as_posix()
