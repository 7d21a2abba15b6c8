"""Paired comparisons of classifiers on the same cases."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from segflow.evaluation.bootstrap import CONFIDENCE, MIN_GROUPS, group_sums, mean_intervals
from segflow.evaluation.classification import (
    ALL,
    MACRO,
    fewest_groups,
    measure,
    predicted_classes,
    resampled_measures,
)
from segflow.evaluation.comparisons import holm, sign_chances

COLUMNS = [
    *("predictor", "other", "metric", "class", "n", "n_groups", "difference", "low", "high"),
    *("p", "p_corrected", "first_only", "other_only", "method"),
]
DECIMALS = 10  # of values that are equal on paper


def compare_classifiers(
    truth: np.ndarray,
    probabilities: dict[str, np.ndarray],
    classes: list[str],
    groups: np.ndarray,
    seed: int,
) -> pd.DataFrame:
    """Compare all pairs of classifiers of one split.

    Parameters
    ----------
    truth : ndarray of int
        Of shape (cases,): the place of the class of each case.
    probabilities : dict of str to ndarray of float
        Of shape (cases, classes), by the name of the classifier.
    classes : list of str
        Names of the classes.
    groups : ndarray
        Of shape (cases,): the group of each case.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row for each pair (in the order of their names) with ``metric`` ``accuracy``, and one
        for each class and ``macro`` with ``auc``; differences are the first minus the other, with
        95 % intervals. ``first_only`` and ``other_only`` are the cases that only the one
        classifies rightly: McNemar's test, exact, asks whether they are equally likely
        (`mcnemar`). The p of AUC is that of the difference over its standard error, taken from
        resamples of whole groups. ``p_corrected`` is Holm's over pairs (and classes) of one metric;
        identical hypotheses count once, such as the AUC of both of two classes.
    """
    pairs = list(combinations(sorted(probabilities), 2))
    tables = [
        _compare_accuracy(truth, probabilities, groups, seed, pairs),
        _compare_auc(truth, probabilities, classes, groups, seed, pairs),
    ]
    return pd.concat(tables, ignore_index=True)[COLUMNS] if pairs else pd.DataFrame(columns=COLUMNS)


def mcnemar(first: np.ndarray, other: np.ndarray, groups: np.ndarray) -> float:
    """Test whether two classifiers are right equally often, by McNemar's exact test.

    The cases of one group are no independent trials. So the sign of a group's sum of differences
    is what chance decides; with one case a group this is McNemar's test, a binomial one.

    Parameters
    ----------
    first, other : ndarray of bool
        Of shape (cases,): whether each is right.
    groups : ndarray
        Group of each case.

    Returns
    -------
    float
        Two-sided p: twice the chance of the smaller sum or less. 1 if no group differs.

    References
    ----------
    McNemar, Psychometrika 12 (1947) 153-157, doi:10.1007/BF02295996.
    """
    sums = group_sums((first.astype(float) - other)[:, None], groups)[0][:, 0].astype(int)
    sizes = tuple(sorted(abs(int(size)) for size in sums if size))
    smaller = min(sums[sums > 0].sum(), -sums[sums < 0].sum())
    return min(1.0, 2 * float(sign_chances(sizes)[: smaller + 1].sum()))


def _compare_accuracy(
    truth: np.ndarray,
    probabilities: dict[str, np.ndarray],
    groups: np.ndarray,
    seed: int,
    pairs: list[tuple[str, str]],
) -> pd.DataFrame:
    """Return the rows of one family of tests: accuracy."""
    right = {name: predicted_classes(table) == truth for name, table in probabilities.items()}
    alone = len(set(groups)) == len(truth)
    rows, keys = [], []
    for name, other in pairs:
        first, second = right[name], right[other]
        differences = first.astype(float) - second
        low, high = np.clip(mean_intervals(differences[:, None], groups, seed)[:, 0], -1, 1)
        keys.append(frozenset([first.tobytes(), second.tobytes()]))
        rows.append(
            {
                "predictor": name,
                "other": other,
                "metric": "accuracy",
                "class": ALL,
                "n": len(truth),
                "n_groups": len(set(groups)),
                "difference": differences.mean(),
                "low": low,
                "high": high,
                "p": mcnemar(first, second, groups),
                "first_only": (differences > 0).sum(),
                "other_only": (differences < 0).sum(),
                "method": "McNemar, exact" + ("" if alone else ", by groups"),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(p_corrected=holm(table["p"], pd.Series(keys))) if rows else table


def _compare_auc(
    truth: np.ndarray,
    probabilities: dict[str, np.ndarray],
    classes: list[str],
    groups: np.ndarray,
    seed: int,
    pairs: list[tuple[str, str]],
) -> pd.DataFrame:
    """Return the rows of one family of tests: AUC of each class, and their mean."""
    if not pairs:
        return pd.DataFrame()
    fewest = fewest_groups(truth, groups, len(classes))
    there = fewest[np.bincount(truth, minlength=len(classes)) > 0]
    tested = {**dict(enumerate(fewest)), MACRO: there.min()}
    values, draws = {}, {}
    for name, table in probabilities.items():
        found = measure(truth, table)
        resampled = resampled_measures(truth, table, groups, seed)
        values[name] = {place: found[place, "auc"][0] for place in tested}
        draws[name] = {place: resampled[place, "auc"] for place in tested}
    keys, rows = [], []
    for name, other in pairs:
        for place, least in tested.items():
            difference = round(values[name][place] - values[other][place], DECIMALS)
            found = np.round(draws[name][place] - draws[other][place], DECIMALS)
            low, high, p = _by_error(difference, found, least, len(set(groups)))
            keys.append(
                frozenset(
                    np.round(np.nan_to_num(draws[one][place], nan=-1), DECIMALS).tobytes()
                    for one in (name, other)
                )
            )
            rows.append(
                {
                    "predictor": name,
                    "other": other,
                    "metric": "auc",
                    "class": classes[place] if place != MACRO else MACRO,
                    "n": len(truth),
                    "n_groups": len(set(groups)),
                    "difference": difference,
                    "low": low,
                    "high": high,
                    "p": p,
                    "method": "group bootstrap" if not np.isnan(p) else "",
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(p_corrected=holm(table["p"], pd.Series(keys)))


def _by_error(
    difference: float, draws: np.ndarray, least: int, n_groups: int
) -> tuple[float, float, float]:
    """Return ends and p of a difference from the standard error of its resamples.

    Student's distribution has as many degrees of freedom as the rarer kind has groups, less one.
    """
    draws = draws[~np.isnan(draws)]
    if least < MIN_GROUPS or np.isnan(difference) or not len(draws):
        return np.nan, np.nan, np.nan
    error = np.std(draws) * np.sqrt(n_groups / (n_groups - 1))
    if error == 0:
        return (difference, difference, 1.0) if difference == 0 else (np.nan, np.nan, np.nan)
    reach = stdtrit(least - 1, (1 + CONFIDENCE) / 2) * error
    p = 2 * stdtr(least - 1, -abs(difference) / error)
    return max(-1.0, difference - reach), min(1.0, difference + reach), float(p)
