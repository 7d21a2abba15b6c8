"""Summaries of per-case metrics."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import pandas as pd

from segflow.evaluation.bootstrap import group_sums, mean_intervals
from segflow.evaluation.metrics import DISTANCES, SHARES
from segflow.files.cases import Case
from segflow.files.frames import read_frame
from segflow.images.sizes import image_axes

KEYS = ["predictor", "split", "stage", "fold", "label", "metric"]
COUNTS = ["n", "n_undefined", "n_infinite", "n_finite", "n_groups"]
STATISTICS = [
    *("mean", "sd", "median", "q1", "q3", "min", "max"),
    *("penalised_mean", "group_mean", "ci_low", "ci_high"),
]
SPLITS = ("val", "test")
STAGES = ("raw", "postprocessed")
ALL = "all"


@dataclass(frozen=True)
class SplitMetrics:
    """The metrics of all predictors on the cases of one split.

    Parameters
    ----------
    split : str
        ``val`` or ``test``.
    predictors, stages, cases, labels, metrics : list of str
        Names along the axes; predictors and cases are sorted.
    averaged : list of int
        Places of the labels whose mean is the label ``all``.
    folds : list of str
        Fold of each case.
    values : ndarray of float
        Of shape (predictors, stages, cases, labels, metrics).
    penalties_mm : ndarray of float
        Of shape (cases,): see the function of this name. NaN where it is not known.
    """

    split: str
    predictors: list[str]
    stages: list[str]
    cases: list[str]
    labels: list[str]
    metrics: list[str]
    averaged: list[int]
    folds: list[str]
    values: np.ndarray
    penalties_mm: np.ndarray

    def of_cases(self, cases: Collection[str]) -> "SplitMetrics":
        """Return the metrics of some cases; those that the split does not have are left out."""
        kept = np.array([case in cases for case in self.cases])
        return replace(
            self,
            cases=list(compress(self.cases, kept)),
            folds=list(compress(self.folds, kept)),
            values=self.values[:, :, kept],
            penalties_mm=self.penalties_mm[kept],
        )

    def keys(self) -> pd.DataFrame:
        """Return predictor, split, stage and label of each column of `of`, a row for each."""
        levels = [self.predictors, [self.split], self.stages, self.labels]
        index = pd.MultiIndex.from_product(levels, names=["predictor", "split", "stage", "label"])
        return index.to_frame(index=False)

    def of(self, metric: str) -> np.ndarray:
        """Return the values of a metric, of shape (cases, predictors times stages times labels)."""
        values = self.values[..., self.metrics.index(metric)]
        return np.moveaxis(values, 2, 0).reshape(len(self.cases), -1)

    def penalised(self) -> np.ndarray:
        """Return the values, no distance of which is larger than the penalty of its case.

        So an infinite distance counts as the penalty, and none is worse than to miss an object.
        Distances in cases without a penalty are NaN.
        """
        values = self.values.copy()
        chosen = [place for place, name in enumerate(self.metrics) if name in DISTANCES]
        most = self.penalties_mm[:, None, None]
        values[..., chosen] = np.minimum(values[..., chosen], most)
        return values


def penalties_mm(cases: Iterable[Case], penalty_mm: float | None = None) -> dict[str, float]:
    """Return what an infinite distance counts as in a penalised mean, by case.

    Parameters
    ----------
    cases : iterable of Case
        The cases.
    penalty_mm : float or None
        The same for all. By default it is the diagonal of each image, which no distance between
        surfaces exceeds.
    """
    found = {}
    for case in cases:
        shape, spacing_mm = case.shape.split(), case.spacing_mm.split()
        axes = image_axes(tuple(map(int, shape)))
        sides = [int(shape[axis]) * float(spacing_mm[axis]) for axis in axes]
        found[case.case] = math.hypot(*sides) if penalty_mm is None else float(penalty_mm)
    return found


def arrange(
    metrics: pd.DataFrame,
    names: list[str],
    apart: Collection[str] = (),
    penalties: dict[str, float] | None = None,
) -> list[SplitMetrics]:
    """Arrange per-case metrics as arrays in which all predictors have the same cases.

    Parameters
    ----------
    metrics : DataFrame
        One row for each predictor, split, stage, case and label, with the metrics as columns.
    names : list of str
        Metrics to take; those that the table does not have are left out.
    apart : collection of str
        Evaluated regions: labels that no mean over labels is to count a second time.
    penalties : dict of str to float or None
        What an infinite distance counts as in each case; see `penalties_mm`.

    Returns
    -------
    list of SplitMetrics
        Those of the validation cases, then those of the test cases, where there are any.

    Raises
    ------
    ValueError
        If two predictors do not have the same cases, labels and stages, or a row is there twice.
    """
    names = [name for name in names if name in metrics.columns]
    found = []
    for split in SPLITS:
        part = metrics[metrics["split"] == split]
        if part.empty:
            continue
        rows = {
            predictor: set(zip(table["stage"], table["case"], table["label"], strict=True))
            for predictor, table in part.groupby("predictor")
        }
        predictors = sorted(rows)
        for predictor in predictors[1:]:
            if lacking := rows[predictors[0]] ^ rows[predictor]:
                stage, case, label = min(lacking)
                raise ValueError(
                    f"predictors {predictors[0]!r} and {predictor!r} are not paired: {split} case "
                    f"{case!r}, stage {stage}, label {label!r} is in only one of them "
                    f"({len(lacking)} such rows)"
                )
        stages = [stage for stage in STAGES if (part["stage"] == stage).any()]
        labels = list(dict.fromkeys(part["label"]))
        wide = part.pivot(index=["predictor", "stage", "case"], columns="label", values=names)
        cases = sorted(set(part["case"]))
        wide = wide.reindex(
            index=pd.MultiIndex.from_product([predictors, stages, cases]),
            columns=pd.MultiIndex.from_product([names, labels]),
        )
        shape = (len(predictors), len(stages), len(cases), len(names), len(labels))
        values = wide.to_numpy(float).reshape(shape).swapaxes(3, 4)
        fold_of = dict(zip(part["case"], part["fold"], strict=True))
        folds = [fold_of[case] for case in cases]
        found.append(
            SplitMetrics(
                split=split,
                predictors=predictors,
                stages=stages,
                cases=cases,
                labels=labels,
                metrics=names,
                averaged=[place for place, label in enumerate(labels) if label not in apart],
                folds=folds,
                values=values,
                penalties_mm=np.array([(penalties or {}).get(case, np.nan) for case in cases]),
            )
        )
    return found


def mean_of_defined(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of what is not NaN; infinities of both signs make NaN, as does nothing."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0.0).sum(axis=axis) / np.where(count, count, np.nan)


def quantiles(values: np.ndarray, fraction: float) -> np.ndarray:
    """Return a quantile of the defined values of each column, linear between observations.

    Parameters
    ----------
    values : ndarray of float
        Of shape (observations, columns). NaN is left out; infinities are values like others.
    fraction : float
        0 to 1; 0.5 is the median. Halfway between -inf and inf it is 0, and near one of the two
        it is this one, so that exchanged signs exchange the sign.
    """
    ordered = np.sort(values, axis=0)  # NaN goes to the end
    count = (~np.isnan(values)).sum(axis=0)
    place = fraction * np.maximum(count - 1, 0)
    floor, ceiling = np.floor(place).astype(int), np.ceil(place).astype(int)
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (floor, ceiling))
    part = place - floor
    with np.errstate(invalid="ignore"):
        between = np.where(low == high, low, low * (1 - part) + high * part)
        between = np.where(part == 0, low, between)  # where 0 times infinity would be NaN
        opposed = np.isinf(low) & np.isinf(high) & (low != high) & (part > 0)
        return np.where(opposed, np.where(part == 0.5, 0.0, np.inf * (part - 0.5)), between)


def summarise(splits: list[SplitMetrics], groups: dict[str, str], seed: int) -> pd.DataFrame:
    """Summarise per-case metrics over cases, for each label and for all labels together.

    Parameters
    ----------
    splits : list of SplitMetrics
        See `arrange`.
    groups : dict of str to str
        Group of each case: the cases of one patient, or near-duplicates.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        One row for each predictor, split, stage, fold, label and metric. The fold ``all`` is over
        all cases; validation cases have a row for each fold, too. The label ``all`` is, case by
        case, the mean over the labels in which the metric is defined, and infinite if one is;
        evaluated regions have no part in it.
        ``n`` is the number of cases in which the metric is defined, ``n_undefined`` in which it
        is not; of the ``n``, ``n_infinite`` values are infinite and ``n_finite`` are not.
        ``n_groups`` groups have a defined value. Mean and sample standard deviation are over the
        finite values. Median, quartiles, minimum and maximum are over all defined ones.
        ``penalised_mean`` is, for distances, the mean of all defined values with infinite ones
        replaced, label by label (see `SplitMetrics.penalised`). ``group_mean`` is the mean over
        groups of the means over their cases, and ``ci_low`` and ``ci_high``, only for the fold
        ``all``, are the 95 % interval of the mean (see
        `segflow.evaluation.bootstrap.mean_intervals`), cut at what the metric can be: both of
        penalised values for distances, and empty for other metrics that are infinite in some case.

    Raises
    ------
    KeyError
        If a case has no group.
    """
    parts = []
    for split in splits:
        values, penalised = (_by_case(split, kind) for kind in (split.values, split.penalised()))
        columns = pd.MultiIndex.from_product(
            [split.predictors, split.stages, [*split.labels, ALL], split.metrics],
            names=["predictor", "stage", "label", "metric"],
        )
        distance = columns.get_level_values("metric").isin(DISTANCES)
        of_case = np.array([groups[case] for case in split.cases])
        infinite = np.isinf(penalised).any(axis=0)
        intervals = np.where(infinite, np.nan, mean_intervals(penalised, of_case, seed))
        intervals = np.clip(
            intervals, 0, np.where(columns.get_level_values("metric").isin(SHARES), 1, np.inf)
        )
        folds = sorted(set(split.folds), key=lambda fold: (len(fold), fold))
        for fold in [ALL, *(folds if split.split == "val" else [])]:
            chosen = [fold in (ALL, own) for own in split.folds]
            sums, sizes = group_sums(penalised[chosen], of_case[chosen])
            known = np.where(np.isnan(values[chosen]), np.nan, 0.0)
            defined = group_sums(known, of_case[chosen])[1]
            with np.errstate(invalid="ignore"):
                of_groups = np.where(infinite, np.nan, mean_of_defined(sums / sizes, axis=0))
            mean = mean_of_defined(penalised[chosen], axis=0)
            low, high = intervals if fold == ALL else (np.nan, np.nan)
            table = pd.DataFrame(describe(values[chosen]), index=columns).assign(
                n_groups=(defined > 0).sum(axis=0),
                penalised_mean=np.where(distance, mean, np.nan),
                group_mean=of_groups,
                ci_low=low,
                ci_high=high,
                split=split.split,
                fold=fold,
            )
            parts.append(table.reset_index())
    return pd.concat(parts, ignore_index=True)[KEYS + COUNTS + STATISTICS]


def _by_case(split: SplitMetrics, values: np.ndarray) -> np.ndarray:
    """Return values, and their mean over labels, of shape (cases, columns).

    The columns are predictors, stages, labels and metrics.
    """
    together = mean_of_defined(values[:, :, :, split.averaged], axis=3)[:, :, :, None]
    values = np.moveaxis(np.concatenate([values, together], axis=3), 2, 0)
    return values.reshape(len(split.cases), -1)


def describe(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the statistics of `summarise`, without intervals, of each column.

    Parameters
    ----------
    values : ndarray of float
        Of shape (cases, columns).
    """
    finite = np.isfinite(values)
    n_finite = finite.sum(axis=0)
    mean = mean_of_defined(np.where(finite, values, np.nan), axis=0)
    squares = np.where(finite, (np.where(finite, values, 0) - mean) ** 2, 0).sum(axis=0)
    n_undefined = np.isnan(values).sum(axis=0)
    return {
        "n": len(values) - n_undefined,
        "n_undefined": n_undefined,
        "n_infinite": np.isinf(values).sum(axis=0),
        "n_finite": n_finite,
        "mean": mean,
        "sd": np.sqrt(squares / np.where(n_finite > 1, n_finite - 1, np.nan)),
        "median": quantiles(values, 0.5),
        "q1": quantiles(values, 0.25),
        "q3": quantiles(values, 0.75),
        "min": quantiles(values, 0),
        "max": quantiles(values, 1),
    }


def read_metrics(tables: dict[str, Path]) -> pd.DataFrame:
    """Read the metrics of several predictors into one table.

    Parameters
    ----------
    tables : dict of str to Path
        The ``metrics.csv`` of each predictor.
    """
    texts = ["split", "stage", "fold", "case", "label"]
    parts = [read_frame(path, texts).assign(predictor=name) for name, path in tables.items()]
    return pd.concat(parts, ignore_index=True)
