"""Figures of how models train, and of ways to predict with them."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from segflow.images.palette import COLOURS
from segflow.report.drawing import STYLE, cycle_colours, legend_below

if TYPE_CHECKING:
    import pandas as pd


def draw_training(progress: "dict[int, pd.DataFrame]", title: str) -> Figure:
    """Draw loss, score, learning rate and seconds per epoch of every fold; of a head, its classes.

    Parameters
    ----------
    progress : dict of int to DataFrame
        The ``progress.csv`` of each fold.
    title : str
        Title of the figure.
    """
    with plt.rc_context(STYLE):
        has_head = any("entropy" in table for table in progress.values())
        n_panels = 6 if has_head else 4
        figure, axes = plt.subplots(
            1, n_panels, figsize=(3.5 * n_panels, 3.4), layout="constrained"
        )
        for colour, (fold, table) in zip(
            cycle_colours(len(progress)), progress.items(), strict=True
        ):
            epoch = table["epoch"] + 1
            axes[0].plot(epoch, table["train_loss"], color=colour, label=f"fold {fold}")
            axes[0].plot(epoch, table["val_loss"], color=colour, linestyle=":")
            axes[1].plot(epoch, table["score"], color=colour, alpha=0.35)
            axes[1].plot(epoch, table["score_average"], color=colour, label=f"fold {fold}")
            axes[2].plot(epoch, table["learning_rate"], color=colour)
            axes[3].plot(epoch, table["seconds"], color=colour)
            if has_head:
                axes[4].plot(epoch, table["class_loss"], color=colour)
                axes[4].plot(epoch, table["val_class_loss"], color=colour, linestyle=":")
                recalls = table.filter(like="recall_")
                axes[5].plot(epoch, recalls.mean(axis=1), color=colour)
                axes[5].plot(epoch, table["entropy"], color=colour, linestyle=":")
        names = sorted({name for table in progress.values() for name in table["score_name"]})
        labels = [
            "loss (training solid, validation dotted)",
            f"{' and '.join(names)} (pale) and moving average",
            "learning rate",
            "seconds per epoch",
            "class loss (validation dotted)",
            "mean recall (entropy dotted)",
        ]
        for axis, label in zip(axes, labels, strict=False):
            axis.set_title(label, fontsize=10)
            axis.set_xlabel("epoch")
        axes[3].set_ylim(bottom=0)
        axes[2].set_ylim(bottom=0)
        axes[0].legend(fontsize=9)
        figure.suptitle(title, fontweight="bold")
    return figure


def draw_learning_curves(progress: "dict[str, list[pd.DataFrame]]") -> Figure:
    """Draw the scores of several models against their epochs and the time that they took.

    Parameters
    ----------
    progress : dict of str to list of DataFrame
        The ``progress.csv`` of each fold, by the title of the model.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True, layout="constrained")
        for colour, (title, tables) in zip(
            cycle_colours(len(progress)), progress.items(), strict=True
        ):
            shares = np.linspace(0, 1, 101)
            scores = np.array(
                [np.interp(shares, (t["epoch"] + 1) / len(t), t["score_average"]) for t in tables]
            )
            seconds = np.mean(
                [
                    np.interp(shares, (t["epoch"] + 1) / len(t), t["seconds"].cumsum())
                    for t in tables
                ],
                axis=0,
            )
            names = " and ".join(sorted({name for t in tables for name in t["score_name"]}))
            for axis, place in zip(axes, (100 * shares, seconds), strict=True):
                axis.plot(place, scores.mean(0), color=colour, label=f"{title} ({names})")
                axis.fill_between(
                    place, scores.min(0), scores.max(0), color=colour, alpha=0.2, linewidth=0
                )
        axes[0].set_xlabel("percent of the epochs")
        axes[1].set_xlabel("seconds of a fold")
        axes[1].set_xscale("log")
        axes[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[1].xaxis.set_major_formatter("{x:.0f}")
        axes[1].xaxis.set_minor_formatter(NullFormatter())
        axes[0].set_ylabel("score, moving average")
        axes[0].set_ylim(0, 1)
        legend_below(figure, axes[0].get_legend_handles_labels()[0], 2)
    return figure


def draw_inference(settings: "pd.DataFrame", titles: dict[str, str]) -> Figure:
    """Draw the Dice that ways to predict lose against the seconds that they take.

    Parameters
    ----------
    settings : DataFrame
        See `segflow.evaluation.inference.summarise`.
    titles : dict of str to str
        Titles of the models.
    """
    models = list(titles)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(models), figsize=(6 * len(models), 4.6), layout="constrained", squeeze=False
        )
        for axis, model in zip(axes[0], models, strict=True):
            own = settings[settings["model"] == model].sort_values("seconds")
            frontier = own[own["frontier"]]
            axis.plot(frontier["seconds"], -frontier["lost"], color=COLOURS[0], alpha=0.5)
            for row in own.itertuples():
                colour = COLOURS[0] if row.frontier else COLOURS[1]
                ends = [[row.high - row.lost], [row.lost - row.low]]
                known = np.isfinite(ends).all()
                axis.errorbar(
                    row.seconds, -row.lost, ends if known else None, color=colour, marker="o"
                )
                name = row.setting.replace("_", " ")
                said = f"{name} ({row.proposed})" if isinstance(row.proposed, str) else name
                axis.annotate(
                    said,
                    (row.seconds, -row.lost),
                    (5, 5),
                    textcoords="offset points",
                    fontsize=8,
                    color=colour,
                )
            axis.axhline(0, color="0.5", linewidth=0.8)
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_xlabel("seconds a case")
            axis.set_title(titles[model], fontsize=10)
        axes[0, 0].set_ylabel("change of Dice (points)")
        handles = [
            Line2D([], [], color=COLOURS[0], marker="o", label="on the frontier"),
            Line2D([], [], color=COLOURS[1], marker="o", linestyle="", label="not on it"),
        ]
        legend_below(figure, handles, 2)
    return figure
