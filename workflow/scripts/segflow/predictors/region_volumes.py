"""Volumes of fluid, grey and white matter in regions of a brain in template space.

The tissues come from a mixture of three normal distributions, whose places have the template's
tissue maps as their prior (doi:10.1016/j.neuroimage.2005.02.018, without deformation). The regions
are the cells of a lattice over the template: nilearn ships no atlas.
"""

from functools import cache

import numpy as np

from segflow.images.brains import load_tissue_maps
from segflow.images.nifti import Grid

TISSUES = ("fluid", "grey", "white")
CELL_MM = 30.0
ITERATIONS = 15
LEAST_ML = 2.0  # of brain in a cell of the template: smaller ones are left out
FLOOR = 0.02  # of the prior, so that atrophy can be seen where the template has tissue


def measure_regions(image: np.ndarray, mask: np.ndarray, grid: Grid) -> dict[str, float]:
    """Return the volume of each tissue in each region of a normalised brain, in ml.

    Parameters
    ----------
    image : ndarray of float
        Of shape (z, y, x), from 0 to 1.
    mask : ndarray
        Of shape (z, y, x), not 0 in the brain.
    grid : Grid
        In template space.
    """
    inside = mask > 0
    prior = _prior(grid)[:, inside]
    shares = segment(image[inside].astype(float), prior)
    cells, n_cells = _cells(grid)
    ml = float(np.prod(grid.spacing_mm)) / 1000
    there = np.bincount(cells[inside], minlength=n_cells) * ml >= LEAST_ML
    found = {}
    for name, share in zip(TISSUES, shares, strict=True):
        volumes = np.bincount(cells[inside], share, n_cells) * ml
        found |= {f"{name}_{cell:03d}": float(volumes[cell]) for cell in np.flatnonzero(there)}
        found[f"{name}_all"] = float(volumes.sum())
    return found


def segment(values: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return the probability of each tissue at each voxel, by expectation maximisation.

    Parameters
    ----------
    values : ndarray of float
        Of shape (voxels,), from 0 to 1.
    prior : ndarray of float
        Of shape (tissues, voxels), with the sum 1.
    """
    shares = prior
    for _ in range(ITERATIONS):
        weights = shares.sum(axis=1)
        means = shares @ values / weights
        variances = (shares * (values - means[:, None]) ** 2).sum(axis=1) / weights + 1e-4
        likelihood = np.exp(-((values - means[:, None]) ** 2) / (2 * variances[:, None]))
        shares = prior * likelihood / np.sqrt(variances[:, None]) + 1e-12
        shares = shares / shares.sum(axis=0)
    return shares


@cache
def _prior(grid: Grid) -> np.ndarray:
    grey, white = load_tissue_maps(grid)
    fluid = np.clip(1 - grey - white, 0, 1)
    prior = np.stack([fluid, grey, white]) + FLOOR
    return prior / prior.sum(axis=0)


@cache
def _cells(grid: Grid) -> tuple[np.ndarray, int]:
    """Return the number of the cell of each voxel, and how many there are."""
    number, n_cells = np.zeros(grid.shape, int), 1
    for axis, (size, spacing_mm) in enumerate(zip(grid.shape, grid.spacing_mm, strict=True)):
        n_along = max(1, round(size * spacing_mm / CELL_MM))
        place = np.minimum(np.arange(size) * n_along // size, n_along - 1)
        shape = [-1 if axis == own else 1 for own in range(3)]
        number = number * n_along + place.reshape(shape)
        n_cells *= n_along
    return number, n_cells
