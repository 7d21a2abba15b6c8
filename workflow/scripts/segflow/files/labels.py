"""Labels and regions, as a data set's description declares them.

A label has one value; a region, as in BraTS, is a list of values that count together.
"""

Labels = dict[str, int | list[int]]


def foreground(labels: Labels) -> dict[str, list[int]]:
    """Return the values of each label or region but the background."""
    return {
        name: value if isinstance(value, list) else [value]
        for name, value in labels.items()
        if name != "background"
    }


def label_values(labels: Labels) -> list:
    """Return the values without the names: sorted or, of regions, in their order.

    The order of regions is that of a network's outputs.
    """
    values = list(labels.values())
    return values if any(isinstance(value, list) for value in values) else sorted(values)


def foreground_values(labels: Labels) -> list[int]:
    """Return all values but 0 that a label map may hold, sorted."""
    return sorted({value for values in foreground(labels).values() for value in values})


def single_values(labels: Labels) -> dict[str, int]:
    """Return the value of each label but the background; regions of several values have none."""
    return {name: values[0] for name, values in foreground(labels).items() if len(values) == 1}
