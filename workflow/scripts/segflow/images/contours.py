"""Contours of INbreast's XML files, drawn as masks."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from skimage.draw import polygon

from segflow.images.inbreast_xml import MIN_POINTS, plain, read_images

NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
POINT = re.compile(rf"\(\s*{NUMBER}\s*,\s*{NUMBER}\s*\)")
SIMILARITY = 0.8  # of difflib, from which on a name looks like a misspelt other one


def read_contours(
    path: Path, shape: tuple[int, int], names: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Draw the regions of interest (ROIs) of an INbreast XML file that have one of some names.

    A pixel belongs to the mask if its centre lies inside a polygon or on its border; pixel (0, 0)
    has its centre at (0, 0). Polygons that overlap are united, parts that a polygon which crosses
    itself encloses twice are left out.

    Parameters
    ----------
    path : Path
        The property list.
    shape : tuple of int
        Pixels of the image along (y, x).
    names : sequence of str
        Names of the wanted ROIs, with every spelling that counts; case and blanks around them do
        not matter.

    Returns
    -------
    mask : ndarray of uint8
        Of shape (y, x), 1 inside the wanted ROIs; empty if there are none.
    findings : list of str
        What is wrong with the file, and what became of it. ROIs are counted from 0, over all
        images of the file.

    Raises
    ------
    ValueError
        If the file is damaged, or no names are given.
    """
    if not names:
        raise ValueError(f"{path}: the names of the ROIs to draw are not given")
    images = read_images(path)
    mask = np.zeros(shape, np.uint8)
    findings = []
    if not images:
        findings.append("lists no image: the mask is empty")
    if len(images) > 1:
        findings.append(f"lists {len(images)} images: drew the ROIs of all of them")
    wanted = {plain(name): name for name in names}
    others = []
    for index, roi in enumerate(roi for rois in images for roi in rois):
        name = str(roi.get("Name", ""))
        if plain(name) in wanted:
            drawn, problems = _draw(roi, shape)
            mask |= drawn
            findings += [f"ROI {index} ({name.strip()}) {problem}" for problem in problems]
        else:
            others.append(name)
    return mask, findings + _misspelt(others, wanted)


def _misspelt(names: Iterable[str], wanted: dict[str, str]) -> list[str]:
    """Return one finding on all names that look like misspelt wanted ones; none without such."""
    found = []
    for name, count in sorted(Counter(names).items()):
        similar = difflib.get_close_matches(plain(name), wanted, n=1, cutoff=SIMILARITY)
        if similar:
            found.append(f"{count} named {name!r} (like {wanted[similar[0]]!r})")
    return [f"left out ROIs whose names may be misspelt: {', '.join(found)}"] if found else []


def _draw(roi: dict, shape: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """Return the mask of one ROI, and what is wrong with it."""
    empty = np.zeros(shape, np.uint8)
    texts = roi.get("Point_px", [])
    matches = [POINT.fullmatch(str(text).strip()) for text in texts]
    if broken := [text for text, match in zip(texts, matches, strict=True) if not match]:
        return empty, [f"has a point that is no pair of numbers, {broken[0]!r}: left out"]
    points = np.array([match.groups() for match in matches], float).reshape(-1, 2)
    if len(points) < MIN_POINTS:
        return empty, [f"has {len(points)} point(s), a polygon needs {MIN_POINTS}: left out"]
    findings = []
    if (count := roi.get("NumberOfPoints", len(points))) != len(points):
        findings.append(f"has {len(points)} points instead of {count}: drew those")
    last = np.array(shape[::-1]) - 1
    outside = int(((points < 0) | (points > last)).any(axis=1).sum())
    if outside:
        findings.append(f"has {outside} point(s) outside the image: moved them to its border")
    points = np.clip(points, 0, last)
    if _crosses_itself(points):
        findings.append("crosses itself: drawn all the same")
    elif np.isclose(_area(points), 0):
        return empty, [*findings, "encloses no area: left out"]
    empty[polygon(points[:, 1], points[:, 0], shape)] = 1
    return empty, findings


def _area(points: np.ndarray) -> float:
    """Return the signed area of a polygon (shoelace formula)."""
    x, y = (points - points[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _crosses_itself(points: np.ndarray) -> bool:
    """Say whether two sides of a polygon cross; sides that only touch do not."""
    ends = np.roll(points, -1, axis=0)
    sides = ends - points

    def side_of(others: np.ndarray) -> np.ndarray:
        """Return on which side of line i (row) the point j (column) lies."""
        x, y = np.moveaxis(others[None] - points[:, None], -1, 0)
        return np.sign(sides[:, :1] * y - sides[:, 1:] * x)

    apart = side_of(points) * side_of(ends) < 0
    return bool((apart & apart.T).any())
