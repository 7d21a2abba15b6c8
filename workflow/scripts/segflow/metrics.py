"""Overlap of a predicted label map with its reference.

Everything is counted in one pass over the voxels: a joint histogram of reference and prediction
holds the true and false positives and negatives of all labels and regions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from segflow.images import describe_difference, read_labels
from segflow.labels import Labels, foreground, foreground_values
from segflow.workers import map_cases

METRICS = ["dice", "iou", "precision", "recall"]
COUNTS = ["tp", "fp", "fn", "tn"]
VOLUMES = ["reference_ml", "prediction_ml"]


def joint_histogram(reference: np.ndarray, prediction: np.ndarray, n_values: int) -> np.ndarray:
    """Count the voxels of each pair of reference and predicted label.

    Parameters
    ----------
    reference, prediction : ndarray of int
        Label maps of the same shape.
    n_values : int
        One more than the largest label.

    Returns
    -------
    ndarray of int64
        Of shape (n_values, n_values): entry (i, j) counts the voxels of reference label i that
        were predicted as j.

    Raises
    ------
    ValueError
        If the shapes differ, or a label is no integer from 0 to below `n_values`.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference of shape {reference.shape}, prediction {prediction.shape}")
    for name, array in (("reference", reference), ("prediction", prediction)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"the {name} holds {array.dtype} values, a label map holds integers")
        for value in (array.min(initial=0), array.max(initial=0)):
            if not 0 <= value < n_values:
                raise ValueError(f"the {name} holds label {value}, allowed are 0 to {n_values - 1}")
    pairs = reference.ravel().astype(np.intp) * n_values + prediction.ravel().astype(np.intp)
    return np.bincount(pairs, minlength=n_values**2).reshape(n_values, n_values)


def overlap(histogram: np.ndarray, members: list[int], voxel_ml: float) -> dict[str, float]:
    """Return the overlap metrics of one label or region.

    Parameters
    ----------
    histogram : ndarray of int64
        See `joint_histogram`.
    members : list of int
        Labels that make up the region; one for a plain label.
    voxel_ml : float
        Volume of a voxel in mL.

    Returns
    -------
    dict of str to float
        ``dice`` = 2 TP / (2 TP + FP + FN), ``iou`` = TP / (TP + FP + FN), ``precision`` =
        TP / (TP + FP), ``recall`` = TP / (TP + FN), the four counts of voxels and both volumes.
        A metric whose denominator is 0 is NaN: Dice and IoU if both masks are empty, precision
        if the prediction is, recall if the reference is.
    """
    rows = np.zeros(len(histogram), bool)
    rows[members] = True
    tp = int(histogram[np.ix_(rows, rows)].sum())
    fp = int(histogram[np.ix_(~rows, rows)].sum())
    fn = int(histogram[np.ix_(rows, ~rows)].sum())
    tn = int(histogram.sum()) - tp - fp - fn
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "iou": _ratio(tp, tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "reference_ml": (tp + fn) * voxel_ml,
        "prediction_ml": (tp + fp) * voxel_ml,
    }


def evaluate_case(reference: Path, prediction: Path, labels: Labels) -> dict[str, dict[str, float]]:
    """Compare a predicted label map with its reference.

    Parameters
    ----------
    reference, prediction : Path
        The label maps.
    labels : dict of str to int or list of int
        Labels and regions by name, as in a data set's description; the background is left out.

    Returns
    -------
    dict of str to dict
        The metrics of each label or region; see `overlap`.

    Raises
    ------
    FileNotFoundError
        If the prediction is missing.
    ValueError
        If the grids differ, a file is damaged, or a label is not declared.
    """
    if not prediction.exists():
        raise FileNotFoundError(f"{prediction}: the prediction of this case is missing")
    truth, grid = read_labels(reference)
    guess, other = read_labels(prediction)
    if difference := describe_difference(grid, other)[0]:
        raise ValueError(f"{prediction}: differs from its reference {reference} in {difference}")
    declared = [0, *foreground_values(labels)]
    try:
        histogram = joint_histogram(truth, guess, declared[-1] + 1)
    except ValueError as error:
        raise ValueError(f"{prediction}: {error}") from None
    for value in sorted(set(range(len(histogram))) - set(declared)):
        if histogram[value].any() or histogram[:, value].any():
            raise ValueError(f"{prediction}: it or its reference holds undeclared label {value}")
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000
    return {
        name: overlap(histogram, members, voxel_ml) for name, members in foreground(labels).items()
    }


@dataclass(frozen=True)
class Comparison:
    """A reference, a prediction, and the columns that tell them from others in a table."""

    reference: Path
    prediction: Path
    about: dict[str, str | int]


def evaluate_cases(
    comparisons: Iterable[Comparison], labels: Labels, workers: int
) -> list[dict[str, str | float]]:
    """Evaluate many label maps; see `evaluate_case`.

    Returns
    -------
    list of dict
        One row for each comparison and label, in the order of the comparisons.
    """
    comparisons = list(comparisons)
    work = partial(_evaluate, labels=labels)
    found = {
        comparison.prediction: metrics
        for comparison, metrics in map_cases(work, comparisons, workers, "evaluate")
    }
    return [
        {**comparison.about, "label": label, **values}
        for comparison in comparisons
        for label, values in found[comparison.prediction].items()
    ]


def _evaluate(comparison: Comparison, labels: Labels) -> dict[str, dict[str, float]]:
    return evaluate_case(comparison.reference, comparison.prediction, labels)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else float("nan")
