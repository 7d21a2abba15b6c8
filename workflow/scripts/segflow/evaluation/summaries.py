"""Summaries of per-case metrics."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from segflow.evaluation.bootstrap import mean_intervals
from segflow.files.frames import read_frame

KEYS = ["predictor", "split", "stage", "fold", "label", "metric"]
COUNTS = ["n", "n_undefined", "n_infinite"]
STATISTICS = ["mean", "sd", "median", "q1", "q3", "min", "max", "ci_low", "ci_high"]
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


def arrange(
    metrics: pd.DataFrame, names: list[str], apart: Collection[str] = ()
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
        0 to 1; 0.5 is the median.
    """
    ordered = np.sort(values, axis=0)  # NaN goes to the end
    count = (~np.isnan(values)).sum(axis=0)
    place = fraction * np.maximum(count - 1, 0)
    floor, ceiling = np.floor(place).astype(int), np.ceil(place).astype(int)
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (floor, ceiling))
    with np.errstate(invalid="ignore"):
        return np.where(low == high, low, low + (place - floor) * (high - low))


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
        is not, ``n_infinite`` that of infinite values among the ``n``. Mean, sample standard
        deviation and the 95 % interval of the mean (``ci_low`` and ``ci_high``, only for the fold
        ``all``; see `segflow.evaluation.bootstrap.mean_intervals`) are over the finite values.
        Median, quartiles, minimum and maximum are over all defined ones.

    Raises
    ------
    KeyError
        If a case has no group.
    """
    parts = []
    for split in splits:
        together = mean_of_defined(split.values[:, :, :, split.averaged], axis=3)[:, :, :, None]
        # Cases first; the rest are the columns: predictors, stages, labels, metrics.
        values = np.moveaxis(np.concatenate([split.values, together], axis=3), 2, 0)
        columns = pd.MultiIndex.from_product(
            [split.predictors, split.stages, [*split.labels, ALL], split.metrics],
            names=["predictor", "stage", "label", "metric"],
        )
        values = values.reshape(len(split.cases), len(columns))
        of_case = np.array([groups[case] for case in split.cases])
        intervals = mean_intervals(values, of_case, seed)
        folds = sorted(set(split.folds), key=lambda fold: (len(fold), fold))
        for fold in [ALL, *(folds if split.split == "val" else [])]:
            chosen = [fold in (ALL, own) for own in split.folds]
            table = pd.DataFrame(describe(values[chosen]), index=columns)
            low, high = intervals if fold == ALL else (np.nan, np.nan)
            parts.append(
                table.assign(ci_low=low, ci_high=high, split=split.split, fold=fold).reset_index()
            )
    return pd.concat(parts, ignore_index=True)[KEYS + COUNTS + STATISTICS]


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
