"""Figures of the report."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.ndimage import gaussian_filter

from segflow.evaluation.metrics import AREAS, VOLUMES
from segflow.files.content import replacing
from segflow.files.labels import Labels, foreground_values
from segflow.files.words import counted
from segflow.images.palette import COLOURS

if TYPE_CHECKING:
    import pandas as pd

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
SMOOTHED_MM = 3.0  # standard deviation, of maps whose single voxels say little
MAX_PAIRS = 45  # rows of a figure that can still be read


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


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the date and version that would make equal figures differ."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=140, metadata={"Software": None})
    plt.close(figure)


GAP = 0.3  # between pairs of images, in widths of an image


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


def draw_brains(
    scores: dict[str, float], sheets: dict[str, np.ndarray], least_score: float
) -> Figure:
    """Draw the scores of registrations above the contact sheets of some.

    Parameters
    ----------
    scores : dict of str to float
        Score of each case.
    sheets : dict of str to ndarray
        Pictures of the cases to show, of shape (y, x, 3), in their order.
    least_score : float
        Lower scores are flagged.
    """
    n_columns = 3
    n_rows = max(1, -(-len(sheets) // n_columns))
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(15, 1.8 + 2.6 * n_rows), layout="constrained")
        grid = figure.add_gridspec(1 + n_rows, n_columns, height_ratios=[1.8, *[2.6] * n_rows])
        above = figure.add_subplot(grid[0, :])
        above.hist(list(scores.values()), bins=np.linspace(-1, 1, 101), color=COLOURS[0])
        above.axvline(least_score, color=COLOURS[5])
        above.set(xlabel="correlation with the template", ylabel="cases", xlim=(-1, 1))
        for number, (case, sheet) in enumerate(sheets.items()):
            axis = figure.add_subplot(grid[1 + number // n_columns, number % n_columns])
            axis.axis("off")
            axis.imshow(sheet)
            failed = scores[case] < least_score
            title = "\n".join(wrap(f"{case}: {scores[case]:.2f}", 2 * NAME_WIDTH))
            axis.set_title(title, fontsize=9, color=COLOURS[5] if failed else COLOURS[7])
    return figure


def find_centre(
    values: np.ndarray, brain: np.ndarray, spacing_mm: tuple[float, ...]
) -> tuple[int, ...]:
    """Return the voxel (z, y, x) of a brain where a map is farthest from 0, smoothed as drawn."""
    smooth = np.where(brain, np.abs(_smooth(values, spacing_mm)), -1)
    return tuple(map(int, np.unravel_index(smooth.argmax(), smooth.shape)))


def _smooth(values: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return gaussian_filter(values.astype(float), np.divide(SMOOTHED_MM, spacing_mm))


def draw_saliency(
    template: np.ndarray,
    maps: dict[str, tuple[np.ndarray, tuple[int, ...]]],
    places_mm: dict[str, tuple[float, ...]],
    spacing_mm: tuple[float, ...],
    title: str,
) -> Figure:
    """Draw three planes of maps over the template, a row for each map.

    Parameters
    ----------
    template : ndarray
        Of shape (z, y, x), with axes to right, anterior and superior.
    maps : dict of str to (ndarray, tuple of int)
        By title: a map of the template's shape, and the voxel (z, y, x) that the planes go through.
    places_mm : dict of str to tuple of float
        By title: where that is, in mm to right, anterior and superior.
    spacing_mm : tuple of float
        Along z, y, x.
    title : str
        What the maps are of.
    """
    names = ("z", "y", "x")
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(
            len(maps), 3, figsize=(9, 2.4 * len(maps) + 0.6), squeeze=False, layout="constrained"
        )
        for row, (about, (values, centre)) in zip(axes, maps.items(), strict=True):
            smooth = _smooth(values, spacing_mm)
            most = max(np.abs(smooth).max(), np.finfo(float).tiny)
            for axis, plane in zip(row, (2, 1, 0), strict=True):  # sagittal, coronal, axial
                grey, seen = (np.take(one, centre[plane], plane) for one in (template, smooth))
                down, across = (mm for place, mm in enumerate(spacing_mm) if place != plane)
                shown = {"origin": "lower", "aspect": down / across}
                axis.imshow(grey, cmap="gray", **shown)
                opacity = np.clip(np.abs(seen) / most, 0, 1)
                drawn = axis.imshow(
                    seen, cmap="RdBu_r", vmin=-most, vmax=most, alpha=opacity, **shown
                )
                at_mm = places_mm[about][2 - plane]
                axis.set_title(f"{names[plane]} = {at_mm:.0f} mm", fontsize=9)
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            row[0].set_ylabel(about, fontsize=9)
            figure.colorbar(drawn, ax=row, shrink=0.8, format="%.0e")
        figure.suptitle("\n".join(wrap(title, 3 * NAME_WIDTH)), fontsize=11)
    return figure


def draw_message(text: str) -> Figure:
    """Draw a figure that says why there is nothing to see."""
    figure = plt.figure(figsize=(6, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


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
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9
        )
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
        figure.legend(
            handles=[
                Line2D([], [], color=COLOURS[0], marker="o", label="on the frontier"),
                Line2D([], [], color=COLOURS[1], marker="o", linestyle="", label="not on it"),
            ],
            loc="outside lower center",
            ncols=2,
            fontsize=9,
        )
    return figure


def draw_metrics(metrics: "pd.DataFrame", metric: str, name: str) -> Figure:
    """Draw box plots of a metric for every predictor and label, with all cases as points.

    Parameters
    ----------
    metrics : DataFrame
        Rows with ``predictor``, ``split``, ``case``, ``label`` and the metric.
    metric : str
        Column to draw.
    name : str
        The metric as people read it.
    """
    splits = [split for split in SPLIT_TITLES if (metrics["split"] == split).any()]
    predictors = list(dict.fromkeys(metrics["predictor"]))
    labels = list(dict.fromkeys(metrics["label"]))
    width = 0.8 / len(predictors)
    generator = np.random.default_rng(0)
    with plt.rc_context(STYLE):
        size = (max(5, 1.1 * len(labels) * len(predictors)) * len(splits), 4.2)
        figure, axes = plt.subplots(
            1, len(splits), figsize=size, sharey=True, squeeze=False, layout="constrained"
        )
        for axis, split in zip(axes[0], splits, strict=True):
            part = metrics[metrics["split"] == split]
            for number, predictor in enumerate(predictors):
                colour = COLOURS[number % len(COLOURS)]
                positions = np.arange(len(labels)) + (number - (len(predictors) - 1) / 2) * width
                values = [
                    part.loc[(part["predictor"] == predictor) & (part["label"] == label), metric]
                    .dropna()
                    .to_numpy()
                    for label in labels
                ]
                axis.boxplot(
                    values,
                    positions=positions,
                    widths=0.8 * width,
                    showfliers=False,
                    patch_artist=True,
                    boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
                    medianprops={"color": "black"},
                    whiskerprops={"color": colour},
                    capprops={"color": colour},
                )
                for position, points in zip(positions, values, strict=True):
                    offsets = generator.uniform(-0.2, 0.2, len(points)) * width
                    axis.plot(position + offsets, points, ".", color=colour, markersize=3)
            axis.set_xticks(range(len(labels)), labels)
            axis.set_xlim(-0.6, len(labels) - 0.4)
            count = part["case"].nunique()
            axis.set_title(f"{SPLIT_TITLES[split]} ({count} case{'s' * (count > 1)})", fontsize=10)
            axis.grid(axis="x", visible=False)
        axes[0, 0].set_ylabel(name)
        handles = [
            Patch(facecolor=COLOURS[number % len(COLOURS)], alpha=0.5, label=predictor)
            for number, predictor in enumerate(predictors)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def draw_agreement(metrics: "pd.DataFrame", agreement: "pd.DataFrame") -> Figure:
    """Draw differences of predicted and true volumes against their means (Bland and Altman).

    Parameters
    ----------
    metrics : DataFrame
        Rows with ``predictor``, ``split``, ``label`` and volumes (areas of 2D images) of reference
        and prediction; of one stage.
    agreement : DataFrame
        Rows of the same; see `segflow.evaluation.agreement.volume_agreement`. Bias and limits are
        drawn as lines in the colour of the predictor.
    """
    unit = agreement["unit"].iloc[0]
    names = VOLUMES if unit == "mL" else AREAS

    def draw(axis: Axes, label: str, split: str) -> None:
        points, lines = (
            table[(table["label"] == label) & (table["split"] == split)]
            for table in (metrics, agreement)
        )
        axis.axhline(0, color="black", linewidth=0.8)
        for colour, predictor in zip(cycle_colours(len(predictors)), predictors, strict=True):
            reference, prediction = (
                points.loc[points["predictor"] == predictor, name] for name in names
            )
            axis.plot((reference + prediction) / 2, prediction - reference, ".", color=colour)
            for limits in lines[lines["predictor"] == predictor].itertuples():
                axis.axhline(limits.bias, color=colour)
                for value in (limits.limit_low, limits.limit_high):
                    axis.axhline(value, color=colour, linestyle="--", linewidth=1)

    labels, splits, predictors = _panels(agreement)
    figure, axes = draw_panels(labels, splits, predictors, draw, 2.6)
    for axis in axes[:, 0]:
        axis.set_ylabel(f"prediction minus\nreference ({unit})")
    for axis in axes[-1]:
        axis.set_xlabel(f"mean of both ({unit})")
    return figure


def draw_reliability(calibration: "pd.DataFrame", reliability: "pd.DataFrame") -> Figure:
    """Draw the share of a label against its probability, a panel for each label and split.

    Parameters
    ----------
    calibration, reliability : DataFrame
        See `segflow.evaluation.reliability.summarise_calibration`; of one domain.
    """

    def draw(axis: Axes, label: str, split: str) -> None:
        axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        for colour, predictor in zip(cycle_colours(len(predictors)), predictors, strict=True):
            bins, whole = (
                table[
                    (table["label"] == label)
                    & (table["split"] == split)
                    & (table["predictor"] == predictor)
                ]
                for table in (reliability, calibration)
            )
            axis.plot(bins["probability"], bins["observed"], color=colour, linewidth=1)
            sizes = 4 + 150 * np.sqrt(bins["share"])
            axis.scatter(bins["probability"], bins["observed"], sizes, color=colour, alpha=0.5)
            errors[label, split].extend(f"{value:.3f}" for value in whole["ece"])
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")

    labels, splits, predictors = _panels(calibration)
    errors = {(label, split): [] for label in labels for split in splits}
    figure, axes = draw_panels(labels, splits, predictors, draw, 3.6)
    for (label, split), found in errors.items():
        axis = axes[labels.index(label), splits.index(split)]
        axis.set_title(f"{axis.get_title()}\nECE {', '.join(found)}", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("probability")
    for axis in axes[:, 0]:
        axis.set_ylabel("share that belongs to the label")
    return figure


def draw_froc(points: "pd.DataFrame", curves: "pd.DataFrame") -> Figure:
    """Draw FROC curves, with intervals at the operating points, for each label and split.

    Parameters
    ----------
    points, curves : DataFrame
        See `segflow.evaluation.froc.froc`.
    """
    points = points[points["false_positives_per_case"] != "mean"]
    points = points.assign(at=points["false_positives_per_case"].astype(float))
    low, high = points["at"].min(), points["at"].max()

    def draw(axis: Axes, label: str, split: str) -> None:
        for number, (colour, predictor) in enumerate(
            zip(cycle_colours(len(predictors)), predictors, strict=True)
        ):
            curve, at = (
                table[
                    (table["label"] == label)
                    & (table["split"] == split)
                    & (table["predictor"] == predictor)
                ]
                for table in (curves, points)
            )
            x = [0, *curve["false_positives_per_case"], high]
            y = [0, *curve["sensitivity"], *curve["sensitivity"].tail(1), *([0] * curve.empty)]
            axis.step(x, y, where="post", color=colour)
            beside = at["at"] * 1.04**number  # intervals of predictors do not hide each other
            axis.vlines(beside, at["sensitivity_low"], at["sensitivity_high"], color=colour)
            axis.plot(beside, at["sensitivity"], "o", color=colour, markersize=4)
        axis.set_xscale("log", base=2)
        axis.set(xlim=(low / 1.2, high * 1.2), ylim=(-0.03, 1.03))
        axis.set_xticks(sorted(set(points["at"])), ["1/8", "1/4", "1/2", "1", "2", "4", "8"])

    labels, splits, predictors = _panels(points)
    figure, axes = draw_panels(labels, splits, predictors, draw, 3.2)
    for axis in axes[-1]:
        axis.set_xlabel("false positives per case")
    for axis in axes[:, 0]:
        axis.set_ylabel("sensitivity")
    return figure


def _panels(table: "pd.DataFrame") -> tuple[list[str], list[str], list[str]]:
    """Return the labels, splits and predictors of a table, in the order in which they are drawn."""
    splits = [split for split in SPLIT_TITLES if (table["split"] == split).any()]
    return list(dict.fromkeys(table["label"])), splits, list(dict.fromkeys(table["predictor"]))


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
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure, axes


def draw_comparisons(comparisons: "pd.DataFrame", name: str) -> Figure:
    """Draw Hodges-Lehmann estimates of differences of predictors, a panel for each split.

    Parameters
    ----------
    comparisons : DataFrame
        Rows of one metric, label and stage; see `segflow.evaluation.comparisons.compare`. With more
        than `MAX_PAIRS` pairs in a split, those with the smallest p are drawn.
    name : str
        The metric as people read it.
    """
    parts = {
        split: comparisons[comparisons["split"] == split]
        for split in SPLIT_TITLES
        if (comparisons["split"] == split).any()
    }
    drawn = {
        split: part.loc[part["p"].sort_values(kind="stable").index[:MAX_PAIRS].sort_values()][::-1]
        for split, part in parts.items()
    }
    n_rows = max(len(part) for part in drawn.values())
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1,
            len(parts),
            figsize=(7.5 * len(parts), 1.3 + 0.42 * n_rows),
            squeeze=False,
            layout="constrained",
        )
        for axis, (split, part) in zip(axes[0], drawn.items(), strict=True):
            places = np.arange(len(part))
            axis.axvline(0, color="black", linewidth=0.8)
            axis.hlines(places, part["ci_low"], part["ci_high"], color=COLOURS[0], linewidth=2)
            axis.plot(part["hodges_lehmann"], places, "o", color=COLOURS[0], markersize=6)
            axis.set_yticks(places, part["predictor"] + "\nminus " + part["other"], fontsize=8)
            axis.set_ylim(-0.7, len(part) - 0.3)
            axis.locator_params(axis="x", nbins=6)
            axis.set_xlabel(f"difference of {name} (Hodges-Lehmann), 95 % interval")
            axis.grid(axis="y", visible=False)
            for place, p in zip(places, part["p_corrected"], strict=True):
                axis.text(
                    1.02,
                    place,
                    "p < 0.001" if p < 0.001 else f"p = {p:.3f}",
                    transform=axis.get_yaxis_transform(),
                    va="center",
                    fontsize=9,
                    fontweight="bold" if p < 0.05 else "normal",
                )
            title = f"{SPLIT_TITLES[split]}, {counted(part['n_groups'].max(), 'group')} of cases"
            if len(part) < len(parts[split]):
                title += f", {len(part)} of {len(parts[split])} pairs"
            axis.set_title(title, fontsize=10)
    return figure


def draw_ranking(ranking: "pd.DataFrame", titles: dict[str, str]) -> Figure:
    """Draw a critical-difference diagram for each split.

    Parameters
    ----------
    ranking : DataFrame
        See `segflow.evaluation.ranking.rank`; rows with a rank only.
    titles : dict of str to str
        Titles of the predictors.
    """
    from scikit_posthocs import critical_difference_diagram  # slow, and no other figure needs it

    parts = {
        split: ranking[ranking["split"] == split].set_index("predictor")
        for split in SPLIT_TITLES
        if (ranking["split"] == split).any()
    }
    n_rows = max(len(part) for part in parts.values())
    with plt.rc_context({"font.size": 10}):
        figure, axes = plt.subplots(
            len(parts),
            1,
            figsize=(10, len(parts) * (2.0 + 0.22 * n_rows)),
            squeeze=False,
            layout="constrained",
        )
        for axis, (split, part) in zip(axes[:, 0], parts.items(), strict=True):
            pairs = part[[f"nemenyi_{name}" for name in part.index]]
            names = [titles[name] for name in part.index]
            critical_difference_diagram(
                dict(zip(names, part["mean_rank"], strict=True)),
                pairs.set_axis(names).set_axis(names, axis=1),
                label_fmt_left="{label}  {rank:.2f}",
                label_fmt_right="{rank:.2f}  {label}",
                ax=axis,
                color_palette=dict(zip(names, cycle_colours(len(names)), strict=True)),
            )
            for text in axis.texts:  # a pale colour can be seen as a line, but not be read
                text.set_color("black")
            test = part.iloc[0]
            p, difference = test["p"], test["critical_difference"]
            axis.set_title(
                f"Mean ranks by Dice, {SPLIT_TITLES[split]}, {test['n_datasets']:.0f} data sets\n"
                f"Friedman p = {p:.3g}, critical difference {difference:.2f}",
                fontsize=10,
            )
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
    values = foreground_values(labels)
    colours = {value: COLOURS[(place + 1) % len(COLOURS)] for place, value in enumerate(values)}
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
        names = {value: name for name, value in labels.items() if isinstance(value, int)}
        handles = [
            Patch(facecolor=colour, label=names.get(value, f"value {value}"))
            for value, colour in colours.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
    return figure


def draw_postprocessing(choice: dict, components: "pd.DataFrame", title: str) -> Figure:
    """Draw what thresholds of post-processing are worth, and the sizes of components.

    Parameters
    ----------
    choice : dict
        ``postprocessing.json``; see `segflow.predictors.postprocessing_search.search`.
    components : DataFrame
        ``components.csv``; see `segflow.predictors.postprocessing_search.describe_components`.
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


def _draw_thresholds(axis: plt.Axes, choice: dict, scope: str, operation: str) -> None:
    """Draw the change of the objective against the threshold, when the step's turn came."""
    tried = [trial for trial in choice["trials"] if trial["scope"] == scope]
    own = [trial for trial in tried if trial["operation"] == operation]
    if not own:
        _draw_nothing(axis, "nothing to try")
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


def _draw_nothing(axis: plt.Axes, text: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", color="grey")


def _draw_sizes(axis: plt.Axes, pieces: "pd.DataFrame") -> None:
    """Draw histograms of the volumes of true and false components, and of holes."""
    if not len(pieces):
        _draw_nothing(axis, "none")
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


def _coloured(label_map: np.ndarray, colours: dict[int, str]) -> np.ndarray:
    """Return an RGBA image of a slice (y, x): labels coloured, background transparent."""
    image = np.zeros((*label_map.shape, 4))
    for value, colour in colours.items():
        image[label_map == value] = (*matplotlib.colors.to_rgb(colour), 0.6)
    return image


def cycle_colours(count: int) -> list[str]:
    """Return as many colours, in the order in which predictors have them."""
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
