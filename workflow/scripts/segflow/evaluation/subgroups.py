"""Summaries of parts of the cases: those of one class, sex, site, ..."""

from collections.abc import Iterable

import pandas as pd

from segflow.evaluation.summaries import ALL, COUNTS, STATISTICS, SplitMetrics, summarise
from segflow.evaluation.summaries import KEYS as SUMMARY_KEYS
from segflow.files.cases import Case

CLASS = "class_label"
UNKNOWN = "unknown"
MAX_VALUES = 12  # of one column: more are numbers or names, and no table of them says anything
KEYS = ["subgroup", "value", *(key for key in SUMMARY_KEYS if key != "fold")]
COLUMNS = [*KEYS, *COUNTS, *STATISTICS]


def divide(cases: Iterable[Case], columns: list[str]) -> dict[tuple[str, str], list[str]]:
    """Divide cases by what columns of their table say of them.

    Parameters
    ----------
    cases : iterable of Case
        The cases.
    columns : list of str
        ``class_label``, or covariates.

    Returns
    -------
    dict of (str, str) to list of str
        The cases of each column and value, values sorted; ``unknown`` is that of cases which have
        none.

    Raises
    ------
    ValueError
        If there is no such column, or it has more than `MAX_VALUES` values.
    """
    cases = list(cases)
    known = [CLASS, *sorted({name for case in cases for name in case.covariates})]
    found: dict[tuple[str, str], list[str]] = {}
    for column in columns:
        if column not in known:
            raise ValueError(
                f"subgroups: cases.csv has no column {column!r} that divides the cases; those that "
                f"do are {', '.join(known)}"
            )
        values = {
            case.case: (case.class_label if column == CLASS else case.covariates.get(column))
            or UNKNOWN
            for case in cases
        }
        different = sorted(set(values.values()), key=lambda value: (value == UNKNOWN, value))
        if len(different) > MAX_VALUES:
            raise ValueError(
                f"subgroups: column {column!r} of cases.csv has {len(different)} values "
                f"({', '.join(different[:3])}, ...), allowed are {MAX_VALUES}; give the data set a "
                "column of their ranges"
            )
        for value in different:
            found[column, value] = [case for case, own in values.items() if own == value]
    return found


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
        See `divide`.
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
