"""How the axes of an image lie in the body, and images with their axes in another order.

An orientation is three letters, for x, y and z: towards the left or right (L, R), posterior or
anterior (P, A), superior or inferior (S, I).
"""

from dataclasses import replace

import numpy as np

from segflow.images.nifti import Grid

LETTERS = ("LR", "PA", "SI")  # of the positive and of the negative direction of ITK's axes


def orientation_of(grid: Grid) -> str:
    """Return the orientation of a 3D grid, that of the nearest axes; empty for a 2D grid."""
    if len(grid.origin_mm) == 2:
        return ""
    letters = []
    left = np.reshape(grid.direction, (3, 3)).copy()
    for axis in range(3):
        row = int(np.abs(left[:, axis]).argmax())
        letters.append(LETTERS[row][int(left[row, axis] < 0)])
        left[row] = 0
    return "".join(letters)


def reorient(array: np.ndarray, source: str, target: str) -> np.ndarray:
    """Return a view of an array with its axes in another order and direction.

    Parameters
    ----------
    array : ndarray
        Of shape (..., z, y, x), in the orientation `source`.
    source, target : str
        Orientations.
    """
    order = _order(source, target)
    first = array.ndim - 3
    axes = [first + 2 - axis for axis in reversed(order)]
    turned = array.transpose(*range(first), *axes)
    steps = [1 if source[axis] == target[place] else -1 for place, axis in enumerate(order)]
    return turned[(..., *(slice(None, None, step) for step in reversed(steps)))]


def reorient_grid(grid: Grid, target: str) -> Grid:
    """Return the grid of a 3D image whose voxels were reoriented; each keeps its place."""
    source = orientation_of(grid)
    order = _order(source, target)
    direction = np.reshape(grid.direction, (3, 3))[:, order]
    shape, spacing_mm = (np.array(values[::-1])[order] for values in (grid.shape, grid.spacing_mm))
    origin = np.array(grid.origin_mm)
    for place, axis in enumerate(order):
        if source[axis] != target[place]:
            origin += direction[:, place] * spacing_mm[place] * (shape[place] - 1)
            direction[:, place] *= -1
    return replace(
        grid,
        shape=tuple(shape[::-1].tolist()),
        spacing_mm=tuple(spacing_mm[::-1].tolist()),
        origin_mm=tuple(origin.tolist()),
        direction=tuple(direction.ravel().tolist()),
    )


def with_flat_axis_last(grid: Grid) -> str:
    """Return the orientation in which the only axis of one voxel, of a 3D image, is z."""
    stored = orientation_of(grid)
    flat = [axis for axis, size in enumerate(grid.shape[::-1]) if size == 1]
    if not stored or len(flat) != 1:
        return stored
    return stored[: flat[0]] + stored[flat[0] + 1 :] + stored[flat[0]]


def _order(source: str, target: str) -> list[int]:
    """Return for each axis of `target` the axis of `source` along the same line."""
    lines = [next(line for line in LETTERS if letter in line) for letter in source]
    return [place for letter in target for place, line in enumerate(lines) if letter in line]
