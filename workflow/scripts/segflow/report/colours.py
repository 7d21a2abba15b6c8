"""Colours of figures and pages, and of labels wherever they are shown."""

from segflow.files.labels import Labels, foreground_values, single_values

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]


def on_dark(place: int) -> str:
    """Return the colour of a place in the palette, on a dark background."""
    colour = COLOURS[place % len(COLOURS)]
    return "#FFFFFF" if colour == "#000000" else colour


def label_colours(labels: Labels) -> dict[int, list[int]]:
    """Return red, green and blue, each from 0 to 255, of every value but 0 of a label map."""
    colours = {value: on_dark(place + 1) for place, value in enumerate(foreground_values(labels))}
    return {
        value: [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        for value, colour in colours.items()
    }


def label_names(labels: Labels) -> dict[int, str]:
    """Return the name of every value but 0 of a label map; those of regions alone have none."""
    single = {value: name for name, value in single_values(labels).items()}
    return {value: single.get(value, f"value {value}") for value in foreground_values(labels)}
