"""Colours of figures, pages, previews and segments."""

from collections import Counter

from segflow.files.labels import Labels, foreground, foreground_values, single_values

# Okabe and Ito's palette, which people with any colour vision can tell apart. Then, for abdomens of
# many organs, colours that lie as far as possible from these, white, grey and each other in CIELAB,
# as seen with and (Machado et al. 2009, doi:10.1109/TVCG.2009.113) without red or green.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]
COLOURS += ["#0000FF", "#6969FF", "#782D1E", "#00F087", "#870069", "#6900A5", "#7896FF", "#F0B4B4"]
COLOURS += ["#3CE1F0", "#B4A54B", "#D20F4B", "#96F069", "#87003C", "#D200B4", "#784B00", "#1E1ED2"]


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
