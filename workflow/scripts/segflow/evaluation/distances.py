"""Distances between the surfaces of two masks.

The definitions are those of Nikolov et al., Clinically applicable segmentation of head and neck
anatomy for radiotherapy, doi:10.2196/26151, which challenges use for the normalised surface Dice:
every cube of 2 x 2 x 2 voxels that is neither empty nor full holds an element of the surface, whose
area is that of marching cubes. So results do not depend on how finely a surface is sampled, as they
do where border voxels are counted.

Distances come from a tree of the elements (SciPy), of which only those are asked that are no
element of the other surface, too. On label maps of abdomen and kidney CT a distance transform of
the box around a label (package edt) takes as long where organs are shifted against each other,
three to seven times as long where they agree but for their borders, and 40 times as long where
spurious components stretch the box. The tree, however, takes half a minute where a large surface
lies far away from the other, as that of an untrained network's prediction does: there the transform
takes over, in floats of 32 bits, which are right to some millionths. Other packages count border
voxels (MONAI), need transforms of both masks in 64 bits (surface-distance), or bring many packages
of their own (panoptica).
"""

from dataclasses import dataclass
from functools import cache

import edt
import numpy as np
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from segflow.images.sizes import at_most, image_axes

PERCENTILE = 0.95  # of HD95
ROUNDING = 1e-7  # of a share of the area: spacings are floats of 32 bits
NEAR = 16  # voxels to which the tree is asked first
MANY_FAR = 10_000  # distant elements: asking the tree for these takes up to some seconds


@dataclass(frozen=True)
class Surface:
    """The elements of one surface and their distances to another.

    Parameters
    ----------
    distances_mm : ndarray of float64
        Of shape (n,): distance of each element to the nearest of the other surface; inf if that
        is empty.
    sizes : ndarray of float64
        Of shape (n,): areas in mm2, or lengths in mm for 2D masks.
    """

    distances_mm: np.ndarray
    sizes: np.ndarray

    @property
    def size(self) -> float:
        """Area of the surface."""
        return float(self.sizes.sum())

    @property
    def total(self) -> float:
        """Sum of the distances, weighted by area."""
        return float((self.distances_mm * self.sizes).sum())

    def within(self, tolerance_mm: float) -> float:
        """Return the area that lies within a distance of the other surface."""
        return float(self.sizes[at_most(self.distances_mm, tolerance_mm)].sum())

    def percentile(self, share: float) -> float:
        """Return the distance that a share of the area does not exceed."""
        order = np.lexsort((self.sizes, self.distances_mm))
        reached = np.cumsum(self.sizes[order]) / self.size
        index = min(np.searchsorted(reached, share - ROUNDING), len(order) - 1)
        return float(self.distances_mm[order[index]])


def surface_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, ...],
    tolerance_mm: float | None,
    axes: tuple[int, ...] | None = None,
) -> dict[str, float]:
    """Compare the surfaces of two masks.

    Parameters
    ----------
    reference, prediction : ndarray of bool
        Masks of the same shape (z, y, x).
    spacing_mm : tuple of float
        Distance of neighbouring voxels along (z, y, x).
    tolerance_mm : float or None
        Deviation that is acceptable; None if nothing is known about it.
    axes : tuple of int or None
        Axes along which the image extends; see `segflow.images.sizes.image_axes`. If there are
        two, contours take the place of surfaces, and the spacing along the third does not count.
        None if the masks are the whole image: a part of it does not tell.

    Returns
    -------
    dict of str to float
        ``hd``: the largest distance of any element to the other surface, in mm. ``hd95``: the
        larger of the two distances that 95 % of either surface's area do not exceed. ``assd``: the
        mean distance over the area of both surfaces together. ``masd``: the mean of the two
        surfaces' own mean distances. ``nsd``: the part of both surfaces' area that is no further
        from the other than the tolerance, 0 to 1; NaN without a tolerance. If one mask is empty
        the distances are inf and ``nsd`` is 0; if both are, all are NaN.
    """
    pair = surface_distances(reference, prediction, spacing_mm, axes)
    if not any(len(surface.sizes) for surface in pair):
        return dict.fromkeys(("hd", "hd95", "assd", "masd", "nsd"), np.nan)
    nsd = np.nan
    if tolerance_mm is not None:
        nsd = sum(one.within(tolerance_mm) for one in pair) / sum(one.size for one in pair)
    if not all(len(surface.sizes) for surface in pair):
        return dict.fromkeys(("hd", "hd95", "assd", "masd"), np.inf) | {"nsd": nsd}
    return {
        "hd": max(float(surface.distances_mm.max()) for surface in pair),
        "hd95": max(surface.percentile(PERCENTILE) for surface in pair),
        "assd": sum(surface.total for surface in pair) / sum(surface.size for surface in pair),
        "masd": sum(surface.total / surface.size for surface in pair) / 2,
        "nsd": nsd,
    }


def surface_distances(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, ...],
    axes: tuple[int, ...] | None = None,
) -> tuple[Surface, Surface]:
    """Return the surfaces of reference and prediction; see `surface_metrics` and `Surface`."""
    axes = image_axes(reference.shape) if axes is None else axes
    flat = tuple({0, 1, 2} - {*axes})
    reference, prediction = reference.any(flat), prediction.any(flat)
    spacing_mm = tuple(spacing_mm[axis] for axis in axes)
    sizes = element_sizes(spacing_mm)
    shape = tuple(length + 1 for length in reference.shape)
    codes = [neighbour_codes(mask).ravel() for mask in (reference, prediction)]
    # Codes of no and of all voxels, 0 and the largest, hold no surface.
    elements = [np.flatnonzero((code != 0) & (code != len(sizes) - 1)) for code in codes]
    surfaces = []
    for own, other in ((0, 1), (1, 0)):
        places = elements[own]
        code = codes[other][places]
        apart = (code == 0) | (code == len(sizes) - 1)
        distances = np.zeros(len(places))
        distances[apart] = _nearest(places[apart], elements[other], shape, spacing_mm)
        surfaces.append(Surface(distances, sizes[codes[own][places]]))
    return surfaces[0], surfaces[1]


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """Return which voxels of every cube (square, in 2D) of neighbours belong to a mask.

    Parameters
    ----------
    mask : ndarray of bool
        Of two or three axes. Outside of it there is background.

    Returns
    -------
    ndarray of uint8
        Longer by one along each axis. In 3D, bit dz + 2 dy + 4 dx of element (z, y, x) is that of
        voxel (z - 1 + dz, y - 1 + dy, x - 1 + dx); in 2D it is bit dy + 2 dx.
    """
    codes = np.pad(mask, 1).view(np.uint8)
    for axis in range(mask.ndim):
        codes = np.moveaxis(codes, axis, 0)
        codes = np.moveaxis(codes[:-1] | codes[1:] << 2**axis, 0, axis)
    return np.ascontiguousarray(codes)


@cache
def element_sizes(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return the area (length, in 2D) of the surface in a cube (square) of voxels.

    Parameters
    ----------
    spacing_mm : tuple of float
        Distance of neighbouring voxels along (z, y, x), or (y, x).

    Returns
    -------
    ndarray of float64
        Of shape (256,) in mm2, or (16,) in mm: by the code of `neighbour_codes`.
    """
    if len(spacing_mm) == 2:
        return np.array([_contour_length(code, *spacing_mm) for code in range(16)])
    triangles, codes = _triangles()
    first, second, third = np.moveaxis(triangles * spacing_mm, 1, 0)
    areas = np.linalg.norm(np.cross(second - first, third - first), axis=1) / 2
    return np.bincount(codes, areas, 256)


@cache
def _triangles() -> tuple[np.ndarray, np.ndarray]:
    """Return the triangles of marching cubes, of shape (n, 3, 3), and the code of each one's cube.

    Corners lie halfway between voxels. A surface has no inside: a cube of more than four voxels has
    the surface of the cube of those that are missing.
    """
    triangles, codes = [], []
    for code in range(1, 255):
        smaller = code if code.bit_count() <= 4 else 255 - code
        cube = np.array([smaller >> bit & 1 for bit in range(8)], float).reshape(2, 2, 2, order="F")
        corners, faces, _, _ = marching_cubes(cube, 0.5, method="lorensen")
        triangles.append(np.round(2 * corners.astype(float))[faces] / 2)
        codes += [code] * len(faces)
    return np.concatenate(triangles), np.array(codes)


def _contour_length(code: int, y_mm: float, x_mm: float) -> float:
    """Return the length of the contour in a square of pixels: it joins midpoints of the sides."""
    square = [code >> bit & 1 for bit in range(4)]  # bit dy + 2 dx
    if sum(square) in (0, 4):
        return 0.0
    if sum(square) in (1, 3):  # one corner is cut off
        return float(np.hypot(y_mm, x_mm)) / 2
    if square[0] == square[3]:  # two opposite corners are cut off
        return float(np.hypot(y_mm, x_mm))
    return y_mm if square[0] == square[1] else x_mm


def _nearest(
    places: np.ndarray, others: np.ndarray, shape: tuple[int, ...], spacing_mm: tuple[float, ...]
) -> np.ndarray:
    """Return the distance of each place to the nearest of the others (flat indices)."""
    if not len(others):
        return np.full(len(places), np.inf)
    if not len(places):
        return np.empty(0)
    ours, theirs = (np.column_stack(np.unravel_index(flat, shape)) for flat in (places, others))
    tree = cKDTree(theirs * spacing_mm, balanced_tree=False, compact_nodes=False)
    near_mm = NEAR * np.prod(spacing_mm) ** (1 / len(spacing_mm))
    _, nearest = tree.query(ours * spacing_mm, distance_upper_bound=near_mm)
    far = np.flatnonzero(nearest == len(theirs))
    by_transform = len(far) > MANY_FAR
    nearest[far] = 0 if by_transform else tree.query(ours[far] * spacing_mm)[1]
    # From whole steps: the same distance anywhere in the image, to the last bit.
    distances = np.sqrt((((ours - theirs[nearest]) * spacing_mm) ** 2).sum(1))
    if by_transform:
        outside = np.ones(shape, bool)
        outside.ravel()[others] = False
        distances[far] = edt.edt(outside, anisotropy=spacing_mm).ravel()[places[far]]
    return distances
