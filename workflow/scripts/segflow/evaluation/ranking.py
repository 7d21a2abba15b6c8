"""Ranks of predictors over several data sets."""

import numpy as np
import pandas as pd
from scikit_posthocs import posthoc_nemenyi_friedman
from scipy.stats import friedmanchisquare, studentized_range

from segflow.evaluation.summaries import ALL, SPLITS

METRIC = "dice"
ALPHA = 0.05
MIN_DATASETS, MIN_PREDICTORS = 2, 3
COLUMNS = ["split", "predictor", "n_datasets", "mean", "mean_rank"]
TEST = ["statistic", "p", "critical_difference", "note"]


def rank(summaries: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Rank predictors by their mean Dice after post-processing, over data sets.

    Parameters
    ----------
    summaries : dict of str to DataFrame
        The ``summary.csv`` of each data set.

    Returns
    -------
    DataFrame
        For each split that two data sets or more have, one row for each predictor, best first:
        number of data sets, mean over them, mean rank (1 is best, equal means share a rank),
        statistic and p of Friedman's test, the critical difference of mean ranks at 5 %, and
        ``nemenyi_NAME``, the p of the difference to another predictor by Nemenyi's test. A data
        set in which a predictor has no defined Dice is left out. Where a test is impossible,
        there is one row for the split, and ``note`` says why.

    References
    ----------
    Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006) 1-30.
    """
    tables = []
    for split in SPLITS:
        means = _means(summaries, split)
        if len(means) < MIN_DATASETS or means.shape[1] < MIN_PREDICTORS:
            note = (
                f"a ranking needs {MIN_DATASETS} data sets and {MIN_PREDICTORS} predictors, here "
                f"are {len(means)} and {means.shape[1]}"
            )
            tables.append(pd.DataFrame({"split": [split], "note": [note]}))
            continue
        ranks = means.rank(axis=1, ascending=False)
        statistic, p = _friedman(means)
        table = pd.DataFrame(
            {
                "split": split,
                "n_datasets": len(means),
                "mean": means.mean(),
                "mean_rank": ranks.mean(),
                "statistic": statistic,
                "p": p,
                "critical_difference": critical_difference(means.shape[1], len(means)),
            }
        )
        pairs = posthoc_nemenyi_friedman(means.to_numpy())
        pairs.index, pairs.columns = means.columns, [f"nemenyi_{name}" for name in means.columns]
        table = table.join(pairs).rename_axis("predictor").reset_index()
        tables.append(table.sort_values(["mean_rank", "predictor"]))
    found = pd.concat(tables, ignore_index=True)
    return found.reindex(columns=[*COLUMNS, *TEST, *found.columns.difference([*COLUMNS, *TEST])])


def critical_difference(n_predictors: int, n_datasets: int) -> float:
    """Return the difference of mean ranks from which on Nemenyi's test rejects at 5 %."""
    quantile = studentized_range.ppf(1 - ALPHA, n_predictors, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(n_predictors * (n_predictors + 1) / (6 * n_datasets)))


def _means(summaries: dict[str, pd.DataFrame], split: str) -> pd.DataFrame:
    """Return the mean Dice of each predictor (columns) in each data set (rows)."""
    rows = {}
    for dataset, summary in sorted(summaries.items()):
        chosen = summary[
            (summary["split"] == split)
            & (summary["stage"] == "postprocessed")
            & (summary["fold"] == ALL)
            & (summary["label"] == ALL)
            & (summary["metric"] == METRIC)
            & summary["published"].isna()
        ]
        if len(chosen):
            rows[dataset] = chosen.set_index("predictor")["mean"]
    return pd.DataFrame(rows).T.sort_index(axis=1).dropna()


def _friedman(means: pd.DataFrame) -> tuple[float, float]:
    """Return statistic and p of Friedman's test; 0 and 1 if all predictors are equal."""
    if (means.nunique(axis=1) == 1).all():
        return 0.0, 1.0
    return tuple(map(float, friedmanchisquare(*means.to_numpy().T)))
