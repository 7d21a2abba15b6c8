"""Figures of classifiers."""

from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segflow.evaluation.classification import (
    GRID,
    count_confusion,
    measure,
    precision_recall_band,
    reliability,
    roc_band,
)
from segflow.predictors.classification import Classified
from segflow.report.drawing import NAME_WIDTH, SPLIT_TITLES, STYLE, cycle_colours, draw_panels

ROC, PRECISION_RECALL = "ROC", "precision and recall"
Found = dict[str, dict[str, Classified]]  # by split and title of the classifier


def draw_curves(found: Found, classes: list[str], groups: dict[str, str], seed: int) -> Figure:
    """Draw ROC and precision-recall curves of each class with bands over resamples of groups.

    Parameters
    ----------
    found : dict of str to dict of str to Classified
        Cases of known class by split and title of the classifier.
    classes : list of str
        Names of the classes.
    groups : dict of str to str
        Group of each case.
    seed : int
        Seed of the resamples.
    """
    bands = {ROC: roc_band, PRECISION_RECALL: precision_recall_band}
    panels = {
        f"{name}, {kind}": (place, kind) for place, name in enumerate(classes) for kind in bands
    }

    def draw(axis: Axes, label: str, split: str) -> None:
        place, kind = panels[label]
        for colour, one in zip(cycle_colours(len(titles)), titles, strict=True):
            if one not in found[split]:
                continue
            classified = found[split][one]
            positive = classified.truth == place
            if not 0 < positive.sum() < len(positive):
                continue
            of_case = np.array([groups[case] for case in classified.cases])
            p = classified.probabilities[:, place]
            x, y, (low, high) = bands[kind](positive, p, of_case, seed)
            steps = "default" if kind == ROC else "steps-post"
            axis.plot(x, y, color=colour, linewidth=1.2, drawstyle=steps)
            axis.fill_between(GRID, low, high, color=colour, alpha=0.15, linewidth=0)
        if kind == ROC:
            axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        names = ("false positive rate", "sensitivity") if kind == ROC else ("recall", "precision")
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=names[0], ylabel=names[1])

    titles = _titles(found)
    return draw_panels(list(panels), list(found), titles, draw, 3.4)[0]


def draw_confusion(found: Found, classes: list[str]) -> Figure:
    """Draw the confusion matrix of each classifier (row) and split (column); see `draw_curves`."""
    titles = _titles(found)
    size = 1.1 + 0.6 * len(classes)
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(
            len(titles),
            len(found),
            figsize=((size + 1.6) * len(found), (size + 0.4) * len(titles)),
            squeeze=False,
            layout="constrained",
        )
        for row, title in zip(axes, titles, strict=True):
            for axis, (split, classifiers) in zip(row, found.items(), strict=True):
                if title not in classifiers:
                    axis.set_axis_off()
                    continue
                one = classifiers[title]
                counts = count_confusion(one.truth, one.probabilities)
                shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
                axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
                for (y, x), count in np.ndenumerate(counts):
                    colour = "white" if shares[y, x] > 0.6 else "black"
                    axis.text(x, y, str(count), ha="center", va="center", color=colour)
                places = range(len(classes))
                axis.set_xticks(places, classes, rotation=30, ha="right")
                axis.set_yticks(places, classes)
                name = "\n".join(wrap(title, NAME_WIDTH))
                axis.set_title(f"{name}\n{SPLIT_TITLES[split]}", fontsize=9)
        figure.supxlabel("predicted class", fontsize=10)
        figure.supylabel("class", fontsize=10)
    return figure


def draw_class_reliability(found: Found, classes: list[str]) -> Figure:
    """Draw the share of a class against its probability, for each class; see `draw_curves`."""

    def draw(axis: Axes, label: str, split: str) -> None:
        place, errors = classes.index(label), []
        axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        for colour, title in zip(cycle_colours(len(titles)), titles, strict=True):
            if title not in found[split]:
                continue
            one = found[split][title]
            bins = reliability(one.truth == place, one.probabilities[:, place])
            axis.plot(bins["probability"], bins["observed"], color=colour, linewidth=1)
            sizes = 4 + 150 * np.sqrt(bins["n"] / len(one))
            axis.scatter(bins["probability"], bins["observed"], sizes, color=colour, alpha=0.5)
            errors.append(f"{measure(one.truth, one.probabilities)[place, 'ece'][0]:.3f}")
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axis.set(xlabel="probability", ylabel="share of the class")
        axis.set_title(f"{axis.get_title()}\nECE {', '.join(errors)}", fontsize=10)

    titles = _titles(found)
    return draw_panels(classes, list(found), titles, draw, 3.8)[0]


def draw_true_class(found: Found, classes: list[str]) -> Figure:
    """Draw the probability of the true class of each case, for each class; see `draw_curves`."""

    def draw(axis: Axes, label: str, split: str) -> None:
        place, generator = classes.index(label), np.random.default_rng(0)
        axis.axhline(1 / len(classes), color="black", linewidth=0.8)
        for number, (colour, title) in enumerate(
            zip(cycle_colours(len(titles)), titles, strict=True)
        ):
            if title not in found[split]:
                continue
            one = found[split][title]
            own = one.truth == place
            p = one.probabilities[own, place]
            right = one.probabilities[own].argmax(axis=1) == place
            x = number + generator.uniform(-0.25, 0.25, len(p))
            axis.plot(x[right], p[right], ".", color=colour, markersize=5)
            axis.plot(x[~right], p[~right], "x", color=colour, markersize=5)
        axis.set(xlim=(-0.6, len(titles) - 0.4), ylim=(-0.03, 1.03))
        axis.set_xticks([])
        axis.set_ylabel("probability of its class\n(x: another one is larger)")

    titles = _titles(found)
    return draw_panels(classes, list(found), titles, draw, 3.2)[0]


def _titles(found: Found) -> list[str]:
    """Return the titles of all classifiers, in their order."""
    return list(dict.fromkeys(title for classifiers in found.values() for title in classifiers))
