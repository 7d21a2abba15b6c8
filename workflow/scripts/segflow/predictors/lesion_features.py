"""Shape, intensity and texture of a predicted lesion, as numbers that a classifier can learn from.

Names and definitions are those of the Image Biomarker Standardisation Initiative (IBSI), with its
tags: ``morph`` for shape, ``stat`` for intensities, ``ih`` for their histogram and ``cm`` for
co-occurrence of grey levels. Areas of 2D images, for which it has no shapes, have names that end
with ``2d``.
"""

from functools import partial

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist
from scipy.stats import kurtosis, skew
from skimage.feature import graycomatrix
from skimage.measure import find_contours, marching_cubes, mesh_surface_area

from segflow.images.sizes import image_axes

LEVELS = 32  # grey levels of a lesion, from its least to its largest value
ANGLES = tuple(np.pi / 4 * np.arange(4))
SHAPE = [
    *("morph_vol_approx", "morph_volume", "morph_area_mesh", "morph_av", "morph_comp_1"),
    *("morph_sphericity", "morph_diam", "morph_pca_maj_axis", "morph_pca_min_axis"),
    *("morph_pca_least_axis", "morph_pca_elongation", "morph_pca_flatness"),
]
FLAT = [
    *("morph_area_approx_2d", "morph_area_2d", "morph_perimeter_2d", "morph_pa_2d"),
    *("morph_circularity_2d", "morph_diam", "morph_pca_maj_axis", "morph_pca_min_axis"),
    "morph_pca_elongation",
]
INTENSITY = [
    *("stat_mean", "stat_var", "stat_skew", "stat_kurt", "stat_median", "stat_min", "stat_p10"),
    *("stat_p90", "stat_max", "stat_iqr", "stat_range", "stat_mad", "stat_rms", "ih_entropy"),
]
TEXTURE = ["cm_contrast", "cm_corr", "cm_energy", "cm_inv_diff_mom", "cm_joint_entr"]


def measure_lesion(
    mask: np.ndarray, channels: list[np.ndarray], spacing_mm: tuple[float, ...]
) -> dict[str, float]:
    """Return the features of a lesion.

    Parameters
    ----------
    mask : ndarray of bool
        Of shape (z, y, x): the lesion; several pieces are one.
    channels : list of ndarray of float
        Images of this shape.
    spacing_mm : tuple of float
        Spacing along (z, y, x).

    Returns
    -------
    dict of str to float
        Shapes in mm; intensity and texture of each channel, whose number ends their names. Without
        a voxel the volume (area) is 0 and the rest NaN.

    References
    ----------
    Zwanenburg et al., Radiology 295 (2020) 328-338, doi:10.1148/radiol.2020191145.
    """
    axes = image_axes(mask.shape)
    if len(axes) == 2:
        flat = next(axis for axis in range(3) if axis not in axes)
        shape = _flat_shape(mask.take(0, flat), tuple(spacing_mm[axis] for axis in axes))
    else:
        shape = _shape(mask, spacing_mm)
    found = dict(shape)
    for number, image in enumerate(channels):
        own = _intensity(image[mask]) | _texture(image, mask)
        found |= {f"{name}_{number}": value for name, value in own.items()}
    return found


def _shape(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """Return the shape of a body."""
    if not mask.any():
        return {**dict.fromkeys(SHAPE, np.nan), "morph_vol_approx": 0.0}
    points, faces, _, _ = marching_cubes(
        np.pad(mask, 1).astype(np.float32), 0.5, spacing=spacing_mm
    )
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    volume = abs(float((a * np.cross(b, c)).sum())) / 6
    area = float(mesh_surface_area(points, faces))
    axes = _axes(mask, spacing_mm)
    values = [
        float(mask.sum() * np.prod(spacing_mm)),
        volume,
        area,
        area / volume,
        volume / (np.sqrt(np.pi) * area**1.5),
        (36 * np.pi * volume**2) ** (1 / 3) / area,
        _diameter(points),
        *axes,
        *(axes[1:] / axes[0] if axes[0] > 0 else (np.nan, np.nan)),
    ]
    return dict(zip(SHAPE, values, strict=True))


def _flat_shape(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """Return the shape of an area; the length of contours and what they enclose."""
    if not mask.any():
        return {**dict.fromkeys(FLAT, np.nan), "morph_area_approx_2d": 0.0}
    contours = [
        contour * spacing_mm for contour in find_contours(np.pad(mask, 1).astype(float), 0.5)
    ]
    area = abs(sum(map(_signed_area, contours)))
    perimeter = float(
        sum(np.linalg.norm(np.diff(contour, axis=0), axis=1).sum() for contour in contours)
    )
    axes = _axes(mask, spacing_mm)
    values = [
        float(mask.sum() * np.prod(spacing_mm)),
        area,
        perimeter,
        perimeter / area,
        4 * np.pi * area / perimeter**2,
        _diameter(np.concatenate(contours)),
        *axes,
        axes[1] / axes[0] if axes[0] > 0 else np.nan,
    ]
    return dict(zip(FLAT, values, strict=True))


def _signed_area(contour: np.ndarray) -> float:
    """Return the area that a closed contour encloses; holes have the other sign."""
    (y, x), (next_y, next_x) = contour[:-1].T, contour[1:].T
    return float((y * next_x - next_y * x).sum()) / 2


def _axes(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return the lengths of the principal axes of the centres of voxels, the longest first."""
    centres = np.argwhere(mask) * spacing_mm
    values = np.linalg.eigvalsh(np.cov(centres.T, bias=True))[::-1]
    return 4 * np.sqrt(np.maximum(values, 0))


def _diameter(points: np.ndarray) -> float:
    """Return the largest distance of two points."""
    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:  # they lie in a plane
        points = np.unique(points, axis=0)
    return float(pdist(points).max())


def _intensity(values: np.ndarray) -> dict[str, float]:
    """Return statistics of the intensities of a lesion; variances are those of its voxels."""
    if not len(values):
        return dict.fromkeys(INTENSITY, np.nan)
    values = values.astype(float)
    p10, p25, p75, p90 = np.percentile(values, [10, 25, 75, 90])
    varied = np.ptp(values) > 0
    shares = np.bincount(_levels(values)) / len(values)
    shares = shares[shares > 0]
    found = [
        values.mean(),
        values.var(),
        skew(values) if varied else 0.0,
        kurtosis(values) if varied else 0.0,
        np.median(values),
        values.min(),
        p10,
        p90,
        values.max(),
        p75 - p25,
        np.ptp(values),
        np.abs(values - values.mean()).mean(),
        np.sqrt((values**2).mean()),
        -(shares * np.log2(shares)).sum(),
    ]
    return dict(zip(INTENSITY, map(float, found), strict=True))


def _levels(values: np.ndarray) -> np.ndarray:
    """Return the grey level of each value, from 1 on: a fixed number of bins."""
    low, width = values.min(), np.ptp(values) or 1.0
    return np.minimum((LEVELS * (values - low) / width).astype(int), LEVELS - 1) + 1


def _texture(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return features of one co-occurrence matrix of all slices and directions (2.5D, merged).

    NaN if no two neighbours are in the lesion.
    """
    grey = np.zeros(mask.shape, np.uint8)
    if mask.any():
        grey[mask] = _levels(image[mask].astype(float))
    count = partial(graycomatrix, distances=[1], angles=ANGLES, levels=LEVELS + 1, symmetric=True)
    pairs = np.zeros((LEVELS, LEVELS))
    flat = mask.shape.index(1) if 1 in mask.shape else 0
    for part, inside in zip(np.moveaxis(grey, flat, 0), np.moveaxis(mask, flat, 0), strict=True):
        if inside.any():
            pairs += count(part)[1:, 1:, 0].sum(axis=-1)
    if not pairs.sum():
        return dict.fromkeys(TEXTURE, np.nan)
    p = pairs / pairs.sum()
    level = np.arange(1, LEVELS + 1)
    share = p.sum(axis=1)
    mean = share @ level
    variance = share @ (level - mean) ** 2
    apart = (level[:, None] - level) ** 2
    both = p[p > 0]
    found = [
        (p * apart).sum(),
        ((level - mean) @ p @ (level - mean)) / variance if variance > 0 else 1.0,
        (p**2).sum(),
        (p / (1 + apart)).sum(),
        -(both * np.log2(both)).sum(),
    ]
    return dict(zip(TEXTURE, map(float, found), strict=True))
