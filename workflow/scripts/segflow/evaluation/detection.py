"""What is found and what is made up, counted over all cases: lesions, and whole structures."""

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit
from statsmodels.stats.proportion import proportion_confint

from segflow.evaluation.bootstrap import CONFIDENCE, MIN_GROUPS, group_sums, mean_intervals
from segflow.evaluation.metrics import LESION_COUNTS
from segflow.evaluation.summaries import SplitMetrics

KEYS = ["predictor", "split", "stage", "label"]
LESION_COLUMNS = [*LESION_COUNTS, "lesion_fp"]
VOXEL_COUNTS = ["tp", "fp", "fn"]
RATES = [f"{name}{end}" for name in ("sensitivity", "precision") for end in ("", "_low", "_high")]
FALSE = [f"false_positives_per_case{end}" for end in ("", "_low", "_high")]
LESIONS = [*KEYS, "n_cases", "n_groups", "n_reference", "n_prediction", "n_found", *RATES, *FALSE]
STRUCTURES = [
    *KEYS,
    *("n_present", "n_found", "sensitivity", "sensitivity_low", "sensitivity_high"),
    *("n_absent", "n_left_out", "specificity", "specificity_low", "specificity_high"),
]


def lesion_detection(splits: list[SplitMetrics], groups: dict[str, str], seed: int) -> pd.DataFrame:
    """Return how many of all lesions are found, and how many are made up in a case.

    Parameters
    ----------
    splits : list of SplitMetrics
        With `LESION_COLUMNS`, which are NaN for labels that are no lesions.
    groups : dict of str to str
        Group of each case.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row for each predictor, split, stage and label of lesions, with `LESIONS` as columns.
        The lesions of all cases are counted together: ``sensitivity`` is the share of
        the reference's lesions that have a match, ``precision`` that of the predicted ones, and
        ``false_positives_per_case`` are the predicted lesions without a match over all
        cases, those without a lesion included. The ends are those of 95 % intervals, see
        `proportion_intervals` and, for false positives,
        `segflow.evaluation.bootstrap.mean_intervals`.
    """
    parts = [pd.DataFrame(columns=LESIONS)]
    for split in splits:
        counts = np.stack([split.of(name) for name in LESION_COLUMNS])
        kept = ~np.isnan(counts[0]).all(axis=0)
        if not kept.any():
            continue
        of_case = np.array([groups[case] for case in split.cases])
        found, missed, made_up = (group_sums(count, of_case)[0] for count in counts[..., kept])
        table = split.keys()[kept].assign(
            n_cases=len(split.cases),
            n_groups=len(found),
            n_reference=(found + missed).sum(axis=0).astype(int),
            n_prediction=(found + made_up).sum(axis=0).astype(int),
            n_found=found.sum(axis=0).astype(int),
        )
        table[RATES] = np.concatenate(
            [_rate(found, found + missed), _rate(found, found + made_up)]
        ).T
        mean = made_up.sum(axis=0) / len(split.cases)
        ends = np.maximum(mean_intervals(counts[2][:, kept], of_case, seed), 0)
        table[FALSE] = np.stack([mean, *ends]).T
        parts.append(table)
    return _joined(parts)


def structure_detection(splits: list[SplitMetrics], groups: dict[str, str]) -> pd.DataFrame:
    """Return in how many cases a label is predicted where it is, and where it is not.

    Parameters
    ----------
    splits : list of SplitMetrics
        With `VOXEL_COUNTS`.
    groups : dict of str to str
        Group of each case.

    Returns
    -------
    DataFrame
        One row for each predictor, split, stage and label, with `STRUCTURES` as columns. A label
        is present in a case if the reference has a voxel of it; of these cases ``sensitivity`` is
        the share in which the prediction has one, too. ``specificity`` is the share of the other
        cases in which the prediction has none. Where there is no such case, they are NaN. The
        ends are those of 95 % intervals, see `proportion_intervals`.
    """
    parts = [pd.DataFrame(columns=STRUCTURES)]
    for split in splits:
        tp, fp, fn = (split.of(name) for name in VOXEL_COUNTS)
        present, predicted = tp + fn > 0, tp + fp > 0
        of_case = np.array([groups[case] for case in split.cases])
        table = split.keys()
        for rate, total, some, cases, hits in (
            ("sensitivity", "n_present", "n_found", present, present & predicted),
            ("specificity", "n_absent", "n_left_out", ~present, ~present & ~predicted),
        ):
            successes, trials = (
                group_sums(kind.astype(float), of_case)[0] for kind in (hits, cases)
            )
            table[total], table[some] = cases.sum(axis=0), hits.sum(axis=0)
            table[[rate, f"{rate}_low", f"{rate}_high"]] = _rate(successes, trials).T
        parts.append(table)
    return _joined(parts)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return tables as one; of the first, which has no rows, come columns and their order."""
    empty, *others = parts
    return pd.concat(others, ignore_index=True)[list(empty)] if others else empty


def _rate(successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return pooled proportions with the ends of their intervals, of shape (3, columns)."""
    with np.errstate(invalid="ignore"):
        pooled = successes.sum(axis=0) / trials.sum(axis=0)
    return np.stack([pooled, *proportion_intervals(successes, trials)])


def proportion_intervals(successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return Wilson's intervals of proportions whose trials come in groups.

    Trials of one group resemble each other: they count as the number of independent trials that
    would vary as much as the groups do, and no more than there are. It is reduced for the degrees
    of freedom of that estimate. Where all trials succeed or all fail, groups tell nothing of how
    alike their trials are, and each counts as one. If no group has more than one trial, these are
    Wilson's intervals as they are.

    Bootstrap-t, which means of cases have, is of little use here: many resamples of rare failures
    have none. Measured on made tables of 5 to 40 groups (docs/statistics.md), these intervals hold
    their level about as well, at half of the width and less.

    Parameters
    ----------
    successes, trials : ndarray of float
        Of shape (groups, columns).

    Returns
    -------
    ndarray of float
        Of shape (2, columns): the ends of 95 % intervals, 0 to 1. NaN if fewer than five groups
        have a trial.

    References
    ----------
    Wilson, J Am Stat Assoc 22 (1927) 209-212, doi:10.1080/01621459.1927.10502953; Korn and
    Graubard, Survey Methodology 24 (1998) 193-201, for the effective number of trials.
    """
    ends = np.full((2, successes.shape[1]), np.nan)
    for column in range(successes.shape[1]):
        used = trials[:, column] > 0
        if used.sum() >= MIN_GROUPS:
            share, size = _effective(successes[used, column], trials[used, column])
            ends[:, column] = proportion_confint(
                share * size, size, alpha=1 - CONFIDENCE, method="wilson"
            )
    return ends


def _effective(successes: np.ndarray, trials: np.ndarray) -> tuple[float, float]:
    """Return a proportion and the number of independent trials that tell as much."""
    n, total = len(trials), float(trials.sum())
    share = float(successes.sum()) / total
    if trials.max() == 1:
        return share, total
    if share in (0, 1):
        return share, float(n)
    residuals = successes - share * trials
    variance = n / (n - 1) * (residuals**2).sum() / total**2
    alike = share * (1 - share) / variance if variance > 0 else total
    tail = (1 + CONFIDENCE) / 2
    return share, min(total, alike) * float((ndtri(tail) / stdtrit(n - 1, tail)) ** 2)
