"""Comparison of one predicted label map with its reference."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects

from segflow.evaluation.boundaries import boundary_iou, boundary_width_mm, centre_line_dice
from segflow.evaluation.distances import surface_metrics
from segflow.evaluation.lesions import LesionRule, compare_lesions
from segflow.evaluation.metrics import joint_histogram, overlap
from segflow.files.labels import Labels, blank_ignored, foreground, foreground_values
from segflow.images.nifti import describe_difference, read_labels
from segflow.images.sizes import image_axes, voxel_size

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Parameters
    ----------
    labels : dict of str to int or list of int
        Labels and regions by name, as in a data set's description; the background is left out.
    tolerances_mm : dict of str to float
        Tolerance of the normalised surface Dice of each label, which is NaN without one.
    lesions : LesionRule or None
        What counts as a lesion, and as found; None if there are no lesions.
    flat : bool
        Whether all images are 2D: areas in mm2 take the place of volumes in mL.
    options : tuple of str
        Further metrics: those of `segflow.evaluation.metrics.OPTIONAL` that are wanted.
    boundary_mm : float or None
        Width of a boundary; see `segflow.evaluation.boundaries.boundary_width_mm`.
    """

    labels: Labels
    tolerances_mm: dict[str, float] = field(default_factory=dict)
    lesions: LesionRule | None = None
    flat: bool = False
    options: tuple[str, ...] = ()
    boundary_mm: float | None = None


def evaluate_case(
    reference: Path, prediction: Path, settings: Settings
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """Compare a predicted label map with its reference.

    Parameters
    ----------
    reference, prediction : Path
        The label maps.
    settings : Settings
        What is measured.

    Returns
    -------
    metrics : dict of str to dict
        The metrics of each label or region; see `segflow.evaluation.metrics.overlap`,
        `segflow.evaluation.distances.surface_metrics`, what the options ask for and, for labels
        that are lesions, `segflow.evaluation.lesions.lesion_metrics`.
    lesions : list of dict
        One row for each lesion; see `segflow.evaluation.lesions.compare_lesions`.

    Raises
    ------
    ValueError
        If the grids differ, a file is missing or damaged, or a label is not declared.
    """
    truth, grid = read_labels(reference)
    guess, other = read_labels(prediction)
    if difference := describe_difference(grid, other)[0]:
        raise ValueError(f"{prediction}: differs from its reference {reference} in {difference}")
    n_ignored = blank_ignored(settings.labels, truth, guess)
    declared = [0, *foreground_values(settings.labels)]
    try:
        histogram = joint_histogram(truth, guess, declared[-1] + 1)
    except ValueError as error:
        raise ValueError(f"{prediction}: {error}") from None
    histogram[0, 0] -= n_ignored
    for value in sorted(set(range(len(histogram))) - set(declared)):
        if histogram[value].any() or histogram[:, value].any():
            raise ValueError(f"{prediction}: it or its reference holds undeclared label {value}")
    maps = _crop(truth, guess, np.min_scalar_type(declared[-1]))
    del truth, guess
    boxes = [find_objects(label_map, declared[-1]) for label_map in maps]
    axes, size = image_axes(grid.shape), voxel_size(grid)
    # Among volumes, a flat image is one slice of its thickness.
    thickness_mm = 1.0 if settings.flat else float(np.prod(grid.spacing_mm)) / size
    unit = size if settings.flat else size * thickness_mm / 1000
    width_mm = boundary_width_mm(grid.shape, grid.spacing_mm, axes, settings.boundary_mm)
    metrics, lesions = {}, []
    for name, members in foreground(settings.labels).items():
        box = _join([found[value - 1] for found in boxes for value in members])
        masks = [_mask(label_map[box], members) for label_map in maps]
        metrics[name] = {
            **overlap(histogram, members, unit, settings.flat),
            **surface_metrics(*masks, grid.spacing_mm, settings.tolerances_mm.get(name), axes),
        }
        if "boundary_iou" in settings.options:
            metrics[name]["boundary_iou"] = boundary_iou(*masks, grid.spacing_mm, width_mm, axes)
        if "cldice" in settings.options:
            metrics[name]["cldice"] = centre_line_dice(*masks, axes)
        if settings.lesions and name in settings.lesions.labels:
            found, rows = compare_lesions(
                *masks, size, settings.lesions, settings.flat, thickness_mm
            )
            metrics[name] |= found
            lesions += [{"label": name, **row} for row in rows]
    return metrics, lesions


def _crop(truth: np.ndarray, guess: np.ndarray, dtype: np.dtype) -> list[np.ndarray]:
    """Cut the box around all labels of both maps from them, in the smallest type."""
    columns = truth.any(0) | guess.any(0)
    y, x = _extent(columns.any(1)), _extent(columns.any(0))
    z = _extent(truth[:, y, x].any((1, 2)) | guess[:, y, x].any((1, 2)))
    return [label_map[z, y, x].astype(dtype) for label_map in (truth, guess)]


def _extent(line: np.ndarray) -> slice:
    """Return the slice from the first to the last that is true."""
    found = np.flatnonzero(line)
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _join(boxes: list[Box | None]) -> Box:
    """Return the smallest box around some boxes; an empty one if there are none."""
    sides = zip(*(box for box in boxes if box is not None), strict=True)
    joined = [slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides]
    return tuple(joined) if joined else (slice(0, 0),) * 3


def _mask(label_map: np.ndarray, members: list[int]) -> np.ndarray:
    mask = label_map == members[0]
    for value in members[1:]:
        mask |= label_map == value
    return mask
