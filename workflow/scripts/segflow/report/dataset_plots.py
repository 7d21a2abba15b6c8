"""What the scripts of the report's page draw of one data set."""

from typing import Any

import numpy as np
import pandas as pd

from segflow.evaluation.metrics import METRICS, SHARES
from segflow.evaluation.summaries import ALL, SplitMetrics, arrange, mean_of_defined
from segflow.files.cases import Case
from segflow.files.words import counted
from segflow.images.palette import COLOURS, label_colours, label_names, on_dark
from segflow.report.asked import Asked
from segflow.report.findings import STAGES, own_rows
from segflow.report.tables import MAIN, heading, number, p_text

PLOTTED = [*MAIN, "assd", "lesion_f1"]
INK = "var(--fourth)"  # in place of black, which nobody sees on a dark page


def describe_plots(
    asked: Asked,
    best: dict[str, Any],
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    metrics: pd.DataFrame,
    cases: list[Case],
) -> dict[str, Any]:
    """Return what the scripts of the page draw of a data set.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    best : dict
        ``best.json`` of the data set.
    summary, comparisons, metrics : DataFrame
        ``summary.csv`` and ``comparisons.csv`` of the data set, ``metrics.csv`` of all predictors.
    cases : list of Case
        The cases.
    """
    wanted = list(dict.fromkeys([*PLOTTED, best["metric"]]))
    splits = arrange(metrics, wanted, asked.described["evaluated_regions"])
    names = [name for name in wanted if any(_is_defined(split, name) for split in splits)]
    labels = list(dict.fromkeys([ALL, *(label for split in splits for label in split.labels)]))
    classes = {case.case: case.class_label for case in cases}
    others = (row["predictor"] for row in best["ranking"] if row["predictor"] != best["predictor"])
    return {
        "name": asked.name,
        "title": asked.described["title"],
        "metrics": [
            {
                "key": name,
                "title": METRICS[name].title,
                "heading": heading(name),
                "digits": 2 if METRICS[name].unit else 3,
                "share": name in SHARES,
                "better": METRICS[name].better,
            }
            for name in names
        ],
        "labels": labels,
        "oneLabel": len(labels) == 2,
        "stages": list(STAGES),
        "predictors": [
            {"key": name, "title": title, "colour": _on_page(place), "bright": on_dark(place)}
            for place, (name, title) in enumerate(asked.titles.items())
        ],
        "splits": {split.split: _points(split, names, classes) for split in splits},
        "first": {
            "split": splits[0].split if splits else "val",
            "metric": best["metric"],
            "label": ALL,
            "stage": best["stage"],
            "predictor": best["predictor"],
            "other": next(others, best["predictor"]),
        },
        "boxes": _boxes(summary, names),
        "comparisons": _pairs(comparisons, names),
        "labelNames": label_names(asked.described["labels"]),
        "labelColours": label_colours(asked.described["labels"]),
    }


def _is_defined(split: SplitMetrics, name: str) -> bool:
    return name in split.metrics and not np.isnan(split.of(name)).all()


def _points(split: SplitMetrics, names: list[str], classes: dict[str, str]) -> dict[str, Any]:
    """Return the cases of a split with all values that are defined of any of them."""
    averaged = mean_of_defined(split.values[:, :, :, split.averaged], axis=3)[:, :, :, None]
    values = np.concatenate([averaged, split.values], axis=3)

    def of_label(predictor: int, stage: int, label: int) -> dict[str, np.ndarray]:
        known = (name for name in names if name in split.metrics)
        columns = {
            name: values[predictor, stage, :, label, split.metrics.index(name)] for name in known
        }
        return {name: column for name, column in columns.items() if not np.isnan(column).all()}

    return {
        "cases": split.cases,
        "folds": split.folds,
        "classes": [classes[case] for case in split.cases] if any(classes.values()) else None,
        "values": {
            predictor: {
                stage: {label: of_label(p, s, at) for at, label in enumerate([ALL, *split.labels])}
                for s, stage in enumerate(split.stages)
            }
            for p, predictor in enumerate(split.predictors)
        },
    }


def _boxes(summary: pd.DataFrame, names: list[str]) -> dict[str, list[float]]:
    """Return the five numbers of each box of a box plot, by what it is of."""
    return {
        "|".join([row.predictor, row.split, row.stage, row.label, row.metric]): [
            row.min,
            row.q1,
            row.median,
            row.q3,
            row.max,
        ]
        for row in own_rows(summary, fold=ALL).itertuples()
        if row.metric in names and row.n
    }


def _pairs(comparisons: pd.DataFrame, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return the test of each pair of predictors, in either order, by what it is of."""
    found = {}
    for row in comparisons[comparisons["metric"].isin(names)].itertuples():
        about = [row.split, row.stage, row.metric, row.label]
        estimates = (row.hodges_lehmann, row.ci_low, row.ci_high)
        counts = (row.wins, row.ties, row.losses)
        for pair, (middle, low, high), better in (
            ((row.predictor, row.other), estimates, counts),
            (
                (row.other, row.predictor),
                tuple(-x for x in (estimates[0], *estimates[:0:-1])),
                counts[::-1],
            ),
        ):
            found["|".join([*about, *pair])] = {
                "middle": middle,
                "low": low,
                "high": high,
                "text": _in_words(row, (middle, low, high), better),
            }
    return found


def _in_words(row: tuple, estimates: tuple[float, ...], counts: tuple[int, ...]) -> str:
    if np.isnan(row.p_corrected):
        return "There are too few cases for a test."
    middle, low, high = (number(value, row.metric, "+") for value in estimates)
    interval = "" if np.isnan(estimates[1]) else f", 95 % interval {low} to {high}"
    wins, ties, losses = (f"{count:.0f}" for count in counts)
    return (
        f"Hodges-Lehmann {middle}{interval}; Wilcoxon's signed-rank test, "
        f"{p_text(row.p_corrected)} after Holm's correction; in {wins} of "
        f"{counted(int(row.n_groups), 'group')} the first is better, in {ties} neither, in "
        f"{losses} the other."
    )


def _on_page(place: int) -> str:
    colour = COLOURS[place % len(COLOURS)]
    return INK if colour == "#000000" else colour
