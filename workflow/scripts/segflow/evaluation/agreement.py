"""Agreement of predicted with true volumes: bias, and limits between which differences lie."""

import numpy as np
import pandas as pd

from segflow.evaluation.bootstrap import group_sums, mean_intervals
from segflow.evaluation.metrics import AREAS, VOLUMES
from segflow.evaluation.summaries import SplitMetrics, mean_of_defined

LIMITS = 1.96  # standard deviations on either side, between which 95 % of normal values lie
KEYS = ["predictor", "split", "stage", "label", "unit"]
COLUMNS = [
    *KEYS,
    *("n", "n_groups", "mean_reference", "bias", "ci_low", "ci_high", "sd"),
    *("limit_low", "limit_high"),
]


def volume_agreement(splits: list[SplitMetrics], groups: dict[str, str], seed: int) -> pd.DataFrame:
    """Return the signed bias of volumes with Bland-Altman limits of agreement.

    Parameters
    ----------
    splits : list of SplitMetrics
        With the volumes of reference and prediction, or the areas of 2D images.
    groups : dict of str to str
        Group of each case.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row for each predictor, split, stage and label. ``unit`` is ``mL``, or ``mm²`` of 2D
        images. ``bias`` is the mean over cases of prediction minus reference, so that too much is
        positive, with its 95 % interval (`segflow.evaluation.bootstrap.mean_intervals`); ``sd``
        is that of differences of new cases (see `spread`); the limits are the bias plus and minus
        1.96 of these. ``mean_reference`` says how large the label is. Cases without the label
        count, with the volume that was predicted.

    References
    ----------
    Bland and Altman, Lancet 327 (1986) 307-310, doi:10.1016/S0140-6736(86)90837-8.
    """
    parts = []
    for split in splits:
        names, unit = (AREAS, "mm²") if AREAS[0] in split.metrics else (VOLUMES, "mL")
        reference, prediction = (split.of(name) for name in names)
        difference = prediction - reference
        of_case = np.array([groups[case] for case in split.cases])
        bias, sd = mean_of_defined(difference, axis=0), spread(difference, of_case)
        low, high = mean_intervals(difference, of_case, seed)
        parts.append(
            split.keys().assign(
                unit=unit,
                n=len(split.cases),
                n_groups=len(set(of_case)),
                mean_reference=mean_of_defined(reference, axis=0),
                bias=bias,
                ci_low=low,
                ci_high=high,
                sd=sd,
                limit_low=bias - LIMITS * sd,
                limit_high=bias + LIMITS * sd,
            )
        )
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def spread(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the standard deviation of one value of a new group.

    It is the sample standard deviation if every group has one case. Several cases of a group
    resemble each other, so the variances between and within groups are estimated (one-way analysis
    of variance of groups of different sizes) and summed.

    Parameters
    ----------
    values : ndarray of float
        Of shape (cases, columns), all finite.
    groups : ndarray
        Of shape (cases,): the group of each case.

    Returns
    -------
    ndarray of float
        Of shape (columns,); NaN with a single group.

    References
    ----------
    Bland and Altman, J Biopharm Stat 17 (2007) 571-582, doi:10.1080/10543400701329422.
    """
    sums, sizes = group_sums(values, groups)
    n, n_groups = len(values), len(sums)
    if n_groups < 2:
        return np.full(values.shape[1], np.nan)
    mean = values.mean(axis=0)
    between = (sizes * (sums / sizes - mean) ** 2).sum(axis=0)
    within = np.maximum(((values - mean) ** 2).sum(axis=0) - between, 0) / max(n - n_groups, 1)
    typical_size = (n - (sizes**2).sum(axis=0) / n) / (n_groups - 1)
    added = (between / (n_groups - 1) - within) / typical_size
    return np.sqrt(within + np.maximum(added, 0))
