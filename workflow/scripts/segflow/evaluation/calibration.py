"""Calibration: how often what was predicted with a probability is there.

Each label is judged by itself, against everything else (one-vs-rest): the probability that a voxel
belongs to the label, and whether it does. Two domains are told apart. ``image`` is every voxel: its
numbers say what they seem to, but are made of background. ``near`` is what lies no further than a
margin from the label in the reference or in the prediction: where probabilities matter.
"""

import edt
import numpy as np

from segflow.evaluation.metrics import ratio
from segflow.images.sizes import TOLERANCE, at_most

BINS = 15  # of equal width from 0 to 1; each holds its lower end
DOMAINS = ("near", "image")
ABOUT = ["split", "fold", "case", "label", "domain"]
MEASURES = ["n_voxels", "n_positive", "brier", "ece"]
BIN = ["bin", "n_voxels", "n_positive", "probability"]


def surroundings(
    box: tuple[slice, ...], spacing_mm: tuple[float, ...], margin_mm: float
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return a box with all that is no further than a margin, and the place of the box in it.

    Parameters
    ----------
    box : tuple of slice
        Part of an image, along (z, y, x).
    spacing_mm : tuple of float
        Spacing along (z, y, x).
    margin_mm : float
        Largest distance between the centres of voxels.
    """
    reach = [int(margin_mm * (1 + TOLERANCE) / size) + 1 for size in spacing_mm]
    starts = [max(0, part.start - more) for part, more in zip(box, reach, strict=True)]
    around = zip(starts, box, reach, strict=True)
    inside = zip(starts, box, strict=True)
    return (
        tuple(slice(start, part.stop + more) for start, part, more in around),
        tuple(slice(part.start - start, part.stop - start) for start, part in inside),
    )


def near_label(mask: np.ndarray, spacing_mm: tuple[float, ...], margin_mm: float) -> np.ndarray:
    """Return which voxels lie no further than a margin from a label, as a mask of (z, y, x).

    A part of an image is enough if it holds the `surroundings` of what is looked at.
    """
    if not mask.any():
        return mask
    return at_most(edt.edt(~mask, anisotropy=spacing_mm, order="C"), margin_mm)


def measure_calibration(counts: np.ndarray) -> tuple[dict[str, float], list[dict]]:
    """Return Brier score, expected calibration error and reliability of a label in a case.

    Parameters
    ----------
    counts : ndarray of int
        Of shape (2, levels): voxels by their probability, from 0 to 1 in equal steps; first those
        outside of the label, then those that belong to it.

    Returns
    -------
    measures : dict of str to float
        ``n_voxels``, ``n_positive`` (those of the label), ``brier``: the mean of (p - y)^2, where
        p is the probability, and y is 1 in the label and 0 elsewhere; ``ece``: the mean over
        voxels of abs(mean p - mean y) of the bin of each. Both are 0 to 1, 0 the best, NaN without
        a voxel.
    bins : list of dict
        For each bin that is not empty its number from 0, ``n_voxels``, ``n_positive`` and
        ``probability``, the mean.

    References
    ----------
    Brier, Monthly Weather Review 78 (1950) 1-3; Guo et al., On calibration of modern neural
    networks, ICML 2017, for the error.
    """
    steps = counts.shape[1] - 1
    levels = np.arange(steps + 1)
    p = levels / steps
    n_voxels, n_positive = int(counts.sum()), int(counts[1].sum())
    squares = float(counts[0] @ p**2 + counts[1] @ (1 - p) ** 2)
    bins = np.minimum(levels * BINS // steps, BINS - 1)
    every = counts.sum(0)
    n, expected, positive = (
        np.bincount(bins, weights, BINS) for weights in (every, every * p, counts[1])
    )
    error = float(np.abs(expected - positive).sum())
    measures = [n_voxels, n_positive, ratio(squares, n_voxels), ratio(error, n_voxels)]
    rows = [
        [number, int(n[number]), int(positive[number]), float(expected[number] / n[number])]
        for number in np.flatnonzero(n).tolist()
    ]
    return (
        dict(zip(MEASURES, measures, strict=True)),
        [dict(zip(BIN, row, strict=True)) for row in rows],
    )
