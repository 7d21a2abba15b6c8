"""Paired comparisons of predictors on the same cases."""

from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata
from statsmodels.stats.multitest import multipletests

from segflow.evaluation.bootstrap import CONFIDENCE, mean_intervals
from segflow.evaluation.metrics import METRICS
from segflow.evaluation.summaries import ALL, STAGES, SplitMetrics, mean_of_defined, quantiles

# What is tested, with the value of a perfect result. Few metrics keep the family of tests small.
# These are undefined only where both masks are empty, so that undefined means right.
PERFECT = {"dice": 1.0, "iou": 1.0, "hd95": 0.0, "nsd": 1.0, "boundary_iou": 1.0, "cldice": 1.0}
N_EXACT = 50
KEYS = ["split", "stage", "metric", "predictor", "other", "label"]
COLUMNS = [
    *KEYS,
    *("n", "n_one_undefined", "n_groups", "n_finite", "mean_difference", "penalised_difference"),
    *("median_difference", "hodges_lehmann", "ci_low", "ci_high"),
    *("statistic", "p", "p_corrected", "effect_size"),
    *("wins", "ties", "losses", "method"),
]
READING = (
    "A small p says that differences so much to one side would be rare if neither predictor were "
    "better. It does not say that the difference is large enough to matter, and a large p does not "
    "say that two predictors are equally good."
)
ON_VALIDATION = (
    "On the cross-validation cases p is approximate, for the networks of different folds share "
    "most of their training cases, and after post-processing it is optimistic for predictors whose "
    "post-processing helps: its steps were chosen on these very cases. Only the test cases had no "
    "part in any choice."
)
METHOD = (
    "Each cell: the Hodges-Lehmann estimate of the difference, its 95 % interval, the median "
    "difference, of distances also the mean difference with infinite ones penalised, corrected p, "
    "effect size r, and the groups in which the first is better : equal : worse. A group is a "
    "patient, or near-duplicates; its differences are averaged, and every group counts the same, "
    "where the summary's means give every case the same weight. The test is Wilcoxon's signed-rank "
    "test: ties are left out, p is exact with at most 50 other groups and a normal approximation "
    "beyond; Holm's correction is over all pairs and labels of one metric in one split and stage, "
    "identical hypotheses counting once. The Hodges-Lehmann estimate is the median of the means of "
    "all pairs of differences; its interval holds what this test would not reject, and needs six "
    "groups. r is the rank-biserial correlation: 1 if the first is better in every group that is "
    "no tie, -1 if the other is; wins and ties beside it say how many these are. Where both masks "
    "are empty for one predictor only, it is right and its value counts as perfect; a case in "
    "which they are for both is left out."
)


def differences(first: np.ndarray, second: np.ndarray, perfect: float) -> np.ndarray:
    """Return `first` minus `second`, values of one metric.

    Parameters
    ----------
    first, second : ndarray of float
        Of the same shape.
    perfect : float
        The value that stands for an undefined one beside a defined one; NaN if none can.

    Returns
    -------
    ndarray of float
        Two infinite values are equal: 0. Two undefined ones give NaN. Rounded to ten decimals, so
        that differences that are equal on paper are ties.
    """
    undefined = np.isnan(first), np.isnan(second)
    first, second = (
        np.where(own & ~others, perfect, values)
        for values, own, others in ((first, *undefined), (second, *undefined[::-1]))
    )
    with np.errstate(invalid="ignore"):
        return np.round(np.where(first == second, 0.0, first - second), 10)


def compare(
    splits: list[SplitMetrics], better: dict[str, str], groups: dict[str, str]
) -> pd.DataFrame:
    """Compare all pairs of predictors.

    The observation is a group: cases of one patient are not independent, so their differences are
    averaged first. The label ``all`` is, case by case, the mean of the differences over labels,
    evaluated regions left out. Where infinite differences of both signs meet in such a mean,
    neither predictor is better, and it is 0.

    Parameters
    ----------
    splits : list of SplitMetrics
        See `segflow.evaluation.summaries.arrange`, which refuses predictors that are not paired.
    better : dict of str to {'higher', 'lower'}
        Which values of each metric are better.
    groups : dict of str to str
        Group of each case.

    Returns
    -------
    DataFrame
        One row for each split, stage, metric, pair of predictors (in the order of their names) and
        label; only the columns if there is one predictor. ``n`` counts cases in which the metric
        is defined for one of the two at least, ``n_one_undefined`` those in which it is for one
        only: both masks are empty for one predictor, which is right, and the other one predicts
        what is not there. The undefined value then counts as a perfect one. Cases that are
        undefined for both are left out. Differences are the first minus the other, over
        ``n_groups`` groups: mean over the ``n_finite`` finite ones; of distances the mean over
        all, infinite distances penalised; median over all; Hodges-Lehmann's estimate over all with
        its 95 % interval (see `hodges_lehmann`). ``statistic`` is the smaller sum of ranks,
        ``p_corrected`` Holm's p over pairs and labels, in which identical hypotheses count once,
        such as ``all`` of a single label. Wins and losses are those of the first predictor, in
        groups, and ``effect_size`` is positive where it is better.
    """
    tables = [
        _compare_metric(split, stage, metric, better, groups)
        for split in splits
        if len(split.predictors) > 1
        for stage in range(len(split.stages))
        for metric in range(len(split.metrics))
        if not np.isnan(split.values[:, stage, :, :, metric]).all()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _compare_metric(
    split: SplitMetrics,
    stage: int,
    metric: int,
    better: dict[str, str],
    groups: dict[str, str],
) -> pd.DataFrame:
    """Return the part of the table that is one family of tests."""
    name = split.metrics[metric]
    pairs = np.array(list(combinations(range(len(split.predictors)), 2)))
    first, second = (split.values[side, stage, :, :, metric] for side in pairs.T)
    found = differences(first, second, PERFECT[name])
    capped = split.penalised()[:, stage, :, :, metric]
    penalised = differences(*(capped[side] for side in pairs.T), PERFECT[name])
    lone = np.isnan(first) != np.isnan(second)
    found, penalised = (
        np.concatenate([kind, _mean(kind[:, :, split.averaged], 2)[:, :, None]], axis=2)
        for kind in (found, penalised)
    )
    lone_in_mean = lone[:, :, split.averaged].any(axis=2, keepdims=True)
    lone = np.concatenate([lone, lone_in_mean], axis=2)
    averaged = np.moveaxis(_group_means(found, split.cases, groups), 1, 0)
    table = pd.DataFrame(
        [
            (split.split, split.stages[stage], name, *(split.predictors[at] for at in pair), label)
            for pair in pairs
            for label in [*split.labels, ALL]
        ],
        columns=KEYS,
    ).assign(
        n=(~np.isnan(found)).sum(axis=1).ravel(),
        n_one_undefined=lone.sum(axis=1).ravel(),
        **_statistics(averaged.reshape(len(averaged), -1), better[name]),
        penalised_difference=np.nan,
    )
    if METRICS[name].infinite:
        of_groups = _group_means(penalised, split.cases, groups)
        table["penalised_difference"] = mean_of_defined(of_groups, axis=1).ravel()
    table["p_corrected"] = holm(table["p"], _hypotheses(split, stage, metric, pairs))
    return table[COLUMNS]


def holm(p: pd.Series, hypotheses: pd.Series) -> pd.Series:
    """Correct the p of one family of tests by Holm's method; identical hypotheses count once.

    Parameters
    ----------
    p : Series of float
        NaN where there is no test.
    hypotheses : Series
        A key of each hypothesis, by the index of `p`; equal keys are one hypothesis.
    """
    tested = ~(p.isna() | hypotheses.duplicated())
    if not tested.any():
        return pd.Series(np.nan, p.index)
    corrected = multipletests(p[tested], method="holm")[1]
    return hypotheses.map(dict(zip(hypotheses[tested], corrected, strict=True)))


def _hypotheses(split: SplitMetrics, stage: int, metric: int, pairs: np.ndarray) -> pd.Series:
    """Return a key of each pair and label; those whose values all agree are one hypothesis.

    So is `all` of one label with this label, a region with the label that it consists of, and a
    pair with another one of predictors that say the same.
    """
    values = split.values[:, stage, :, :, metric]
    together = mean_of_defined(values[:, :, split.averaged], axis=2)[:, :, None]
    values = np.round(np.concatenate([values, together], axis=2), 10)
    values[np.isnan(values)] = np.nan  # which has several bit patterns
    keys = [[column.tobytes() for column in own.T] for own in values]
    sides = [zip(keys[first], keys[second], strict=True) for first, second in pairs]
    return pd.Series([frozenset(both) for labels in sides for both in labels])


def changes(splits: list[SplitMetrics], groups: dict[str, str], seed: int) -> pd.DataFrame:
    """Return how much post-processing changes the metrics: mean over cases of the differences.

    Undefined values count as in `compare` for the metrics that it tests; for the others, a case
    counts where the metric is defined before and after.

    Returns
    -------
    DataFrame
        One row for each predictor, split, label and metric, with ``mean`` over finite differences
        (after minus before) and the 95 % interval ``ci_low``, ``ci_high``.
    """
    tables = []
    for split in splits:
        if split.stages != list(STAGES):
            continue
        before, after = split.values[:, 0], split.values[:, 1]
        perfect = np.array([PERFECT.get(name, np.nan) for name in split.metrics])
        found = differences(after, before, perfect)
        found = np.concatenate([found, _mean(found[:, :, split.averaged], 2)[:, :, None]], axis=2)
        columns = pd.MultiIndex.from_product(
            [split.predictors, [*split.labels, ALL], split.metrics],
            names=["predictor", "label", "metric"],
        )
        values = np.moveaxis(found, 1, 0).reshape(len(split.cases), len(columns))
        mean = mean_of_defined(np.where(np.isfinite(values), values, np.nan), axis=0)
        low, high = mean_intervals(values, np.array([groups[case] for case in split.cases]), seed)
        table = pd.DataFrame({"mean": mean, "ci_low": low, "ci_high": high}, index=columns)
        tables.append(table.reset_index().assign(split=split.split))
    return pd.concat(tables, ignore_index=True)


def signed_rank(differences: np.ndarray) -> tuple[float, float, float, str]:
    """Test whether differences are symmetric around 0, by Wilcoxon's signed-rank test.

    Zeros are left out (Wilcoxon's way), equal sizes share their mean rank. With at most 50
    differences left the two-sided p is exact, ties included: the distribution of the sum of ranks
    over all signs. Beyond it is the normal approximation, without correction for continuity.
    SciPy's function gives the same, but no exact p with ties beyond 13 differences, and is
    several times slower for tables of thousands of tests.

    Parameters
    ----------
    differences : ndarray of float
        Of shape (observations,), without NaN; infinite ones are larger than all others.

    Returns
    -------
    statistic : float
        The smaller sum of ranks.
    p : float
        1 if all differences are 0, NaN if there are none.
    effect_size : float
        Rank-biserial correlation: sum of the positive ranks minus sum of the negative ones, over
        the sum of all; 0 if all differences are 0.
    method : str
        How p was found.

    References
    ----------
    Wilcoxon, Individual comparisons by ranking methods, Biometrics 1945, doi:10.2307/3001968.
    Kerby, The simple difference formula, Comprehensive Psychology 2014, doi:10.2466/11.IT.3.1.
    """
    if len(differences) == 0:
        return np.nan, np.nan, np.nan, ""
    nonzero = differences[differences != 0]
    if len(nonzero) == 0:
        return 0.0, 1.0, 0.0, "all tied"
    ranks = rankdata(np.abs(nonzero))
    positive, negative = ranks[nonzero > 0].sum(), ranks[nonzero < 0].sum()
    statistic = min(positive, negative)
    if len(nonzero) <= N_EXACT:
        doubled = tuple(np.sort(2 * ranks).astype(int))
        p, method = min(1.0, 2 * sign_chances(doubled)[: int(2 * statistic) + 1].sum()), "exact"
    else:
        # The variance of the sum over all signs, in which mean ranks are the correction for ties.
        p = 2 * ndtr((statistic - ranks.sum() / 2) / np.sqrt((ranks**2).sum() / 4))
        method = "normal approximation"
    return statistic, p, (positive - negative) / (positive + negative), method


@lru_cache(maxsize=256)
def sign_chances(sizes: tuple[int, ...]) -> np.ndarray:
    """Return the chance of each sum of positive sizes when every sign is a fair coin.

    Parameters
    ----------
    sizes : tuple of int
        Of what has a sign, sorted: doubled ranks, say, for mean ranks are integers then. Each
        convolves the distribution with two points.

    Returns
    -------
    ndarray of float
        Chances of the sums from 0 to that of all sizes.
    """
    chances = np.zeros(sum(sizes) + 1)
    chances[0] = 1.0
    for size in sizes:
        chances[size:] += chances[:-size].copy()
        chances /= 2
    return chances


def hodges_lehmann(differences: np.ndarray) -> tuple[float, float, float]:
    """Estimate the centre of symmetry of differences, with the interval that fits the test.

    Parameters
    ----------
    differences : ndarray of float
        Of shape (observations,), without NaN; two infinite ones of both signs have the mean 0.

    Returns
    -------
    estimate : float
        The median of the means of all pairs, each difference with itself included; NaN if there
        is none. Exchanged signs exchange its sign.
    low, high : float
        The 95 % interval: the values that the signed-rank test of the others minus this value
        would not reject at 5 %, exact with at most 50 differences without ties and no narrower
        with them, else by the normal approximation. NaN with fewer than six differences, of which
        the most extreme are not rare enough.

    References
    ----------
    Hodges and Lehmann, Estimates of location based on rank tests, Annals of Mathematical
    Statistics 1963, doi:10.1214/aoms/1177704172.
    """
    n = len(differences)
    if n == 0:
        return np.nan, np.nan, np.nan
    with np.errstate(invalid="ignore"):
        means = np.concatenate(
            [(differences[place:] + difference) / 2 for place, difference in enumerate(differences)]
        )
    means[np.isnan(means)] = 0.0
    depth = _depth(n)
    ends = [depth, len(means) - 1 - depth] if depth >= 0 else []
    means = np.partition(means, [*((len(means) - 1) // 2, len(means) // 2), *ends])
    estimate = quantiles(means[(len(means) - 1) // 2 : len(means) // 2 + 1, None], 0.5)[0]
    return estimate, *(means[ends] if ends else (np.nan, np.nan))


@lru_cache(maxsize=256)
def _depth(n: int) -> int:
    """Return the largest sum of ranks that rejects at 5 % on one side of two; -1 if none does."""
    tail = (1 - CONFIDENCE) / 2
    if n <= N_EXACT:
        chances = np.cumsum(sign_chances(tuple(range(2, 2 * n + 1, 2)))[::2])
        return int(np.searchsorted(chances, tail * (1 + 1e-9), side="right")) - 1
    spread = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return int(n * (n + 1) / 4 + ndtri(tail) * spread)


def _statistics(values: np.ndarray, better: str) -> dict[str, np.ndarray | list]:
    """Return the statistics of differences of shape (groups, columns); NaN is left out."""
    known = ~np.isnan(values)
    n_groups = known.sum(axis=0)
    columns = [column[own] for column, own in zip(values.T, known.T, strict=True)]
    statistic, p, effect, method = zip(*map(signed_rank, columns), strict=True)
    estimate, low, high = zip(*map(hodges_lehmann, columns), strict=True)
    above, below = (values > 0).sum(axis=0), (values < 0).sum(axis=0)
    sign = 1 if better == "higher" else -1
    return {
        "n_groups": n_groups,
        "n_finite": np.isfinite(values).sum(axis=0),
        "mean_difference": mean_of_defined(np.where(np.isfinite(values), values, np.nan), axis=0),
        "median_difference": quantiles(values, 0.5),
        "hodges_lehmann": estimate,
        "ci_low": low,
        "ci_high": high,
        "statistic": statistic,
        "p": p,
        "effect_size": sign * np.array(effect),
        "wins": above if sign == 1 else below,
        "ties": n_groups - above - below,
        "losses": below if sign == 1 else above,
        "method": method,
    }


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of what is not NaN; infinite differences of both signs make a tie."""
    known = ~np.isnan(values).all(axis=axis)
    mean = mean_of_defined(values, axis)
    return np.where(np.isnan(mean) & known, 0.0, mean)


def _group_means(values: np.ndarray, cases: list[str], groups: dict[str, str]) -> np.ndarray:
    """Average values of shape (pairs, cases, labels) over the cases of each group."""
    members: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        members.setdefault(groups[case], []).append(place)
    return np.stack([_mean(values[:, places], 1) for places in members.values()], axis=1)
