"""Summaries of parts of the cases: those of one class, sex, site, ..."""

import pandas as pd

from segflow.evaluation.summaries import ALL, COUNTS, STATISTICS, SplitMetrics, summarise
from segflow.evaluation.summaries import KEYS as SUMMARY_KEYS

KEYS = ["subgroup", "value", *(key for key in SUMMARY_KEYS if key != "fold")]
COLUMNS = [*KEYS, *COUNTS, *STATISTICS]


def summarise_subgroups(
    splits: list[SplitMetrics],
    subgroups: dict[tuple[str, str], list[str]],
    groups: dict[str, str],
    seed: int,
) -> pd.DataFrame:
    """Summarise each subgroup as `segflow.evaluation.summaries.summarise` does all cases.

    Parameters
    ----------
    splits : list of SplitMetrics
        See `segflow.evaluation.summaries.arrange`.
    subgroups : dict of (str, str) to list of str
        See `segflow.datasets.subgroups.divide`.
    groups : dict of str to str
        Group of each case.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        The rows over all folds, after the columns ``subgroup``, a column of ``cases.csv``, and its
        ``value``. A split in which a subgroup has no case has no rows of it.
    """
    parts = [pd.DataFrame(columns=COLUMNS)]
    for (column, value), cases in subgroups.items():
        chosen = [split.of_cases(cases) for split in splits if not {*cases}.isdisjoint(split.cases)]
        if chosen:
            table = summarise(chosen, groups, seed).assign(subgroup=column, value=value)
            parts.append(table.loc[table["fold"] == ALL, COLUMNS])
    return pd.concat(parts[1:], ignore_index=True) if parts[1:] else parts[0]
