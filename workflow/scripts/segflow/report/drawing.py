"""What all figures share: their style, colours and files."""

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from segflow.files.content import replacing
from segflow.images.palette import COLOURS

STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
SPLIT_TITLES = {"val": "cross-validation", "test": "test cases"}
NAME_WIDTH = 30  # characters of a name in a line above a picture


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the date and version that would make equal figures differ."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=140, metadata={"Software": None})
    plt.close(figure)


def draw_message(text: str) -> Figure:
    """Draw a figure that says why there is nothing to see."""
    figure = plt.figure(figsize=(6, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def draw_panels(
    labels: list[str],
    splits: list[str],
    predictors: list[str],
    draw: Callable[[Axes, str, str], None],
    height: float,
) -> tuple[Figure, np.ndarray]:
    """Draw a panel for each label (row) and split (column), with a legend of predictors."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(labels),
            len(splits),
            figsize=(5.5 * len(splits), height * len(labels) + 0.6),
            squeeze=False,
            layout="constrained",
        )
        for row, label in zip(axes, labels, strict=True):
            for axis, split in zip(row, splits, strict=True):
                axis.set_title(f"{label}, {SPLIT_TITLES[split]}", fontsize=10)
                draw(axis, label, split)
        handles = [
            Line2D([], [], marker="o", color=colour, label=predictor)
            for colour, predictor in zip(cycle_colours(len(predictors)), predictors, strict=True)
        ]
        legend_below(figure, handles, 4)
    return figure, axes


def legend_below(figure: Figure, handles: list[Artist], most_columns: int) -> None:
    """Draw a legend below all axes, in as many columns as the width of the figure holds."""
    for n_columns in range(min(most_columns, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=n_columns)
        if n_columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def draw_nothing(axis: Axes, text: str) -> None:
    """Say in an axis why it is empty."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", color="grey")


def cycle_colours(count: int) -> list[str]:
    """Return as many colours, in the order in which predictors have them."""
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
