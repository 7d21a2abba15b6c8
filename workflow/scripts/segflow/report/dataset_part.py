"""The part of the report on one data set: its tables, its figures, and what the plots draw."""

from pathlib import Path
from typing import Any

import pandas as pd

from segflow.datasets.problems import read_problems
from segflow.evaluation.comparisons import KEYS as COMPARISON_KEYS
from segflow.evaluation.inference import READING as INFERENCE
from segflow.evaluation.summaries import COUNTS, KEYS, read_metrics
from segflow.files.cases import Case, read_cases
from segflow.files.content import read_own_json
from segflow.files.frames import read_frame
from segflow.report.asked import Asked
from segflow.report.classes import BASELINES, COMPARED, POOLED, SUBGROUPS
from segflow.report.classes import READING as CLASSES
from segflow.report.dataset_pictures import case_figures, figures
from segflow.report.dataset_plots import describe_plots
from segflow.report.dataset_tables import (
    CLASS_KEYS,
    as_text,
    table_of_cases,
    table_of_costs,
    table_of_problems,
    table_of_steps,
    table_of_ways,
    tables_of_classes,
    tables_of_results,
)
from segflow.report.findings import answer, answer_classes, early_warnings, warnings
from segflow.report.first_cases import three_cases
from segflow.report.page import embed
from segflow.report.tables import SPLITS


def describe_dataset(asked: Asked, folder: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return what the page shows of a data set, and what its scripts read.

    The scripts read nothing of one whose cases are only told apart by their classes.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    folder : Path
        Folder of the data set's results.
    """
    problems = read_problems(folder / "problems.csv")
    splits = read_frame(folder / "splits.csv", ["fold", "part"])
    duplicates = _read_if_there(folder / "near_duplicates.csv")
    cases = read_cases(folder / "cases.csv")
    trainings = {
        (path.parent.parent.name, path.parent.name.removeprefix("fold_")): read_own_json(path)
        for model in asked.models
        for path in sorted(folder.glob(f"{model}/fold_*/training.json"))
    }
    data = [problems, splits, trainings, duplicates, asked.all_titles]
    content = {
        "name": asked.name,
        "short": asked.name,
        "title": asked.described["title"],
        "classification": tables_of_classes(asked, folder),
        "class_notes": [CLASSES, POOLED, BASELINES, SUBGROUPS, COMPARED],
        "costs": table_of_costs(asked, folder),
        "inference": table_of_ways(asked, folder),
        "inference_note": INFERENCE,
        "splits": as_text(splits),
        "problems": table_of_problems(folder),
        "duplicates": None if duplicates is None else as_text(duplicates),
        "covariates": table_of_cases(cases),
    }
    if asked.titles:
        own, plotted = _segmentation(asked, folder, cases, data)
        return content | own, plotted
    summary = read_frame(folder / "classification_summary.csv", CLASS_KEYS)
    classified = {
        "answer": answer_classes(summary, asked.class_titles),
        "warnings": early_warnings(*data),
        "figures": figures(asked, folder),
        "segmented": False,
        "first_picture": None,
        "first_cases": [],
    }
    return content | classified, None


def _segmentation(
    asked: Asked, folder: Path, cases: list[Case], data: list[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is shown and drawn of label maps; `data` are arguments of `warnings`."""
    best = read_own_json(folder / "best.json")
    summary = read_frame(folder / "summary.csv", [*KEYS, "published", "note"])
    summary["note"] = summary["note"].fillna("")
    # Published rows have no counts, so pandas reads all of them as floats.
    summary[COUNTS] = summary[COUNTS].astype("Int64")
    comparisons = read_frame(folder / "comparisons.csv", COMPARISON_KEYS)
    detection = read_frame(folder / "structure_detection.csv", KEYS[:3])
    metrics = read_metrics({name: folder / name / "metrics.csv" for name in asked.titles})
    first_split = "val" if (metrics["split"] == "val").any() else "test"
    own = metrics[metrics["predictor"] == best["predictor"]]
    first = three_cases(own, first_split, list(asked.described["labels"]))
    picture = folder / best["predictor"] / f"cases_{first_split}.png"
    content = {
        "segmented": True,
        "flow": as_text(read_frame(folder / "flow.csv")),
        "best": best["predictor"],
        "answer": answer(best, summary, comparisons, asked.titles),
        "warnings": warnings(best, summary, detection, *data),
        "first_picture": embed(
            picture,
            "best, median and worst case",
            f"{asked.titles[best['predictor']]}: the best, a median and the worst case by Dice, "
            f"{SPLITS[first_split].lower()}.",
        )
        if picture.exists()
        else None,
        "first_cases": [(name, case) for name, (case, _) in first.items()],
        **tables_of_results(asked, summary, comparisons, folder),
        "postprocessing": table_of_steps(asked, folder),
        "figures": figures(asked, folder) | case_figures(asked, folder, best, first_split),
    }
    return content, describe_plots(asked, best, summary, comparisons, metrics, cases)


def _read_if_there(path: Path) -> pd.DataFrame | None:
    return read_frame(path) if path.exists() else None
