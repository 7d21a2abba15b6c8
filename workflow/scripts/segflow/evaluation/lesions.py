"""Lesions, one by one: which were found, which were missed, and which were made up."""

import math
from dataclasses import dataclass

import cc3d
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from segflow.evaluation.metrics import ratio
from segflow.images.sizes import at_least


def lesion_columns(flat: bool) -> list[str]:
    """Return the columns of a lesion in the table of lesions; `flat` if all images are 2D."""
    return ["kind", "lesion", "area_mm2" if flat else "volume_mm3", "matched", "dice", "iou"]


@dataclass(frozen=True)
class LesionRule:
    """What counts as a lesion, and as found.

    Parameters
    ----------
    labels : tuple of str
        Labels and regions whose components are lesions.
    overlap : {'iou', 'dice', 'voxels'}
        What is compared with the threshold: IoU or Dice of the two components, or the number of
        voxels that they share.
    threshold : float
        Least overlap of a match. Components that share no voxel never match.
    min_volume_mm3 : float
        Components below this volume (area in mm2, in a flat image) are no lesions, in the reference
        and in the prediction alike. 0 keeps all.
    """

    labels: tuple[str, ...]
    overlap: str
    threshold: float
    min_volume_mm3: float


def match_lesions(
    pairs: np.ndarray,
    shared: np.ndarray,
    reference_sizes: np.ndarray,
    prediction_sizes: np.ndarray,
    rule: LesionRule,
) -> np.ndarray:
    """Match as many lesions of reference and prediction one to one as can be.

    Of all ways to match that many, it is one with the largest sum of overlaps.

    Parameters
    ----------
    pairs : ndarray of int
        Of shape (n, 2): indices, from 0, of the reference's and the prediction's lesion of each
        pair that shares voxels.
    shared : ndarray of int
        Of shape (n,): voxels that each pair shares.
    reference_sizes, prediction_sizes : ndarray of int
        Voxels of each lesion. Lesions that are too small are left out before.
    rule : LesionRule
        What counts as found.

    Returns
    -------
    ndarray of int
        Of shape (m, 2): the matched pairs, sorted. Their number depends on nothing but the
        overlaps; the order of `pairs` does not matter.
    """
    pairs, shared = np.reshape(pairs, (-1, 2)), np.asarray(shared)
    scores = overlap_of(
        rule.overlap, shared, reference_sizes[pairs[:, 0]], prediction_sizes[pairs[:, 1]]
    )
    kept = (scores >= rule.threshold) & (shared > 0)
    pairs, scores = pairs[kept], scores[kept]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs, scores = pairs[order], scores[order]
    alone = [np.bincount(side)[side] == 1 for side in pairs.T]
    free = alone[0] & alone[1]  # most lesions have one candidate, whose only one they are
    chosen = [pairs[free]]
    pairs, scores = pairs[~free], scores[~free]
    for block in _linked(pairs):
        rows, columns = (np.unique(side, return_inverse=True)[1] for side in pairs[block].T)
        # A pair more is worth more than any overlaps; nothing is no pair.
        gain = np.zeros((rows.max() + 1, columns.max() + 1))
        gain[rows, columns] = scores[block] / scores[block].max() + min(gain.shape)
        taken = np.zeros(gain.shape, bool)
        taken[linear_sum_assignment(gain, maximize=True)] = True
        chosen.append(pairs[block][taken[rows, columns]])
    matched = np.concatenate(chosen).astype(np.intp)
    return matched[np.lexsort((matched[:, 1], matched[:, 0]))]


def _linked(pairs: np.ndarray) -> list[np.ndarray]:
    """Return the places of pairs that hang together by the lesions that they share."""
    if not len(pairs):
        return []
    rows, columns = (np.unique(side, return_inverse=True)[1] for side in pairs.T)
    n_rows, n = rows.max() + 1, rows.max() + columns.max() + 2
    links = csr_array((np.ones(len(pairs), bool), (rows, n_rows + columns)), shape=(n, n))
    part = connected_components(links, directed=False)[1][rows]
    order = np.argsort(part, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(part[order])) + 1)


def overlap_of(
    kind: str, shared: np.ndarray, reference_sizes: np.ndarray, prediction_sizes: np.ndarray
) -> np.ndarray:
    """Return the overlap of pairs of lesions from their sizes in voxels; see `LesionRule`."""
    if kind == "voxels":
        return np.asarray(shared, float)
    both = np.asarray(reference_sizes, float) + prediction_sizes
    return 2 * shared / both if kind == "dice" else shared / (both - shared)


def lesion_metrics(n_matched: int, n_reference: int, n_prediction: int) -> dict[str, float]:
    """Return the detection metrics of one label of a case from the numbers of its lesions.

    Returns
    -------
    dict of str to float
        ``lesion_tp``, ``lesion_fp`` (the false positives of the case), ``lesion_fn``;
        ``lesion_precision`` = TP / (TP + FP), NaN without a predicted lesion; ``lesion_recall`` =
        TP / (TP + FN), NaN without a reference lesion; ``lesion_f1`` = 2 TP / (2 TP + FP + FN),
        NaN without any.
    """
    return {
        "lesion_tp": n_matched,
        "lesion_fp": n_prediction - n_matched,
        "lesion_fn": n_reference - n_matched,
        "lesion_precision": ratio(n_matched, n_prediction),
        "lesion_recall": ratio(n_matched, n_reference),
        "lesion_f1": ratio(2 * n_matched, n_reference + n_prediction),
    }


def compare_lesions(
    reference: np.ndarray,
    prediction: np.ndarray,
    voxel_size: float,
    rule: LesionRule,
    flat: bool = False,
    thickness_mm: float = 1.0,
) -> tuple[dict[str, float], list[dict]]:
    """Find and match the lesions of a label of one case.

    Parameters
    ----------
    reference, prediction : ndarray of bool
        Masks of the same shape (z, y, x). Voxels are connected through faces, edges and corners
        (26 neighbours; 8 in 2D).
    voxel_size : float
        Volume of a voxel in mm3, or area in mm2 in a flat image.
    rule : LesionRule
        What counts as a lesion, and as found.
    flat : bool
        Whether all images of the table are flat, and sizes in it areas.
    thickness_mm : float
        Of a flat image whose lesions stand in a table of volumes.

    Returns
    -------
    metrics : dict of str to float
        See `lesion_metrics`.
    rows : list of dict
        One for each lesion of the reference, then of the prediction: ``kind`` (``reference`` or
        ``prediction``), ``lesion`` (numbers from 1, the largest first), its ``volume_mm3`` or
        ``area_mm2``, ``matched``: number of the other kind's lesion that it is matched with, and
        Dice and IoU of the two; NaN for a lesion without a match.
    """
    smallest = rule.min_volume_mm3 / voxel_size
    (truth, sizes), (guess, other_sizes) = (
        label_lesions(mask, smallest) for mask in (reference, prediction)
    )
    pairs, shared = shared_voxels(truth, guess, len(other_sizes))
    matched = match_lesions(pairs, shared, sizes, other_sizes, rule)
    metrics = lesion_metrics(len(matched), len(sizes), len(other_sizes))
    common = dict(zip(map(tuple, pairs.tolist()), shared.tolist(), strict=True))
    rows = []
    for kind, own, own_sizes in (("reference", 0, sizes), ("prediction", 1, other_sizes)):
        partners = {pair[own]: pair for pair in map(tuple, matched.tolist())}
        for index, size in enumerate(own_sizes.tolist()):
            volume = size * voxel_size * thickness_mm
            values = [kind, index + 1, volume, math.nan, math.nan, math.nan]
            if pair := partners.get(index):
                counts = common[pair], sizes[pair[0]], other_sizes[pair[1]]
                scores = [float(overlap_of(name, *counts)) for name in ("dice", "iou")]
                values[3:] = [pair[1 - own] + 1, *scores]
            rows.append(dict(zip(lesion_columns(flat), values, strict=True)))
    return metrics, rows


def shared_voxels(
    reference: np.ndarray, prediction: np.ndarray, n_prediction: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which components share voxels, and how many.

    Parameters
    ----------
    reference, prediction : ndarray of uint32
        Components of the same shape (z, y, x); see `label_lesions`.
    n_prediction : int
        Number of the prediction's components.

    Returns
    -------
    pairs, shared : ndarray of int
        Of shapes (n, 2) and (n,); see `match_lesions`.
    """
    both = np.flatnonzero((reference > 0) & (prediction > 0))
    codes = (reference.ravel()[both] - 1) * np.intp(n_prediction)
    codes, shared = np.unique(codes + (prediction.ravel()[both] - 1), return_counts=True)
    return np.column_stack(np.divmod(codes, max(n_prediction, 1))), shared


def label_lesions(mask: np.ndarray, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Give the components of a mask numbers from 1, the largest first.

    Parameters
    ----------
    mask : ndarray of bool
        Of shape (z, y, x).
    smallest : float
        Voxels of the smallest component that counts; a volume in voxels, hence no integer.

    Returns
    -------
    components : ndarray of uint32
        Of the shape of `mask`; 0 where there is no component that counts. Of equally large ones
        the one that comes first in the array has the lower number.
    sizes : ndarray of int64
        Voxels of each component.
    """
    # cc3d 4.1 fails on dense masks of odd size; a margin of background makes them even.
    padded = np.pad(mask, [(0, 1)] * mask.ndim)
    components = cc3d.connected_components(padded, connectivity=26)
    components = components[tuple(slice(0, size) for size in mask.shape)]
    sizes = np.bincount(components[mask])[1:]
    order = np.argsort(-sizes, kind="stable")
    order = order[at_least(sizes[order], smallest)]
    numbers = np.zeros(len(sizes) + 1, np.uint32)
    numbers[order + 1] = np.arange(1, len(order) + 1)
    return numbers[components], sizes[order]
