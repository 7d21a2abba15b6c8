"""Figures of the search for post-processing."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from segflow.images.palette import COLOURS
from segflow.report.drawing import STYLE, draw_message, draw_nothing

if TYPE_CHECKING:
    import pandas as pd


def draw_postprocessing(choice: dict, components: "pd.DataFrame", title: str) -> Figure:
    """Draw what thresholds of post-processing are worth, and the sizes of components.

    Parameters
    ----------
    choice : dict
        ``postprocessing.json``; see `segflow.predictors.postprocessing_search.search`.
    components : DataFrame
        ``components.csv``; see `segflow.predictors.component_tables.describe_components`.
    title : str
        Title of the figure.
    """
    scopes = list(choice["searched"]["scopes"])
    if not scopes:
        return draw_message(f"{title}: no validation cases to search post-processing on.")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(scopes),
            3,
            figsize=(12, 2.6 * len(scopes) + 0.8),
            squeeze=False,
            layout="constrained",
        )
        for row, scope in zip(axes, scopes, strict=True):
            for axis, operation in zip(row, ("fill_holes", "drop_small"), strict=False):
                _draw_thresholds(axis, choice, scope, operation)
            _draw_sizes(row[2], components[components["scope"] == scope])
            row[0].set_ylabel(f"{scope}\nchange of the objective")
            row[2].set_ylabel("pieces")
        for axis, text in zip(
            axes[0], ("fill holes up to", "drop components below", "sizes before"), strict=True
        ):
            axis.set_title(text, fontsize=10)
        for axis in axes[-1]:
            axis.set_xlabel("volume (mm³; area in mm² in 2D)")
        figure.suptitle(title, fontweight="bold")
    return figure


def _draw_thresholds(axis: Axes, choice: dict, scope: str, operation: str) -> None:
    """Draw the change of the objective against the threshold, when the step's turn came."""
    tried = [trial for trial in choice["trials"] if trial["scope"] == scope]
    own = [trial for trial in tried if trial["operation"] == operation]
    if not own:
        draw_nothing(axis, "nothing to try")
        return
    # There is a second curve where another step of the scope was adopted before: the one that
    # decided is shown.
    shown = next((trial["after"] for trial in own if trial["adopted"]), own[0]["after"])
    curve = [trial for trial in own if trial["after"] == shown]
    volumes, rises = zip(*((t["parameter"], t["objective"]) for t in curve), strict=True)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.semilogx(volumes, rises, ".-", color=COLOURS[0])
    harmful = [t for t in curve if any(change < 0 for change in t["dice"].values())]
    points = [t["parameter"] for t in harmful], [t["objective"] for t in harmful]
    axis.plot(*points, "x", color=COLOURS[5], label="lowers a label" if harmful else None)
    for trial in (trial for trial in curve if trial["adopted"]):
        point = trial["parameter"], trial["objective"]
        axis.plot(*point, "o", color=COLOURS[2], markersize=10, fillstyle="none")
        place = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 9}
        axis.annotate(f"{trial['parameter']:g}", point, **place)
    axis.margins(x=0.1, y=0.25)
    limits = axis.get_ylim()  # of the curve: keeping too few components may lose far more
    kept = [trial for trial in tried if trial["operation"] == "keep_largest"]
    for trial in kept if operation == "drop_small" else []:
        if trial["after"] == kept[0]["after"]:
            colour = COLOURS[(trial["parameter"] + 2) % len(COLOURS)]
            text = f"keep {trial['parameter']}: {trial['objective']:+.2g}"
            text += ", adopted" * trial["adopted"]
            axis.axhline(trial["objective"], color=colour, linestyle="--", label=text)
    axis.set_ylim(limits)
    # Within a decade there may be no power of ten to read.
    steps = (1, 2, 5) if max(volumes) < 30 * min(volumes) else (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=steps))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.ticklabel_format(axis="y", scilimits=(-2, 3))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7)


def _draw_sizes(axis: Axes, pieces: "pd.DataFrame") -> None:
    """Draw histograms of the volumes of true and false components, and of holes."""
    if not len(pieces):
        draw_nothing(axis, "none")
        return
    low, high = pieces["volume_mm3"].min(), pieces["volume_mm3"].max()
    bins = np.geomspace(0.9 * low, 1.1 * high, 25)
    component = pieces["kind"] == "component"
    false = pieces["overlap_voxels"] == 0
    kinds = {
        "true components": (component & ~false, COLOURS[2]),
        "false components": (component & false, COLOURS[5]),
        "holes": (~component, COLOURS[3]),
    }
    chosen = {text: kind for text, kind in kinds.items() if kind[0].any()}
    axis.hist(
        [pieces.loc[rows, "volume_mm3"] for rows, _ in chosen.values()],
        bins=bins,
        stacked=True,
        color=[colour for _, colour in chosen.values()],
        label=[f"{text} ({rows.sum()})" for text, (rows, _) in chosen.items()],
    )
    axis.set_xscale("log")
    axis.legend(fontsize=7)
