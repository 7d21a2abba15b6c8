"""Colours of figures, pages, previews and segments."""

from collections import Counter

from segflow.files.labels import Labels, foreground, foreground_values, single_values

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]


def on_dark(place: int) -> str:
    """Return the colour of a place on a dark ground, where white stands for black."""
    colour = COLOURS[place % len(COLOURS)]
    return "#FFFFFF" if colour == "#000000" else colour


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, from 0 to 255, of a colour like ``#0072B2``."""
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def label_colours(labels: Labels) -> dict[int, tuple[int, int, int]]:
    """Return red, green and blue, on an image, of each value that a label map may hold."""
    values = enumerate(foreground_values(labels), 1)
    return {value: rgb(on_dark(place)) for place, value in values}


def label_names(labels: Labels) -> dict[int, str]:
    """Return a name of every value but 0 of a label map.

    A value that is no label by itself is what remains of the smallest region that it is part of,
    as the oedema of BraTS is the rest of the whole tumour.
    """
    regions = foreground(labels)
    names = {value: name for name, value in single_values(labels).items()}
    smallest = {
        value: min(
            (name for name, values in regions.items() if value in values),
            key=lambda name: len(regions[name]),
        )
        for value in foreground_values(labels)
        if value not in names
    }
    alike = Counter(smallest.values())
    for value, region in smallest.items():
        rest = "rest of " * (alike[region] < len(regions[region]))
        names[value] = f"{rest}{region}" + f" ({value})" * (alike[region] > 1)
    return {value: names[value] for value in foreground_values(labels)}
