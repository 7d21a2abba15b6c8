"""Figures of images and their label maps."""

from dataclasses import dataclass, field
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from segflow.files.labels import Labels
from segflow.images.palette import COLOURS, label_colours, label_names
from segflow.report.drawing import NAME_WIDTH, legend_below

GAP = 0.3  # between pairs of images, in widths of an image


@dataclass(frozen=True)
class Panel:
    """One case to show.

    Parameters
    ----------
    title : str
        What it is.
    channels : dict of str to ndarray
        Images by name, each of shape (z, y, x).
    label_maps : dict of str to ndarray of int
        Label maps by name; the first one is the reference and decides the slice.
    spacing_mm : tuple of float
        Spacing along (z, y, x).
    notes : dict of str to str
        What to say below label maps, by their names.
    """

    title: str
    channels: dict[str, np.ndarray]
    label_maps: dict[str, np.ndarray]
    spacing_mm: tuple[float, ...]
    notes: dict[str, str] = field(default_factory=dict)


def draw_pairs(pairs: list[tuple[str, np.ndarray, str, np.ndarray, bool]]) -> Figure:
    """Draw pairs of images beside each other.

    Parameters
    ----------
    pairs : list of (str, ndarray, str, ndarray, bool)
        Title and image, of shape (y, x), of the one and of the other; and whether the pair is to
        be marked.
    """
    n_columns = 3
    n_rows = max(1, -(-len(pairs) // n_columns))
    figure, grid = plt.subplots(
        n_rows,
        3 * n_columns - 1,
        figsize=(12, 2.5 * n_rows),
        width_ratios=[1, 1, *(GAP, 1, 1) * (n_columns - 1)],
        squeeze=False,
        layout="constrained",
    )
    for axis in grid.ravel():
        axis.axis("off")
    axes = np.delete(grid, np.s_[2::3], axis=1).ravel()  # the gaps between pairs stay empty
    if not pairs:
        axes[0].text(0, 0.5, "no near-duplicates", fontsize=12)
    for number, (name, image, other_name, other_image, marked) in enumerate(pairs):
        shown = zip(axes[2 * number :], ((name, image), (other_name, other_image)), strict=False)
        for axis, (title, array) in shown:
            axis.imshow(array, cmap="gray", interpolation="nearest")
            axis.set_title(title, fontsize=8, color=COLOURS[5] if marked else "black")
    return figure


def draw_steps(cases: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]) -> Figure:
    """Draw images after each step of their preparation, a row for each case.

    Parameters
    ----------
    cases : dict of str to (dict, dict)
        For each case its images by the name of the step, and the references whose contours are
        drawn, by the name of the step; all of shape (y, x).
    """
    n_columns = max((len(images) for images, _ in cases.values()), default=1)
    figure, grid = plt.subplots(
        max(1, len(cases)),
        n_columns,
        figsize=(2.2 * n_columns, 3.2 * max(1, len(cases))),
        squeeze=False,
        layout="constrained",
    )
    for axis in grid.ravel():
        axis.axis("off")
    for row, (name, (images, references)) in zip(grid, cases.items(), strict=False):
        for number, (axis, (step, image)) in enumerate(zip(row, images.items(), strict=False)):
            stride = max(1, image.shape[0] // 600)  # as many pixels as the figure can show
            axis.imshow(image[::stride, ::stride], cmap="gray", interpolation="nearest")
            if step in references and references[step].any():
                mask = references[step][::stride, ::stride]
                axis.contour(mask, [0.5], colors=COLOURS[1], linewidths=1)
            title = step.replace("_", " ")
            above = "" if number else "\n".join([*wrap(name, NAME_WIDTH), ""])
            axis.set_title(above + title, fontsize=9)
    return figure


def draw_cases(panels: list[Panel], labels: Labels) -> Figure:
    """Draw channels and label maps of cases side by side, in the slice with most reference.

    Parameters
    ----------
    panels : list of Panel
        The cases, one row each.
    labels : dict of str to int or list of int
        Labels of the data set, for the legend.
    """
    colours = {value: np.divide(colour, 255) for value, colour in label_colours(labels).items()}
    n_columns = len(panels[0].channels) + len(panels[0].label_maps)
    with plt.rc_context({"font.size": 10}):
        figure, axes = plt.subplots(
            len(panels),
            n_columns,
            figsize=(2.6 * n_columns, 2.9 * len(panels) + 0.4),
            squeeze=False,
            layout="constrained",
        )
        for row, panel in zip(axes, panels, strict=True):
            reference = next(iter(panel.label_maps.values()))
            place = int((reference > 0).sum((1, 2)).argmax())
            aspect = panel.spacing_mm[1] / panel.spacing_mm[2]
            background = next(iter(panel.channels.values()))[place]
            shown = [*panel.channels.items(), *panel.label_maps.items()]
            for axis, (name, array) in zip(row, shown, strict=True):
                image = array[place] if name in panel.channels else background
                axis.imshow(image, cmap="gray", aspect=aspect, interpolation="nearest")
                if name in panel.label_maps:
                    axis.imshow(_coloured(array[place], colours), aspect=aspect)
                axis.set_axis_off()
                above = [*wrap(name, NAME_WIDTH)] if panel is panels[0] else []
                axis.set_title("\n".join([*above, panel.notes.get(name, "")]).strip(), fontsize=9)
            row[0].text(
                -0.06,
                0.5,
                panel.title,
                transform=row[0].transAxes,
                rotation=90,
                ha="right",
                va="center",
                multialignment="center",
                fontsize=9,
            )
        names = label_names(labels)
        handles = [Patch(facecolor=colour, label=names[value]) for value, colour in colours.items()]
        legend_below(figure, handles, 6)
    return figure


def _coloured(label_map: np.ndarray, colours: dict[int, np.ndarray]) -> np.ndarray:
    """Return an RGBA image of a slice (y, x): labels coloured, background transparent."""
    image = np.zeros((*label_map.shape, 4))
    for value, colour in colours.items():
        image[label_map == value] = (*colour, 0.6)
    return image
