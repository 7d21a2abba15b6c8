"""Images as people look at them: grey values from 0 to 255, and slices the usual way up."""

from dataclasses import replace

import numpy as np

from segflow.images.nifti import Grid
from segflow.images.orientation import orientation_of, reorient, reorient_grid

# As slices are usually shown: x grows towards the left of the body, y backwards, z upwards.
SHOWN = "LPS"
CT_WINDOW_HU = (-175.0, 275.0)  # soft tissue, and what contrast agent fills
PERCENTILES = (0.5, 99.5)


def windowed(image: np.ndarray, ct: bool) -> np.ndarray:
    """Return an image with grey values from 0 to 255, of type uint8.

    CT has the window `CT_WINDOW_HU`; of other images it spans the `PERCENTILES` of the voxels that
    are not 0. Values that are no numbers are black.
    """
    image = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
    low, high = CT_WINDOW_HU
    if not ct:
        inside = image[image != 0]
        low, high = np.percentile(inside, PERCENTILES) if inside.size else (0, 1)
    grey = (image - low) * (255 / max(high - low, 1e-6))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def turned(array: np.ndarray, grid: Grid) -> np.ndarray:
    """Return an array in the orientation `SHOWN`, or with its only slice first."""
    flat = _flat_axis(grid)
    source = orientation_of(grid)
    if flat is not None or not source:
        return np.ascontiguousarray(np.moveaxis(array, flat or 0, 0))
    return np.ascontiguousarray(reorient(array, source, SHOWN))


def turned_grid(grid: Grid) -> Grid:
    """Return shape and spacing of a turned array."""
    flat = _flat_axis(grid)
    if flat is None and orientation_of(grid):
        return reorient_grid(grid, SHOWN)
    order = [flat or 0, *(axis for axis in range(3) if axis != (flat or 0))]
    return replace(
        grid,
        shape=tuple(grid.shape[axis] for axis in order),
        spacing_mm=tuple(grid.spacing_mm[axis] for axis in order),
    )


def _flat_axis(grid: Grid) -> int | None:
    return grid.shape.index(1) if 1 in grid.shape else None
