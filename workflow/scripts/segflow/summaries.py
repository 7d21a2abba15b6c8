"""Summaries of per-case metrics."""

import math
from pathlib import Path

import pandas as pd

KEYS = ["predictor", "split", "stage", "label", "metric"]
STATISTICS = ["n", "n_undefined", "mean", "sd", "median", "min", "max"]


def summarise(metrics: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Summarise per-case metrics over cases, for each label and for all labels together.

    Parameters
    ----------
    metrics : DataFrame
        One row for each predictor, split, stage, case and label, with the metrics as columns.
    names : list of str
        Metrics to summarise.

    Returns
    -------
    DataFrame
        One row for each predictor, split, stage, label and metric: the number of cases in which
        the metric is defined (``n``) and in which it is not (``n_undefined``), mean, sample
        standard deviation, median, minimum and maximum. The label ``all`` is, case by case, the
        mean over the labels in which the metric is defined.
    """
    keys = ["predictor", "split", "stage", "case"]
    together = metrics.groupby(keys, sort=False)[names].mean().reset_index().assign(label="all")
    tidy = pd.concat([metrics, together], ignore_index=True).melt(
        id_vars=["predictor", "split", "stage", "label"], value_vars=names, var_name="metric"
    )
    groups = tidy.groupby(KEYS, sort=False)["value"]
    summary = pd.DataFrame(
        {
            "n": groups.count(),
            "n_undefined": groups.size() - groups.count(),
            "mean": groups.mean(),
            "sd": groups.std(),
            "median": groups.median(),
            "min": groups.min(),
            "max": groups.max(),
        }
    )
    return summary.reset_index()[KEYS + STATISTICS]


def before_and_after(summary: pd.DataFrame, metric: str, split: str) -> pd.DataFrame:
    """Set the stages before and after post-processing side by side, as text for a reader.

    Parameters
    ----------
    summary : DataFrame
        See `summarise`.
    metric : str
        The metric to show.
    split : str
        ``val`` or ``test``.

    Returns
    -------
    DataFrame
        One row for each predictor and label: n, and mean and standard deviation before and after.
    """
    chosen = summary[(summary["metric"] == metric) & (summary["split"] == split)].copy()
    chosen["text"] = [
        "-" if math.isnan(mean) else f"{mean:.3f}" + ("" if math.isnan(sd) else f" ± {sd:.3f}")
        for mean, sd in zip(chosen["mean"], chosen["sd"], strict=True)
    ]
    rows = {}
    for row in chosen.itertuples():
        entry = rows.setdefault((row.predictor, row.label), {"n": row.n})
        entry["before" if row.stage == "raw" else "after"] = row.text
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["predictor", "label"])
    return table.reset_index()


def read_metrics(tables: dict[str, Path]) -> pd.DataFrame:
    """Read the metrics of several predictors into one table.

    Parameters
    ----------
    tables : dict of str to Path
        The ``metrics.csv`` of each predictor.
    """
    # Names may look like numbers or like missing values.
    names = dict.fromkeys(["split", "stage", "fold", "case", "label"], str)
    parts = [
        pd.read_csv(path, dtype=names, keep_default_na=False, na_values=[""]).assign(predictor=name)
        for name, path in tables.items()
    ]
    return pd.concat(parts, ignore_index=True)
