"""How well classes are told among parts of the cases: those of one sex, range of ages, site, ..."""

import numpy as np
import pandas as pd

from segflow.evaluation.classification import COLUMNS as MEASURES
from segflow.evaluation.classification import summarise_classes

COLUMNS = ["subgroup", "of", *MEASURES]


def summarise_classes_by_subgroup(
    cases: list[str],
    truth: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
    subgroups: dict[tuple[str, str], list[str]],
    groups: dict[str, str],
    seed: int,
) -> pd.DataFrame:
    """Measure a classifier on each subgroup as `summarise_classes` does on all cases.

    Parameters
    ----------
    cases : list of str
        Names of the cases.
    truth : ndarray of int
        Of shape (cases,): the place of the class of each case.
    probabilities : ndarray of float
        Of shape (cases, classes), each row with the sum 1.
    classes : list of str
        Names of the classes.
    subgroups : dict of (str, str) to list of str
        See `segflow.datasets.subgroups.divide`.
    groups : dict of str to str
        Group of each case.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        The rows of `segflow.evaluation.classification.summarise_classes` after the columns
        ``subgroup``, a column of ``cases.csv``, and ``of``, its value. A subgroup without any of
        the cases has no rows.
    """
    parts = [pd.DataFrame(columns=COLUMNS)]
    for (column, value), members in subgroups.items():
        chosen = np.isin(cases, members)
        if chosen.any():
            of_case = np.array([groups[case] for case in np.array(cases)[chosen]])
            table = summarise_classes(truth[chosen], probabilities[chosen], classes, of_case, seed)
            parts.append(table.assign(subgroup=column, of=value)[COLUMNS])
    return pd.concat(parts[1:], ignore_index=True) if parts[1:] else parts[0]
