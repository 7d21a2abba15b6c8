"""Candidates for lesions, from the probabilities of one case, and which of them are lesions."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects

from segflow.evaluation.lesions import (
    LesionRule,
    label_lesions,
    match_lesions,
    overlap_of,
    shared_voxels,
)


def candidate_columns(flat: bool) -> list[str]:
    """Return the columns of a candidate; `flat` if all images are 2D."""
    return ["candidate", "area_mm2" if flat else "volume_mm3", "score", "found"]


@dataclass(frozen=True)
class CandidateRule:
    """What is a candidate, and what its score.

    Parameters
    ----------
    threshold : float
        Least probability of its voxels.
    score : {'mean', 'max'}
        Of the probabilities of its voxels.
    """

    threshold: float
    score: str


def find_candidates(
    reference: np.ndarray,
    places: np.ndarray,
    probabilities: np.ndarray,
    voxel_size: float,
    lesions: LesionRule,
    score: str,
    flat: bool = False,
    thickness_mm: float = 1.0,
) -> list[dict]:
    """Find the candidates of a label in one case, and which of them are lesions.

    Parameters
    ----------
    reference : ndarray of bool
        Mask of shape (z, y, x).
    places : ndarray of int
        Of shape (n,): flat indices of the voxels that are likely enough.
    probabilities : ndarray of float
        Of shape (n,): their probabilities.
    voxel_size, flat, thickness_mm
        See `segflow.evaluation.lesions.compare_lesions`.
    lesions : LesionRule
        What counts as a lesion, and as found. Candidates that are too small are left out.
    score : {'mean', 'max'}
        See `CandidateRule`.

    Returns
    -------
    list of dict
        One row for each candidate, with `candidate_columns`; the largest is number 1.
    """
    likely = np.zeros(reference.shape, bool)
    likely.ravel()[places] = True
    boxes = find_objects((reference | likely).view(np.uint8))
    if not boxes:
        return []
    smallest = lesions.min_volume_mm3 / voxel_size
    (truth, sizes), (guess, own_sizes) = (
        label_lesions(np.ascontiguousarray(mask[boxes[0]]), smallest)
        for mask in (reference, likely)
    )
    where = np.unravel_index(places, reference.shape)
    number = guess[tuple(axis - part.start for axis, part in zip(where, boxes[0], strict=True))]
    scores = np.zeros(len(own_sizes) + 1)
    if score == "max":
        np.maximum.at(scores, number, probabilities)
    else:
        scores += np.bincount(number, probabilities, len(scores))
        scores[1:] /= own_sizes
    scores = scores.round(6)  # equal ones must not differ by the rounding of sums
    pairs, shared = shared_voxels(truth, guess, len(own_sizes))
    found = found_in_order(pairs, shared, sizes, own_sizes, scores[1:], lesions)
    volumes = own_sizes * voxel_size * thickness_mm
    values = zip(
        range(1, len(own_sizes) + 1),
        volumes.tolist(),
        scores[1:].tolist(),
        found.astype(int).tolist(),
        strict=True,
    )
    return [dict(zip(candidate_columns(flat), row, strict=True)) for row in values]


def found_in_order(
    pairs: np.ndarray,
    shared: np.ndarray,
    reference_sizes: np.ndarray,
    sizes: np.ndarray,
    scores: np.ndarray,
    rule: LesionRule,
) -> np.ndarray:
    """Say which candidates are found lesions, at every threshold of their scores at once.

    They are taken in the order of their scores, the best first. One that raises the largest number
    of matches (`segflow.evaluation.lesions.match_lesions`) is a find. Sets of candidates that can
    all be matched at once are the independent sets of a matroid, whose rank this greedy choice
    reaches after every step. So of the candidates above any threshold as many are finds as the
    evaluation of just these would match.

    Parameters
    ----------
    pairs, shared, reference_sizes, sizes, rule
        See `segflow.evaluation.lesions.match_lesions`.
    scores : ndarray of float
        Of shape (candidates,).

    Returns
    -------
    ndarray of bool
        Of shape (candidates,).

    References
    ----------
    Edmonds and Fulkerson, J Res Natl Bur Stand 69B (1965) 147-153, doi:10.6028/jres.069B.016.
    """
    found = np.zeros(len(sizes), bool)
    overlap = overlap_of(rule.overlap, shared, reference_sizes[pairs[:, 0]], sizes[pairs[:, 1]])
    pairs, shared = (side[overlap >= rule.threshold] for side in (pairs, shared))
    taken = np.zeros(len(sizes), bool)
    hopeful = np.unique(pairs[:, 1])
    for candidate in hopeful[np.argsort(-scores[hopeful], kind="stable")]:
        taken[candidate] = True
        kept = taken[pairs[:, 1]]
        matched = match_lesions(pairs[kept], shared[kept], reference_sizes, sizes, rule)
        found[candidate] = len(matched) > found.sum()
    return found
