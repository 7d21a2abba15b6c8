"""The part of the report on one data set: its tables, its figures, and what the plots draw."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segflow.datasets.problems import read_problems
from segflow.evaluation.comparisons import KEYS as COMPARISON_KEYS
from segflow.evaluation.comparisons import METHOD, ON_VALIDATION
from segflow.evaluation.comparisons import READING as COMPARISONS
from segflow.evaluation.inference import READING as INFERENCE
from segflow.evaluation.metrics import METRICS, SHARES
from segflow.evaluation.summaries import (
    ALL,
    COUNTS,
    KEYS,
    arrange,
    mean_of_defined,
    read_metrics,
)
from segflow.files.cases import Case, read_cases
from segflow.files.content import read_own_json
from segflow.files.frames import read_frame
from segflow.files.words import counted
from segflow.images.palette import COLOURS, label_colours, label_names, on_dark
from segflow.report.classes import (
    BASELINES,
    COMPARED,
    POOLED,
    SUBGROUPS,
    class_comparisons,
    class_overview,
    classes_by_subgroup,
)
from segflow.report.classes import READING as CLASSES
from segflow.report.findings import (
    STAGES,
    answer,
    answer_classes,
    early_warnings,
    own_rows,
    warnings,
)
from segflow.report.first_cases import three_cases
from segflow.report.page import Picture, embed
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
    p_text,
)

CLASS_KEYS = ["predictor", "split", "class", "metric", "published"]
PLOTTED = [*MAIN, "assd", "lesion_f1"]
INK = "var(--fourth)"  # in place of black, which nobody sees on a dark page
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


@dataclass(frozen=True)
class Asked:
    """What a run asks of a data set.

    Parameters
    ----------
    name : str
        Name of the data set.
    described : dict
        Its description.
    titles : dict of str to str
        Titles of predictors that make label maps, in their order.
    class_titles : dict of str to str
        Titles of those that tell classes; empty if none does.
    models : dict of str to dict
        Descriptions of the models.
    studies_inference : bool
        Whether ways to predict are studied.
    """

    name: str
    described: dict[str, Any]
    titles: dict[str, str]
    class_titles: dict[str, str]
    models: dict[str, dict[str, Any]]
    studies_inference: bool = False

    @property
    def all_titles(self) -> dict[str, str]:
        """Titles of all that segments or tells classes."""
        return self.titles | self.class_titles


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
        "classification": _classification(asked, folder),
        "class_notes": [CLASSES, POOLED, BASELINES, SUBGROUPS, COMPARED],
        "costs": _costs(asked, folder),
        "inference": _inference(asked, folder),
        "inference_note": INFERENCE,
        "splits": _shown(splits),
        "problems": _problems(folder),
        "duplicates": None if duplicates is None else _shown(duplicates),
        "covariates": _known_of(cases),
    }
    if asked.titles:
        own, plotted = _segmentation(asked, folder, cases, data)
        return content | own, plotted
    summary = read_frame(folder / "classification_summary.csv", CLASS_KEYS)
    classified = {
        "answer": answer_classes(summary, asked.class_titles),
        "warnings": early_warnings(*data),
        "figures": _figures(asked, folder),
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
        "flow": _shown(read_frame(folder / "flow.csv")),
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
        **_results(asked, summary, comparisons, folder),
        "postprocessing": _postprocessing(asked, folder),
        "figures": _figures(asked, folder) | _case_figures(asked, folder, best, first_split),
    }
    return content, _plotted(asked, best, summary, comparisons, metrics, cases)


def _read_if_there(path: Path) -> pd.DataFrame | None:
    return read_frame(path) if path.exists() else None


def _shown(table: pd.DataFrame, titles: dict[str, str] | None = None) -> pd.DataFrame:
    """Return a table as text: up to three decimals, and nothing where nothing is."""

    def text(value: object) -> object:
        if isinstance(value, float):
            plain = f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.3g}"
            return "" if np.isnan(value) else plain
        return f"{value:,}" if isinstance(value, int | np.integer) else value

    names = {name: name.replace("_", " ") for name in table.columns} | (titles or {})
    return table.map(text).rename(columns=names)


def _results(
    asked: Asked, summary: pd.DataFrame, comparisons: pd.DataFrame, folder: Path
) -> dict[str, Any]:
    """Return the tables of results and comparisons, with what to know to read them."""
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
        further.append(("Stability of ranks under resampling", _shown(stable)))
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


def _classification(asked: Asked, folder: Path) -> list[tuple[str, pd.DataFrame]]:
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


def _postprocessing(asked: Asked, folder: Path) -> pd.DataFrame:
    """Return which steps each predictor adopted, and what they gain."""
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


def _costs(asked: Asked, folder: Path) -> pd.DataFrame:
    costs = read_frame(folder / "costs.csv", ["predictor"])
    costs["predictor"] = costs["predictor"].map(asked.all_titles)
    return _shown(costs, COST_TITLES)


def _inference(asked: Asked, folder: Path) -> pd.DataFrame | None:
    """Return the ways to predict that were studied, with what is proposed; None if none were."""
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


def _problems(folder: Path) -> pd.DataFrame | None:
    problems = read_frame(
        folder / "problems.csv", ["case", "file", "severity", "problem", "action"]
    )
    problems = problems.fillna("").drop(columns="file")
    order = {"error": 0, "leak": 1, "repaired": 2, "note": 3}
    problems = problems.sort_values("severity", key=lambda names: names.map(order), kind="stable")
    return problems[["severity", "case", "problem", "action"]] if len(problems) else None


def _known_of(cases: list[Case]) -> pd.DataFrame:
    """Return the cases with what is known of them."""
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


def _case_figures(
    asked: Asked, folder: Path, best: dict[str, Any], first_split: str
) -> dict[str, list[Picture]]:
    """Return the figures of label maps by the section that they stand in; those that there are."""
    name, other = best["predictor"], "test" if first_split == "val" else "val"
    named = {
        "comparison": [
            ("volumes.png", "Volumes against the reference", "Differences of volumes"),
            ("reliability.png", "Reliability", "Probabilities against what is there"),
            ("froc.png", "FROC", "Sensitivity of lesions against false positives per case"),
        ],
        "cases": [
            *(
                (
                    f"case_comparison_{split}.png",
                    f"All predictors: {SPLITS[split].lower()}",
                    "The same cases as all predictors see them",
                )
                for split in SPLITS
            ),
            (
                f"{name}/cases_{other}.png",
                f"Best, median and worst: {SPLITS[other].lower()}",
                asked.titles[name],
            ),
        ],
        "postprocessing": [
            (f"{name}/postprocessing.png", f"Search for {shown}", "What thresholds are worth")
            for name, shown in asked.titles.items()
        ],
    }
    return _embedded(named, folder)


def _figures(asked: Asked, folder: Path) -> dict[str, list[Picture]]:
    """Return the figures that every run has by the section that they stand in."""
    titles = asked.all_titles
    named = {
        "classification": [
            ("classification_curves.png", "ROC and precision-recall curves", "Of all classifiers"),
            ("classification_confusion.png", "Confusion matrices", "Of all classifiers"),
            ("classification_reliability.png", "Reliability of classes", "Of all classifiers"),
            ("classification_cases.png", "Probability of the true class", "Of every case"),
            *(
                (
                    f"{name}/saliency.png",
                    f"{titles[name]}: what it looks at",
                    "Red adds to the logit of the class, blue takes from it; mean over validation "
                    "cases that are told rightly, against the same brain blurred",
                )
                for name in asked.models
            ),
        ],
        "training": [
            ("learning_curves.png", "All models side by side", "Score of validation patches"),
            *(
                (
                    f"{name}/training.png",
                    f"{titles[name]}: losses and scores of its folds",
                    "The score on random patches of validation cases is a sign, no result",
                )
                for name in asked.models
            ),
            *(
                (
                    f"{name}/augmentation.png",
                    f"{titles[name]}: augmentation",
                    "Patches before and after augmentation",
                )
                for name in asked.models
            ),
        ],
        "inference": [("inference.png", "Speed against Dice", "Of the ways to predict")],
        "data": [
            ("near_duplicates.png", "Nearly equal images", "Pairs; marked where classes differ"),
            ("preparation.png", "Preparation of images", "After each step"),
            ("brains.png", "Normalised brains", "Those that agree least with the template"),
        ],
    }
    return _embedded(named, folder)


def _embedded(
    named: dict[str, list[tuple[str, str, str]]], folder: Path
) -> dict[str, list[Picture]]:
    """Return the figures that there are of file, name and text of those of each section."""
    return {
        section: [
            embed(folder / file, name, f"{name}. {text}.")
            for file, name, text in shown
            if (folder / file).exists()
        ]
        for section, shown in named.items()
    }


def _plotted(
    asked: Asked,
    best: dict[str, Any],
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    metrics: pd.DataFrame,
    cases: list[Case],
) -> dict[str, Any]:
    """Return what the scripts of the page draw of a data set."""
    wanted = list(dict.fromkeys([*PLOTTED, best["metric"]]))
    arranged = arrange(metrics, wanted, asked.described["evaluated_regions"])
    names = [
        name
        for name in wanted
        if any(name in split.metrics and not np.isnan(split.of(name)).all() for split in arranged)
    ]
    labels = list(dict.fromkeys([ALL, *(label for split in arranged for label in split.labels)]))
    classes = {case.case: case.class_label for case in cases}
    following = next(
        (row["predictor"] for row in best["ranking"] if row["predictor"] != best["predictor"]),
        best["predictor"],
    )
    parts = {}
    for split in arranged:
        averaged = mean_of_defined(split.values[:, :, :, split.averaged], axis=3)[:, :, :, None]
        values = np.concatenate([averaged, split.values], axis=3)
        values_of = {
            predictor: {
                stage: {
                    label: {
                        name: column
                        for name in names
                        if name in split.metrics
                        and not np.isnan(
                            column := values[p, s, :, at, split.metrics.index(name)]
                        ).all()
                    }
                    for at, label in enumerate([ALL, *split.labels])
                }
                for s, stage in enumerate(split.stages)
            }
            for p, predictor in enumerate(split.predictors)
        }
        parts[split.split] = {
            "cases": split.cases,
            "folds": split.folds,
            "classes": [classes[case] for case in split.cases] if any(classes.values()) else None,
            "values": values_of,
        }
    first_split = next(iter(parts), "val")
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
        "splits": parts,
        "first": {
            "split": first_split,
            "metric": best["metric"],
            "label": ALL,
            "stage": best["stage"],
            "predictor": best["predictor"],
            "other": following,
        },
        "boxes": {
            "|".join([row.predictor, row.split, row.stage, row.label, row.metric]): [
                row.min,
                row.q1,
                row.median,
                row.q3,
                row.max,
            ]
            for row in own_rows(summary, fold=ALL).itertuples()
            if row.metric in names and row.n
        },
        "comparisons": _pairs(comparisons, names),
        "labelNames": label_names(asked.described["labels"]),
        "labelColours": label_colours(asked.described["labels"]),
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
