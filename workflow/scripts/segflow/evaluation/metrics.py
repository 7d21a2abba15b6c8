"""Overlap of a predicted label map with its reference, and the names of all metrics.

Everything is counted in one pass over the voxels: a joint histogram of reference and prediction
holds the true and false positives and negatives of all labels and regions.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 20  # voxels that are counted at a time: what fits into the cache of a core


@dataclass(frozen=True)
class Metric:
    """How a metric is shown, and what is good.

    Parameters
    ----------
    title, unit : str
        For readers.
    better : {'higher', 'lower'}
        Which values are better.
    infinite : bool
        Whether values may be infinite. A mean over the finite ones would be better the more
        objects are missed, so the median over all is what such a metric is judged by.
    """

    title: str
    unit: str
    better: str
    infinite: bool = False


METRICS = {
    "dice": Metric("Dice", "", "higher"),
    "iou": Metric("IoU", "", "higher"),
    "precision": Metric("Precision", "", "higher"),
    "recall": Metric("Recall", "", "higher"),
    "f1": Metric("F1", "", "higher"),
    "specificity": Metric("Specificity", "", "higher"),
    "accuracy": Metric("Accuracy", "", "higher"),
    "relative_volume_difference": Metric("Relative volume difference", "", "lower", True),
    "volume_difference_ml": Metric("Volume difference", "mL", "lower"),
    "area_difference_mm2": Metric("Area difference", "mm²", "lower"),
    "hd": Metric("HD", "mm", "lower", True),
    "hd95": Metric("HD95", "mm", "lower", True),
    "assd": Metric("ASSD", "mm", "lower", True),
    "masd": Metric("MASD", "mm", "lower", True),
    "nsd": Metric("NSD", "", "higher"),
    "boundary_iou": Metric("Boundary IoU", "", "higher"),
    "cldice": Metric("clDice", "", "higher"),
    "lesion_precision": Metric("Lesion precision", "", "higher"),
    "lesion_recall": Metric("Lesion recall", "", "higher"),
    "lesion_f1": Metric("Lesion F1", "", "higher"),
    "lesion_fp": Metric("False positive lesions", "lesions", "lower"),
}
OPTIONAL = ["boundary_iou", "cldice"]  # measured where a data set asks for them
DISTANCES = [name for name, metric in METRICS.items() if metric.unit == "mm"]
SHARES = [name for name, metric in METRICS.items() if metric.better == "higher"]  # 0 to 1
COUNTS = ["tp", "fp", "fn", "tn"]
LESION_COUNTS = ["lesion_tp", "lesion_fn"]  # their false positives are a metric
VOLUMES = ["reference_ml", "prediction_ml"]
AREAS = ["reference_mm2", "prediction_mm2"]  # in place of the volumes, where images are 2D


def columns(flat: bool, options: Collection[str] = ()) -> list[str]:
    """Return the columns of a table of metrics: metrics, counts of voxels and lesions, and sizes.

    Parameters
    ----------
    flat : bool
        Whether all images are 2D: areas take the place of volumes.
    options : collection of str
        Those of `OPTIONAL` that are measured.
    """
    left_out = {"volume_difference_ml" if flat else "area_difference_mm2"}
    left_out |= {*OPTIONAL} - {*options}
    names = [name for name in METRICS if name not in left_out]
    return [*names, *COUNTS, *LESION_COUNTS, *(AREAS if flat else VOLUMES)]


def joint_histogram(reference: np.ndarray, prediction: np.ndarray, n_values: int) -> np.ndarray:
    """Count the voxels of each pair of reference and predicted label.

    Neighbouring voxels are mostly alike, so runs of equal pairs are counted, with their lengths:
    four to six times as fast as counting voxels on CT of the abdomen, and slower on noise only.

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
    dtype = np.min_scalar_type(n_values**2 - 1)
    reference, prediction = reference.ravel(), prediction.ravel()
    counts = np.zeros(n_values**2, np.int64)
    for start in range(0, reference.size, CHUNK):
        part = slice(start, start + CHUNK)
        pairs = reference[part].astype(dtype)
        pairs *= dtype.type(n_values)
        pairs += prediction[part].astype(dtype)
        starts = np.flatnonzero(pairs[1:] != pairs[:-1]) + 1
        starts = np.concatenate([[0], starts])
        lengths = np.diff(starts, append=pairs.size)
        # The weights are summed as floats, which are exact below 2**53.
        counts += np.bincount(pairs[starts], lengths, len(counts)).astype(np.int64)
    return counts.reshape(n_values, n_values)


def overlap(
    histogram: np.ndarray, members: list[int], voxel_size: float, flat: bool = False
) -> dict[str, float]:
    """Return the overlap metrics of one label or region.

    Parameters
    ----------
    histogram : ndarray of int64
        See `joint_histogram`.
    members : list of int
        Labels that make up the region; one for a plain label.
    voxel_size : float
        Volume of a voxel in mL, or area of a pixel in mm2.
    flat : bool
        Whether it is an area.

    Returns
    -------
    dict of str to float
        ``dice`` and ``f1``, which are the same = 2 TP / (2 TP + FP + FN), ``iou`` =
        TP / (TP + FP + FN), ``precision`` = TP / (TP + FP), ``recall`` = TP / (TP + FN),
        ``specificity`` = TN / (TN + FP), ``accuracy`` = (TP + TN) / all voxels; the four counts of
        voxels; the volumes R of the reference (``reference_ml``) and P of the prediction
        (``prediction_ml``), ``volume_difference_ml`` = abs(P - R) and
        ``relative_volume_difference`` = abs(P - R) / R; or their names for areas.

        A metric whose denominator is 0 is NaN: Dice, IoU and F1 if both masks are empty, precision
        if the prediction is, recall if the reference is. The relative difference is NaN if both
        are empty and inf if only the reference is.
    """
    inside = np.zeros(len(histogram), bool)
    inside[members] = True
    n_reference = int(histogram[inside].sum())
    n_prediction = int(histogram[:, inside].sum())
    tp = int(histogram[np.ix_(inside, inside)].sum())
    fp, fn = n_prediction - tp, n_reference - tp
    tn = int(histogram.sum()) - tp - fp - fn
    difference = abs(n_prediction - n_reference)
    dice = ratio(2 * tp, n_reference + n_prediction)
    return {
        "dice": dice,
        "iou": ratio(tp, tp + fp + fn),
        "precision": ratio(tp, n_prediction),
        "recall": ratio(tp, n_reference),
        "f1": dice,
        "specificity": ratio(tn, tn + fp),
        "accuracy": ratio(tp + tn, tp + fp + fn + tn),
        "relative_volume_difference": (
            ratio(difference, n_reference) if n_reference or not n_prediction else float("inf")
        ),
        "area_difference_mm2" if flat else "volume_difference_ml": difference * voxel_size,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "reference_mm2" if flat else "reference_ml": n_reference * voxel_size,
        "prediction_mm2" if flat else "prediction_ml": n_prediction * voxel_size,
    }


def ratio(numerator: int, denominator: int) -> float:
    """Return a quotient, or NaN if the denominator is 0."""
    return numerator / denominator if denominator else float("nan")
