"""Labels and regions, as a data set's description declares them.

A label has one value; a region, as in BraTS, is a list of values that count together. The label
``ignore`` marks what nobody annotated: no loss, metric or figure looks at it.
"""

from typing import Any

IGNORE = "ignore"
Labels = dict[str, int | list[int]]


def foreground(labels: Labels) -> dict[str, list[int]]:
    """Return the values of each label or region but the background and what is ignored."""
    return {
        name: value if isinstance(value, list) else [value]
        for name, value in labels.items()
        if name not in ("background", IGNORE)
    }


def label_values(labels: Labels) -> list:
    """Return the values without the names: sorted or, of regions, in their order.

    The order of regions is that of a network's outputs.
    """
    values = list(labels.values())
    return values if any(isinstance(value, list) for value in values) else sorted(values)


def foreground_values(labels: Labels) -> list[int]:
    """Return all values but 0 that a predicted label map may hold, sorted."""
    return sorted({value for values in foreground(labels).values() for value in values})


def single_values(labels: Labels) -> dict[str, int]:
    """Return the value of each label that a mask can show; regions of several values have none."""
    found = {name: values[0] for name, values in foreground(labels).items() if len(values) == 1}
    ignored = ignored_value(labels)
    return found if ignored is None else found | {IGNORE: ignored}


def plain_name(name: str) -> str:
    """Return a name as names of labels and segments are compared: without case and blanks."""
    return "".join(str(name).split()).casefold()


def ignored_value(labels: Labels) -> int | None:
    """Return the value of voxels that nobody annotated, if the labels have one."""
    value = labels.get(IGNORE)
    return value if isinstance(value, int) else None


def blank_ignored(labels: Labels, reference: Any, *predictions: Any) -> int:
    """Make background, in place, of what the reference does not annotate.

    Parameters
    ----------
    labels : mapping of str to int or list of int
        Labels of the data set.
    reference, *predictions : ndarray of int
        Label maps of one shape.

    Returns
    -------
    int
        Number of voxels that are ignored.
    """
    value = ignored_value(labels)
    if value is None:
        return 0
    ignored = reference == value
    for label_map in (reference, *predictions):
        label_map[ignored] = 0
    return int(ignored.sum())
