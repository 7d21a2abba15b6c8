"""Parts of the cases whose results are summarised by themselves: one class, sex, site, ..."""

from collections.abc import Iterable

from segflow.files.cases import Case

CLASS = "class_label"
UNKNOWN = "unknown"
MAX_VALUES = 12  # of one column: more are numbers or names, and no table of them says anything


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
