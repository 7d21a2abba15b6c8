"""The card of an exported predictor: what it learned from, what it is worth, and its limits."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

SPLITS = {"val": "cross-validation", "test": "test cases"}
# What is shown of the summary, which has more.
METRICS = ("dice", "nsd", "hd95", "volume_difference_ml", "lesion_f1")
USE = """\
Research. It is no medical device: nobody has checked that it may be used to diagnose or treat
anyone. What it says of images unlike those that it learned from is worth nothing until it is
checked on such images."""
WITH_SEGFLOW = """\
With Segflow, as the run does it (all models, weights and post-processing):

    snakemake --cores all predict --config 'new_images={{folder: scans, output: out, archive: {}}}'
"""
WITH_NNUNET = """\
With nnU-Net, one model, without weights and post-processing:

    nnUNetv2_install_pretrained_model_from_zip {}
"""


def write_card(
    archive: str,
    title: str,
    dataset: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, float],
    steps: Sequence[Mapping[str, Any]] | None,
    n_cases: Mapping[str, int],
    ranges: Mapping[str, Any],
    summary: pd.DataFrame | None,
    classes: pd.DataFrame | None,
    versions: Mapping[str, str],
) -> str:
    """Return the card, in Markdown.

    Parameters
    ----------
    archive : str
        Name of the zip.
    title : str
        The predictor's title.
    dataset : mapping
        Description of the data set.
    models : mapping of str to mapping
        Description of each model, with its ``folds``.
    weights : mapping of str to float
        Weight of each model that has a say; others are earlier stages.
    steps : sequence of mapping or None
        Adopted post-processing; None if nothing is segmented.
    n_cases : mapping of str to int
        Training and test cases.
    ranges : mapping
        See `segflow.predictors.training_ranges`.
    summary, classes : DataFrame or None
        Rows of this predictor of ``summary.csv`` and ``classification_summary.csv``.
    versions : mapping of str to str
        Versions of what it was made with.
    """
    labels = [name for name in dataset.get("labels", {}) if name != "background"]
    parts = [
        f"# {title}",
        "## Data",
        _list(
            {
                "data set": dataset["title"],
                "source": dataset["source"],
                "licence": dataset["license"],
                "cite": dataset["citation"],
                "cases": ", ".join(f"{count} {part}" for part, count in n_cases.items()),
                "channels": ", ".join(dataset["channels"]),
                "labels": ", ".join(labels),
                "classes": ", ".join(dataset.get("classes", [])),
            }
        ),
        "## Predictor",
        _table(
            ["model", "configuration", "network", "folds", "weight"],
            [
                [
                    model["title"],
                    model["configuration"],
                    model["network"]["name"],
                    ", ".join(map(str, model["folds"])),
                    f"{weights[name]:g}" if name in weights else "earlier stage",
                ]
                for name, model in models.items()
            ],
        ),
        _postprocessing(steps),
        "## Numbers",
        _numbers(summary, classes),
        "## Intended use",
        USE,
        "## Limits",
        "Images that lie outside these ranges of the training cases are segmented with a warning.",
        _list(_limits(ranges)),
        "## Use",
        WITH_SEGFLOW.format(archive),
        WITH_NNUNET.format(archive),
        "## Versions",
        _list(versions),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _postprocessing(steps: Sequence[Mapping[str, Any]] | None) -> str:
    if steps is None:
        return ""
    words = [" ".join(f"{key} {value}" for key, value in step.items()) for step in steps]
    return f"Post-processing: {'; '.join(words) or 'none, for none was confirmed to be better'}."


def _numbers(summary: pd.DataFrame | None, classes: pd.DataFrame | None) -> str:
    """Return the tables of results, with intervals."""
    parts = []
    if summary is not None and len(summary):
        chosen = summary[(summary["stage"] == "postprocessed") & (summary["fold"] == "all")]
        rows = [
            [
                SPLITS[row.split],
                row.label,
                row.metric,
                f"{row.n:.0f}",
                f"{row.mean:.3g}",
                _interval(row.ci_low, row.ci_high),
                f"{row.median:.3g}",
            ]
            for row in chosen.itertuples()
            if row.split in SPLITS and row.metric in METRICS and pd.notna(row.mean)
        ]
        columns = ["split", "label", "metric", "n", "mean", "95 % interval", "median"]
        parts.append(_table(columns, rows))
    if classes is not None and len(classes):
        rows = [
            [
                SPLITS[row["split"]],
                row["class"],
                row["metric"],
                f"{row['n']:.0f}",
                f"{row['value']:.3g}",
                _interval(row["low"], row["high"]),
            ]
            for _, row in classes.iterrows()
            if row["split"] in SPLITS and pd.notna(row["value"])
        ]
        parts.append(_table(["split", "class", "metric", "n", "value", "95 % interval"], rows))
    return "\n\n".join(parts) or "None were computed in the run."


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"{low:.3g} to {high:.3g}"


def _limits(ranges: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, title in (("spacing_mm", "spacing (mm)"), ("size", "size (voxels)")):
        spans = [f"{axis} {low:.4g} to {high:.4g}" for axis, (low, high) in ranges[name].items()]
        found[title] = ", ".join(spans)
    found["orientation"] = ", ".join(filter(None, ranges.get("orientations", ["any"])))
    for channel, ends in ranges["intensities"].items():
        low, high = ends["low"], ends["high"]
        text = f"from {low[0]:.4g} ... {low[1]:.4g} to {high[0]:.4g} ... {high[1]:.4g}"
        found[f"intensities of {channel}"] = text
    return found


def _list(items: Mapping[str, str]) -> str:
    return "\n".join(f"* {name}: {value}" for name, value in items.items() if value)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
