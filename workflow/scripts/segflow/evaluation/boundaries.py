"""Metrics of boundaries and centre lines that a data set may ask for."""

import edt
import numpy as np
from skimage.morphology import skeletonize

from segflow.evaluation.metrics import ratio
from segflow.images.sizes import at_most

SHARE = 0.02  # of the image's diagonal: the width of a boundary where the data set states none


def boundary_width_mm(
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    axes: tuple[int, ...],
    wanted_mm: float | None = None,
) -> float:
    """Return how far inside a mask its boundary reaches.

    Parameters
    ----------
    shape, spacing_mm : tuple
        Of the whole image, along (z, y, x).
    axes : tuple of int
        Those along which it extends; see `segflow.images.sizes.image_axes`.
    wanted_mm : float or None
        What the data set states; 2 % of the image's diagonal without it.

    Returns
    -------
    float
        At least the largest spacing, so that every voxel beside the outside is boundary.
    """
    sides = [shape[axis] * spacing_mm[axis] for axis in axes]
    width_mm = SHARE * float(np.hypot.reduce(sides)) if wanted_mm is None else wanted_mm
    return max(width_mm, *(spacing_mm[axis] for axis in axes))


def boundary_iou(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, ...],
    width_mm: float,
    axes: tuple[int, ...] = (0, 1, 2),
) -> float:
    """Return the IoU of the boundaries of two masks.

    A boundary is what lies inside of a mask no further than `width_mm` from what is outside; so
    large objects are not judged by their interior. Outside of the image is background.

    Parameters
    ----------
    reference, prediction : ndarray of bool
        Masks of the same shape (z, y, x).
    spacing_mm : tuple of float
        Spacing along (z, y, x).
    width_mm : float
        See `boundary_width_mm`.
    axes : tuple of int
        Those along which the image extends.

    Returns
    -------
    float
        0 to 1; NaN if both masks are empty, 0 if one is.

    References
    ----------
    Cheng et al., Boundary IoU, CVPR 2021, doi:10.1109/CVPR46437.2021.01508; there with distances in
    pixels of 2D images.
    """
    first, second = (
        _boundary(_flattened(mask, axes), [spacing_mm[axis] for axis in axes], width_mm)
        for mask in (reference, prediction)
    )
    return ratio(int((first & second).sum()), int((first | second).sum()))


def centre_line_dice(
    reference: np.ndarray, prediction: np.ndarray, axes: tuple[int, ...] = (0, 1, 2)
) -> float:
    """Return clDice, which says how well the centre lines of tubes agree.

    Precision is the share of the prediction's skeleton inside of the reference, sensitivity that of
    the reference's inside of the prediction, and clDice their harmonic mean. Skeletons are those of
    voxels, whatever the spacing.

    Parameters
    ----------
    reference, prediction : ndarray of bool
        Masks of the same shape (z, y, x).
    axes : tuple of int
        Those along which the image extends.

    Returns
    -------
    float
        0 to 1; NaN if both masks are empty, 0 if one is.

    References
    ----------
    Shit et al., clDice, CVPR 2021, doi:10.1109/CVPR46437.2021.01629; skeletons by Lee et al. (3D)
    and Zhang and Suen (2D), of scikit-image.
    """
    first, second = (_flattened(mask, axes) for mask in (reference, prediction))
    if not first.any() or not second.any():
        return 0.0 if first.any() or second.any() else float("nan")
    lines = skeletonize(first), skeletonize(second)
    sensitivity = float(second[lines[0]].mean())
    precision = float(first[lines[1]].mean())
    both = precision + sensitivity
    return 2 * precision * sensitivity / both if both else 0.0


def _flattened(mask: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return a mask without the axis along which its image does not extend."""
    return mask.reshape([mask.shape[axis] for axis in axes])


def _boundary(mask: np.ndarray, spacing_mm: list[float], width_mm: float) -> np.ndarray:
    """Return what lies in a mask no further than a width from the outside."""
    padded = np.pad(mask, 1)
    distances = edt.edt(padded, anisotropy=spacing_mm, order="C")
    inside = tuple(slice(1, -1) for _ in mask.shape)
    return mask & at_most(distances[inside], width_mm)
