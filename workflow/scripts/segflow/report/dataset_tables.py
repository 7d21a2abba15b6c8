"""Tables of the report on one data set, from those that its folder holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segflow.evaluation.comparisons import METHOD, ON_VALIDATION
from segflow.evaluation.comparisons import READING as COMPARISONS
from segflow.evaluation.metrics import METRICS
from segflow.evaluation.summaries import ALL, KEYS
from segflow.files.cases import Case
from segflow.files.content import read_own_json
from segflow.files.frames import read_frame
from segflow.report.asked import Asked
from segflow.report.classes import (
    class_comparisons,
    class_overview,
    classes_by_subgroup,
)
from segflow.report.findings import own_rows
from segflow.report.tables import (
    AGREEMENT,
    DETECTION,
    MAIN,
    PUBLISHED,
    READING,
    SPLITS,
    agreed,
    by_subgroup,
    compared,
    detected_lesions,
    detected_structures,
    heading,
    infinite_note,
    left_out,
    number,
    overview,
)

CLASS_KEYS = ["predictor", "split", "class", "metric", "published"]
COST_TITLES = {
    "networks": "networks",
    "parameters": "parameters",
    "windows_per_case": "windows a case",
    "gflops_per_case": "GFLOPs a case",
    "epochs": "epochs",
    "training_seconds": "training (s)",
    "peak_mb": "peak memory (MB)",
    "devices": "device",
}


def as_text(table: pd.DataFrame, titles: dict[str, str] | None = None) -> pd.DataFrame:
    """Return a table as text: up to three decimals, and nothing where nothing is.

    Parameters
    ----------
    table : DataFrame
        The table.
    titles : dict of str to str, optional
        Titles of columns in place of their names.
    """

    def text(value: object) -> object:
        if isinstance(value, float):
            plain = f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.3g}"
            return "" if np.isnan(value) else plain
        return f"{value:,}" if isinstance(value, int | np.integer) else value

    names = {name: name.replace("_", " ") for name in table.columns} | (titles or {})
    return table.map(text).rename(columns=names)


def tables_of_results(
    asked: Asked, summary: pd.DataFrame, comparisons: pd.DataFrame, folder: Path
) -> dict[str, Any]:
    """Return the tables of results and comparisons, with what to know to read them.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    summary, comparisons : DataFrame
        ``summary.csv`` and ``comparisons.csv`` of the data set.
    folder : Path
        Folder of the data set's results.
    """
    splits = [split for split in SPLITS if (own_rows(summary)["split"] == split).any()]
    results = [(SPLITS[split], overview(summary, split, MAIN, asked.titles)) for split in splits]
    pairs = [
        (SPLITS[split], compared(comparisons, split, asked.titles))
        for split in splits
        if len(asked.titles) > 1
    ]
    kinds = {
        "Agreement of volumes": ("volumes.csv", agreed),
        "Lesions found and made up": ("lesion_detection.csv", detected_lesions),
        "Structures found and rightly left out": ("structure_detection.csv", detected_structures),
    }
    further = [(f"Means of folds, {title}", table) for title, table in _by_fold(summary, asked)]
    for title, (file, shown) in kinds.items():
        table = read_frame(folder / file, KEYS[:3])
        for split in splits:
            if len(table) and len(part := shown(table, split, asked.titles)):
                further.append((f"{title}: {SPLITS[split].lower()}", part))
    subgroups = read_frame(folder / "subgroups.csv", ["subgroup", "value", *KEYS])
    for column in dict.fromkeys(subgroups["subgroup"]):
        for split in splits:
            if len(part := by_subgroup(subgroups, column, split, asked.titles)):
                further.append((f"By {column}: {SPLITS[split].lower()}", part))
    rank_stability = read_frame(folder / "rank_stability.csv", KEYS[:3])
    stable = rank_stability[rank_stability["stage"] == "postprocessed"]
    stable = stable.assign(predictor=stable["predictor"].map(asked.titles)).drop(columns="stage")
    if len(stable):
        further.append(("Stability of ranks under resampling", as_text(stable)))
    published = [PUBLISHED] if summary["published"].notna().any() else []
    return {
        "results": results,
        "reading": [
            READING,
            infinite_note(),
            AGREEMENT,
            DETECTION,
            *left_out(list(asked.described["evaluated_regions"])),
            *published,
        ],
        "comparisons": [pair for pair in pairs if len(pair[1])],
        "comparison_notes": [COMPARISONS, *([ON_VALIDATION] if "val" in splits else []), METHOD],
        "further": further,
    }


def _by_fold(summary: pd.DataFrame, asked: Asked) -> list[tuple[str, pd.DataFrame]]:
    """Return the mean, or of distances the median, of each fold for the main metrics."""
    own = own_rows(summary, split="val", stage="postprocessed", label=ALL)
    tables = []
    for metric in MAIN:
        rows = own[own["metric"] == metric]
        if rows["n"].sum() == 0 or rows["fold"].nunique() < 3:
            continue
        column = "median" if METRICS[metric].infinite else "mean"
        wide = rows.pivot(index="predictor", columns="fold", values=column)
        wide = wide.reindex([name for name in asked.titles if name in wide.index])
        table = wide.map(lambda value, metric=metric: number(value, metric))
        table = table.rename(
            columns={fold: "all" if fold == ALL else f"fold {fold}" for fold in wide.columns}
        )
        table.insert(0, "predictor", [asked.titles[name] for name in wide.index])
        tables.append((heading(metric), table.reset_index(drop=True)))
    return tables


def tables_of_classes(asked: Asked, folder: Path) -> list[tuple[str, pd.DataFrame]]:
    """Return the titled tables of what is told of classes, none if no classes are told.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    folder : Path
        Folder of the data set's results.
    """
    if not asked.class_titles:
        return []
    summary = read_frame(folder / "classification_summary.csv", CLASS_KEYS)
    comparisons = read_frame(
        folder / "classification_comparisons.csv",
        ["split", "metric", "predictor", "other", "class"],
    )
    subgroups = read_frame(
        folder / "classification_subgroups.csv",
        ["predictor", "split", "subgroup", "of", "class", "metric"],
    )
    tables = []
    for split in (name for name in SPLITS if (summary["split"] == name).any()):
        classes = asked.described["classes"]
        shown = class_overview(summary, split, classes, asked.class_titles)
        tables += [(f"{SPLITS[split]}: {part}", table) for part, table in shown.items()]
        for column in dict.fromkeys(subgroups["subgroup"]):
            part = classes_by_subgroup(subgroups, column, split, classes, asked.class_titles)
            tables += [(f"{SPLITS[split]}: by {column}", part)] if len(part) else []
        pairs = class_comparisons(comparisons, split, asked.class_titles)
        tables += [(f"{SPLITS[split]}: all pairs", pairs)] if len(pairs) else []
    return tables


def table_of_steps(asked: Asked, folder: Path) -> pd.DataFrame:
    """Return which steps of post-processing each predictor adopted, and what they gain.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    folder : Path
        Folder of the data set's results.
    """
    rows = []
    for name, title in asked.titles.items():
        choice = read_own_json(folder / name / "postprocessing.json")
        gain = choice["gain"] or {}
        steps = [
            f"{step['operation'].replace('_', ' ')} ({step['parameter']:g}) on {step['scope']}"
            for step in choice["steps"]
        ]
        fitted = gain.get("cross_fitted")
        interval = gain.get("ci")
        rows.append(
            {
                "predictor": title,
                "steps": "\n".join(steps) or "none",
                "why none": choice["not_adopted"] or ("" if steps else "nothing gains"),
                "gain in sample": _signed(gain.get("in_sample")),
                "gain cross-fitted": _signed(fitted)
                + (f"\n{interval[0]:+.4f} to {interval[1]:+.4f}" if interval else ""),
            }
        )
    return pd.DataFrame(rows)


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def table_of_costs(asked: Asked, folder: Path) -> pd.DataFrame:
    """Return what each predictor costs.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    folder : Path
        Folder of the data set's results.
    """
    costs = read_frame(folder / "costs.csv", ["predictor"])
    costs["predictor"] = costs["predictor"].map(asked.all_titles)
    return as_text(costs, COST_TITLES)


def table_of_ways(asked: Asked, folder: Path) -> pd.DataFrame | None:
    """Return the ways to predict that were studied, with what is proposed; None if none were.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    folder : Path
        Folder of the data set's results.
    """
    if not asked.studies_inference:
        return None
    settings = read_frame(folder / "inference.csv", ["model", "setting", "proposed", "devices"])
    chosen = read_own_json(folder / "inference.json")
    rows = []
    for row in settings.itertuples():
        proposed = [
            name + _on_other_folds(proposal)
            for name, proposal in chosen[row.model].items()
            if proposal["setting"] == row.setting
        ]
        ends = f"\n{row.low:+.2f} to {row.high:+.2f}" if np.isfinite(row.low) else ""
        rows.append(
            {
                "model": asked.titles[row.model],
                "setting": row.setting.replace("_", " "),
                "cases": row.n,
                "seconds a case": f"{row.seconds:.3g}",
                "speed": f"{row.speed:.2f}",
                "peak memory (MB)": f"{row.peak_mb:.0f}",
                "Dice": f"{row.dice:.4f}",
                "lost points": f"{row.lost:+.2f}{ends}",
                "equal": f"{row.equal:.4%}",
                "frontier": "yes" if row.frontier else "",
                "proposed": "\n".join(proposed),
                "device": row.devices,
            }
        )
    return pd.DataFrame(rows)


def _on_other_folds(proposal: dict[str, Any]) -> str:
    """Return what a proposal keeps on folds that had no part in it, if there are any."""
    if proposal["speed"] is None:
        return ""
    return f"\n{proposal['speed']:.2f} times, {proposal['lost']:+.2f} points on other folds"


def table_of_problems(folder: Path) -> pd.DataFrame | None:
    """Return what conversion found, the gravest first; None if it found nothing.

    Parameters
    ----------
    folder : Path
        Folder of the data set's results.
    """
    problems = read_frame(
        folder / "problems.csv", ["case", "file", "severity", "problem", "action"]
    )
    problems = problems.fillna("").drop(columns="file")
    order = {"error": 0, "leak": 1, "repaired": 2, "note": 3}
    problems = problems.sort_values("severity", key=lambda names: names.map(order), kind="stable")
    return problems[["severity", "case", "problem", "action"]] if len(problems) else None


def table_of_cases(cases: list[Case]) -> pd.DataFrame:
    """Return the cases with what is known of them, in columns that are not all empty.

    Parameters
    ----------
    cases : list of Case
        The cases.
    """
    covariates = sorted({name for case in cases for name in case.covariates})
    rows = [
        {
            "case": case.case,
            "part": case.split,
            "group": case.group,
            "class": case.class_label,
            "shape (z, y, x)": case.shape.replace(" ", " x "),
            "spacing (mm)": case.spacing_mm.replace(" ", " x "),
        }
        | {name: case.covariates.get(name, "") for name in covariates}
        for case in cases
    ]
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "").any()]
