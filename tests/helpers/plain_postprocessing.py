"""Post-processing as its documentation describes it, done on the voxels by SciPy, slowly."""

import numpy as np
from scipy import ndimage

from segflow.predictors.steps import Step


def plain_steps(label_map: np.ndarray, steps: list[Step], voxel_mm3: float) -> np.ndarray:
    """Apply steps to a label map of shape (z, y, x), one after the other."""
    for step in steps:
        if step.operation == "fill_holes":
            label_map = fill_holes(label_map, step, voxel_mm3)
        else:
            label_map = remove_components(label_map, step, voxel_mm3)
    return label_map


def remove_components(label_map: np.ndarray, step: Step, voxel_mm3: float) -> np.ndarray:
    """Keep the largest components of some labels, or drop the small ones."""
    found, count = ndimage.label(np.isin(label_map, step.labels), np.ones((3, 3, 3)))
    sizes = np.array([np.sum(found == number) for number in range(1, count + 1)])
    if step.operation == "drop_small":
        gone = sizes * voxel_mm3 < step.parameter
    else:
        gone = sizes < sorted(sizes)[-step.parameter] if count >= step.parameter else sizes < 0
    return np.where(np.isin(found, 1 + np.flatnonzero(gone)), 0, label_map)


def fill_holes(label_map: np.ndarray, step: Step, voxel_mm3: float) -> np.ndarray:
    """Fill the holes of some labels up to a volume."""
    background, count = ndimage.label(label_map == 0)
    filled = label_map.copy()
    along = [axis for axis in range(3) if label_map.shape[axis] > 1]
    open_ones = {
        number
        for axis in along
        for face in (0, -1)
        for number in np.unique(np.moveaxis(background, axis, 0)[face]).tolist()
    }
    for number in set(range(1, count + 1)) - open_ones:
        hole = background == number
        if hole.sum() * voxel_mm3 > step.parameter:
            continue
        wide, around = np.pad(hole, 1), np.pad(label_map, 1)
        faces = [
            value
            for axis in range(3)
            for shift in (1, -1)
            for value in around[np.roll(wide, shift, axis) & ~wide].tolist()
            if value
        ]
        if set(faces) <= set(step.labels):
            filled[hole] = min(set(faces), key=lambda value: (-faces.count(value), value))
    return filled
