"""Predictions that were never made: as a trained network's, from any label map."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit, softmax

from segflow.images.nifti import read_labels, write_image

CERTAINTY = 14.0  # logit between classes far from a border: the softmax there is 1 - 1e-6
COARSE = 8  # voxels between the points of the noise that moves borders


def make_probabilities(
    label_map: np.ndarray, regions: list[list[int]] | None, n_classes: int, seed: int
) -> np.ndarray:
    """Make the probabilities that a network might have given to a case.

    Borders are soft, lie elsewhere for every seed, and no two values far from them are equal,
    as in a network's output.

    Parameters
    ----------
    label_map : ndarray of int
        Of shape (z, y, x).
    regions : list of list of int or None
        Values of each region: a sigmoid for each. None for classes: a softmax over all.
    n_classes : int
        Number of classes, the background included; not used for regions.
    seed : int
        Seed of the member.

    Returns
    -------
    ndarray of float32
        Of shape (class or region, z, y, x).
    """
    generator = np.random.default_rng(seed)
    values = [[value] for value in range(n_classes)] if regions is None else regions
    sigma = (0.6, 1.5, 1.5)  # of voxels along z, y, x: slices are thick
    logits = np.empty((len(values), *label_map.shape), np.float32)
    for logit, members in zip(logits, values, strict=True):
        mask = np.isin(label_map, members).astype(np.float32)
        gaussian_filter(mask, sigma, output=logit)
        logit += 0.15 * _noise(generator, label_map.shape)
        logit += 0.01 * generator.standard_normal(label_map.shape, np.float32)
        logit *= CERTAINTY
    if regions is None:
        return softmax(logits, 0)
    return expit(2 * logits - CERTAINTY)


def make_predictions(references: list[Path], folder: Path, seed: int) -> list[Path]:
    """Write predictions with the usual faults: borders moved, false components, holes.

    Parameters
    ----------
    references : list of Path
        Label maps; a name that comes again gets a number.
    folder : Path
        Where to write, under the names of the references.
    seed : int
        Seed of all faults.

    Returns
    -------
    list of Path
        The predictions, in the order of the references.
    """
    paths: list[Path] = []
    for number, reference in enumerate(references):
        label_map, grid = read_labels(reference)
        label_map = label_map.astype(np.uint8)
        generator = np.random.default_rng([seed, number])
        path = folder / reference.name
        if path in paths:
            path = folder / reference.name.replace(".", f"_{number}.", 1)
        write_image(path, spoil(label_map, generator), grid)
        paths.append(path)
    return paths


def spoil(label_map: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a label map, of shape (z, y, x), shifted by some voxels, with blocks and holes."""
    values = np.unique(label_map)
    shifts = [int(generator.integers(-2, 3)) if size > 8 else 0 for size in label_map.shape]
    spoilt = np.roll(label_map, shifts, (0, 1, 2))
    inside = np.argwhere(spoilt > 0)
    for _ in range(int(generator.integers(2, 12))):
        size = generator.integers(1, np.minimum(9, np.array(label_map.shape)) + 1)
        start = generator.integers(0, np.array(label_map.shape) - size + 1)
        spoilt[tuple(map(slice, start, start + size))] = generator.choice(
            values[1:] if len(values) > 1 else [0]
        )
    for _ in range(int(generator.integers(2, 12)) if len(inside) else 0):
        start = inside[generator.integers(len(inside))]
        spoilt[tuple(map(slice, start, start + generator.integers(1, 4, 3)))] = 0
    return spoilt


def _noise(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return smooth noise of unit size: points on a coarse grid, interpolated along each axis."""
    field = generator.standard_normal([size // COARSE + 2 for size in shape], np.float32)
    for axis, size in enumerate(shape):
        place = np.arange(size, dtype=np.float32) / COARSE
        low = place.astype(int)
        weight = (place - low).reshape([-1 if other == axis else 1 for other in range(len(shape))])
        field = (1 - weight) * field.take(low, axis) + weight * field.take(low + 1, axis)
    return field
