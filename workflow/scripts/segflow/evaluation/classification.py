"""What probabilities of classes are worth: measures over cases, with intervals, and curves.

The predicted class is the one with the largest probability, the first of equal ones. No threshold
and no weight of a class is chosen anywhere, so nothing is chosen on what is reported.

The measures are those of scikit-learn, which a test holds them to. They are computed here for all
resamples of the cases at once, where its functions take one at a time.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve
from statsmodels.stats.proportion import proportion_confint

from segflow.evaluation.bootstrap import (
    CONFIDENCE,
    MIN_GROUPS,
    draw_few_counts,
    group_sums,
    mean_intervals,
)
from segflow.evaluation.calibration import BINS
from segflow.evaluation.detection import proportion_intervals

ALL, MACRO, MICRO = "all", "macro", "micro"  # in place of a class; no class has these names
TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "auc": "AUC",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "ece": "Calibration error",
}
AVERAGED = ["f1", "precision", "specificity", "auc", "average_precision"]
SHARES = ["accuracy", "precision", "recall", "specificity"]  # of cases, but for their averages
COLUMNS = ["class", "metric", "value", "low", "high", "n"]
GRID = np.linspace(0, 1, 101)  # false positive rates, and recalls, at which curves have bands
N_CURVES = 1000  # resamples of a band


def predicted_classes(probabilities: np.ndarray) -> np.ndarray:
    """Return the class of the largest probability, the first of equal ones; of shape (cases,)."""
    return probabilities.argmax(axis=1)


def measure(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> dict[tuple[int | str, str], np.ndarray]:
    """Return what probabilities are worth, for each of several weightings of the cases.

    Parameters
    ----------
    truth : ndarray of int
        Of shape (cases,): the place of the class of each case.
    probabilities : ndarray of float
        Of shape (cases, classes), each row with the sum 1.
    weights : ndarray of float or None
        Of shape (weightings, cases): how often each case counts. Once, without them.

    Returns
    -------
    dict of (int or str, str) to ndarray of float
        Of shape (weightings,), for each class (its place), or ``all``, ``macro`` or ``micro``, and
        measure. A class is told from all others together: ``precision`` = TP / (TP + FP),
        ``recall`` = TP / (TP + FN), ``specificity`` = TN / (TN + FP), ``f1`` =
        2 TP / (2 TP + FP + FN), ``auc`` (area under the ROC curve, ties count one half),
        ``average_precision`` (mean precision at the cases of the class, weighted by the rise of
        recall), ``brier`` (mean of (p - y)^2) and ``ece`` (mean over cases of
        abs(mean p - mean y) of the bin of each). ``all`` has ``accuracy``, ``balanced_accuracy``
        (mean recall of the classes that there are), ``brier`` (summed over classes, 0 to 2) and
        ``ece`` (of the largest probability, and whether its class is right). ``macro`` is the mean
        over classes, ``micro`` counts the decisions on all classes together; micro precision,
        recall and F1 would be the accuracy.

        What has the denominator 0 is NaN: recall, AUC and average precision of a class without
        cases, specificity and AUC of one without others. The precision of a class that is never
        predicted is 0 if it has cases, so that no mean gains by never predicting it. Averages
        are over classes for which the measure is defined when all cases count once; where one of
        these is undefined, so is the average.
    """
    n_classes = probabilities.shape[1]
    once = np.ones((1, len(truth)))
    weights = once if weights is None else weights
    found, whole = (_of_classes(truth, probabilities, kind) for kind in (weights, once))
    measures = {
        (place, name): values[:, place]
        for name, values in found.items()
        for place in range(n_classes)
    }
    defined = {name: ~np.isnan(values[0]) for name, values in whole.items()}
    total = weights.sum(axis=1)
    right = predicted_classes(probabilities) == truth
    is_class = truth[:, None] == np.arange(n_classes)
    measures |= {
        (ALL, "accuracy"): weights @ right / total,
        (ALL, "balanced_accuracy"): _mean(found["recall"], defined["recall"]),
        (ALL, "brier"): weights @ ((probabilities - is_class) ** 2).sum(axis=1) / total,
        (ALL, "ece"): _calibration_error(probabilities.max(axis=1), right, weights),
    }
    measures |= {(MACRO, name): _mean(found[name], defined[name]) for name in AVERAGED}
    ranked = _ranked(probabilities.ravel(), is_class.ravel(), np.repeat(weights, n_classes, axis=1))
    measures |= {(MICRO, "auc"): _area(*ranked), (MICRO, "average_precision"): _average(*ranked)}
    return measures


def _of_classes(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the measures of each class against the others, of shape (weightings, classes)."""
    is_class, is_called = (
        (places[:, None] == np.arange(probabilities.shape[1])).astype(float)
        for places in (truth, predicted_classes(probabilities))
    )
    total = weights.sum(axis=1, keepdims=True)
    positive, called, both = (
        weights @ kind for kind in (is_class, is_called, is_class * is_called)
    )
    precision = _ratio(both, called)
    parts = [
        (_ranked(score, own > 0, weights), _calibration_error(score, own, weights))
        for score, own in zip(probabilities.T, is_class.T, strict=True)
    ]
    return {
        "f1": _ratio(2 * both, positive + called),
        "precision": np.where(np.isnan(precision) & (positive > 0), 0.0, precision),
        "recall": _ratio(both, positive),
        "specificity": _ratio(total - positive - called + both, total - positive),
        "auc": np.stack([_area(*ranked) for ranked, _ in parts], axis=1),
        "average_precision": np.stack([_average(*ranked) for ranked, _ in parts], axis=1),
        "brier": weights @ (probabilities - is_class) ** 2 / total,
        "ece": np.stack([error for _, error in parts], axis=1),
    }


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return quotients, NaN where the denominator is 0."""
    return numerator / np.where(denominator > 0, denominator, np.nan)


def _mean(values: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """Return the mean over the classes that are defined; NaN if there are none."""
    if not defined.any():
        return np.full(len(values), np.nan)
    return values[:, defined].mean(axis=1)


def _ranked(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return true and false positives down to each distinct score, the largest first."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    weights, positive = weights[:, order], positive[order]
    return tuple(np.cumsum(weights * kind, axis=1)[:, ends] for kind in (positive, ~positive))


def _area(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve."""
    middle = true - np.diff(true, axis=1, prepend=0) / 2
    area = (np.diff(false, axis=1, prepend=0) * middle).sum(axis=1)
    return _ratio(area, true[:, -1] * false[:, -1])


def _average(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Return the average precision."""
    gained = np.diff(true, axis=1, prepend=0) * true
    return _ratio((gained / np.maximum(true + false, 1e-12)).sum(axis=1), true[:, -1])


def _calibration_error(p: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the expected calibration error over bins of equal width, each with its lower end."""
    inside = bins_of(p)[:, None] == np.arange(BINS)
    errors = weights @ ((p - right)[:, None] * inside)
    return np.abs(errors).sum(axis=1) / weights.sum(axis=1)


def bins_of(p: np.ndarray) -> np.ndarray:
    """Return the number of the bin of each probability; see `segflow.evaluation.calibration`."""
    return np.minimum((p * BINS).astype(int), BINS - 1)


def summarise_classes(
    truth: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
    groups: np.ndarray,
    seed: int,
) -> pd.DataFrame:
    """Measure a classifier, with 95 % intervals that take the group as what is drawn.

    Parameters
    ----------
    truth, probabilities : ndarray
        See `measure`.
    classes : list of str
        Names of the classes.
    groups : ndarray
        Of shape (cases,): the group of each case.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row for each class (or ``all``, ``macro``, ``micro``) and measure, with its ``value``
        and the ends ``low`` and ``high`` of the interval. ``n`` are the cases of the class, all
        cases otherwise. Shares of cases (accuracy, precision, recall, specificity of a class) have
        `segflow.evaluation.detection.proportion_intervals`, Brier scores those of means
        (`segflow.evaluation.bootstrap.mean_intervals`), calibration errors none. The others have
        Wilson's for as many independent trials as would vary as much as the resamples of whole
        groups do; none where fewer than five groups have a case of a class that counts, or fewer
        than five a case of another class.
    """
    sizes = np.bincount(truth, minlength=len(classes))
    values = {key: found[0] for key, found in measure(truth, probabilities).items()}
    ends = _share_ends(truth, probabilities, groups)
    ends |= _brier_ends(truth, probabilities, groups, seed)
    ends |= _score_ends(truth, probabilities, groups, seed, values)
    order = [*range(len(classes)), MACRO, MICRO, ALL]
    rows = []
    for place in order:
        whole = isinstance(place, str)
        name, n = (place, len(truth)) if whole else (classes[place], int(sizes[place]))
        for metric in TITLES:
            if (place, metric) in values:
                low, high = ends.get((place, metric), (np.nan, np.nan))
                rows.append([name, metric, values[place, metric], low, high, n])
    return pd.DataFrame(rows, columns=COLUMNS)


def fewest_groups(truth: np.ndarray, groups: np.ndarray, n_classes: int) -> np.ndarray:
    """Return, for each class, the groups with a case of it or with another, whichever are fewer."""
    known = [
        min(len(set(groups[truth == place])), len(set(groups[truth != place])))
        for place in range(n_classes)
    ]
    return np.array(known)


def resampled_measures(
    truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, seed: int
) -> dict[tuple[int | str, str], np.ndarray]:
    """Return `measure` for each resample of whole groups, which the seed and their number decide.

    Returns
    -------
    dict of (int or str, str) to ndarray of float
        Of shape (resamples,).
    """
    known, of_case = np.unique(groups, return_inverse=True)
    parts = [
        measure(truth, probabilities, drawn[:, of_case].astype(float))
        for drawn in draw_few_counts(len(known), 4 * probabilities.size, seed)
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _share_ends(
    truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray
) -> dict[tuple[int | str, str], np.ndarray]:
    """Return the intervals of shares of cases."""
    called = predicted_classes(probabilities)
    trials = {(ALL, "accuracy"): (np.ones(len(truth), bool), called == truth)}
    for place in range(probabilities.shape[1]):
        own, said = truth == place, called == place
        trials |= {
            (place, "precision"): (said, own),
            (place, "recall"): (own, said),
            (place, "specificity"): (~own, ~said),
        }
    tried, hit = (np.stack(kind, axis=1) for kind in zip(*trials.values(), strict=True))
    sums = [group_sums(kind.astype(float), groups)[0] for kind in (tried & hit, tried)]
    return dict(zip(trials, proportion_intervals(*sums).T, strict=True))


def _brier_ends(
    truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, seed: int
) -> dict[tuple[int | str, str], np.ndarray]:
    """Return the intervals of Brier scores."""
    n_classes = probabilities.shape[1]
    squares = (probabilities - (truth[:, None] == np.arange(n_classes))) ** 2
    columns = np.concatenate([squares, squares.sum(axis=1, keepdims=True)], axis=1)
    most = np.array([1] * n_classes + [2])
    ends = np.clip(mean_intervals(columns, groups, seed), 0, most)
    return {
        (place, "brier"): pair for place, pair in zip([*range(n_classes), ALL], ends.T, strict=True)
    }


def _score_ends(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    seed: int,
    values: dict[tuple[int | str, str], float],
) -> dict[tuple[int | str, str], tuple[float, float]]:
    """Return the intervals of what is neither a share of cases nor a mean over them."""
    n_classes = probabilities.shape[1]
    fewest = fewest_groups(truth, groups, n_classes)
    there = fewest[np.bincount(truth, minlength=n_classes) > 0]
    n_groups = len(set(groups))
    if n_groups < MIN_GROUPS:
        return {}
    ends = {}
    for (place, metric), draws in resampled_measures(truth, probabilities, groups, seed).items():
        value = values[place, metric]
        averaged = isinstance(place, str)
        if metric in ("brier", "ece") or np.isnan(value) or (not averaged and metric in SHARES):
            continue
        if (place, metric) == (ALL, "accuracy"):
            continue
        least = there.min() if averaged else fewest[place]
        if least >= MIN_GROUPS:
            variance = np.nanvar(draws) * n_groups / (n_groups - 1)
            ends[place, metric] = share_interval(value, variance, least, len(truth))
    return ends


def share_interval(value: float, variance: float, least: float, most: float) -> tuple[float, float]:
    """Return Wilson's interval for as many independent trials as have this variance.

    Percentile and BCa intervals of an AUC of 0.9 hold 75 % of the true values with ten groups, of
    0.97 less than half: where cases are told apart without an error, so they are in all resamples
    (docs/classification.md has the numbers).

    Parameters
    ----------
    value : float
        From 0 to 1.
    variance : float
        Of its estimate.
    least : float
        Trials to count where nothing varies.
    most : float
        The most trials to count.

    References
    ----------
    Korn and Graubard, Survey Methodology 24 (1998) 193-201, for the effective number of trials;
    Kottas, Kuss and Zapf, BMC Med Res Methodol 14 (2014) 26, doi:10.1186/1471-2288-14-26, for
    intervals of proportions applied to AUC.
    """
    spread = value * (1 - value)
    size = min(most, spread / variance) if variance > 1e-12 and spread > 0 else least
    return proportion_confint(value * size, size, alpha=1 - CONFIDENCE, method="wilson")


def count_confusion(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Count the cases of each true (row) and predicted class (column)."""
    places = np.arange(probabilities.shape[1])
    return confusion_matrix(truth, predicted_classes(probabilities), labels=places)


def reliability(positive: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    """Return, for each bin that is not empty, mean ``probability``, share ``observed`` and ``n``.

    Parameters
    ----------
    positive : ndarray of bool
        Of shape (cases,): whether each case is of the class.
    p : ndarray of float
        The probability that it is.
    """
    table = pd.DataFrame({"bin": bins_of(p), "probability": p, "observed": positive.astype(float)})
    found = table.groupby("bin")[["probability", "observed"]].mean()
    return found.assign(n=table.groupby("bin").size()).reset_index()


def roc_band(
    positive: np.ndarray, p: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an ROC curve, and the band that 95 % of the resamples lie in at each place.

    Parameters
    ----------
    positive : ndarray of bool
        Of shape (cases,), with both kinds.
    p : ndarray of float
        The probability that a case is positive.
    groups : ndarray
        Group of each case; whole groups are drawn.
    seed : int
        Seed of the resamples.

    Returns
    -------
    x, y : ndarray of float
        False positive rates and sensitivities.
    band : ndarray of float
        Of shape (2, places of `GRID`): ends of the sensitivities at these false positive rates;
        NaN with fewer than five groups of either kind.
    """
    x, y, _ = roc_curve(positive, p)

    def at_grid(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        return np.interp(GRID, np.append(0, false / false[-1]), np.append(0, true / true[-1]))

    return x, y, _band(positive, p, groups, seed, at_grid)


def precision_recall_band(
    positive: np.ndarray, p: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return recalls, precisions and, at the recalls of `GRID`, their band, as `roc_band` does."""
    precision, recall, _ = precision_recall_curve(positive, p)

    def at_grid(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        place = np.searchsorted(true / true[-1], GRID - 1e-9)
        return (true / np.maximum(true + false, 1))[np.maximum(place, (true + false > 0).argmax())]

    return recall, precision, _band(positive, p, groups, seed, at_grid)


def _band(
    positive: np.ndarray,
    p: np.ndarray,
    groups: np.ndarray,
    seed: int,
    at_grid: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the ends of curves at the places of `GRID` over resamples of whole groups.

    `at_grid` makes a curve of true and false positives down to each score.
    """
    if fewest_groups(positive.astype(int), groups, 2).min() < MIN_GROUPS:
        return np.full((2, len(GRID)), np.nan)
    known, of_case = np.unique(groups, return_inverse=True)
    drawn = next(draw_few_counts(len(known), 1, seed))[:N_CURVES, of_case]
    curves = [
        at_grid(true, false)
        for true, false in zip(*_ranked(p, positive, drawn.astype(float)), strict=True)
        if true[-1] and false[-1]
    ]
    tail = (1 - CONFIDENCE) / 2
    return np.quantile(curves, [tail, 1 - tail], axis=0)
