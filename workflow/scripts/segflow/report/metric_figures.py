"""Figures of what predictions are worth, and of how predictors compare."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from segflow.evaluation.metrics import AREAS, VOLUMES
from segflow.files.words import counted
from segflow.images.palette import COLOURS
from segflow.report.drawing import SPLIT_TITLES, STYLE, cycle_colours, draw_panels, legend_below

if TYPE_CHECKING:
    import pandas as pd

MAX_PAIRS = 45  # rows of a figure that can still be read


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
        legend_below(figure, handles, 4)
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
