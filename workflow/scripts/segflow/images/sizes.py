"""Axes and voxels of images as they count, and how a measured length or volume meets a limit.

Files hold spacings as floats of 32 bits or as decimals, so a length of ten voxels of 0.8 mm is
rarely 8 mm to the last digit. A limit counts as met to within `TOLERANCE`, wherever there is one.
"""

import numpy as np

from segflow.images.nifti import Grid

TOLERANCE = 1e-5  # relative; rounding of spacings makes some millionths


def image_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes along which an image extends.

    Parameters
    ----------
    shape : tuple of int
        Voxels of the whole image along (z, y, x), never those of a part of it.

    Returns
    -------
    tuple of int
        All three; of a flat image the other two than the first axis of one voxel.
    """
    flat = shape.index(1) if 1 in shape else None
    return tuple(axis for axis in range(len(shape)) if axis != flat)


def voxel_size(grid: Grid) -> float:
    """Return the volume of a voxel in mm3; of a flat image, whatever its thickness, the area."""
    return float(np.prod([grid.spacing_mm[axis] for axis in image_axes(grid.shape)]))


def at_most(value: np.ndarray | float, limit: float) -> np.ndarray | bool:
    """Say whether lengths or volumes do not exceed a limit; to within `TOLERANCE` they equal it."""
    return np.asarray(value) <= limit * (1 + TOLERANCE)


def at_least(value: np.ndarray | float, limit: float) -> np.ndarray | bool:
    """Say whether lengths or volumes reach a limit; to within `TOLERANCE` they equal it."""
    return np.asarray(value) >= limit * (1 - TOLERANCE)
