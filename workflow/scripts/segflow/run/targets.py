"""The files that each target of the workflow asks for."""

from itertools import product
from string import Formatter

from segflow.run.configuration import Run

# What predictors write, by their task.
PREDICTED = {
    "maps": {
        "predict": ["{dataset}/{predictor}/predictions/{split}/postprocessed/predictions.csv"],
        "evaluate": ["{dataset}/{predictor}/metrics.csv"],
        "figures": [
            "{dataset}/{predictor}/cases_{split}.png",
            "{dataset}/{predictor}/postprocessing.png",
        ],
        "tables": [
            "{dataset}/{predictor}/metrics.csv",
            "{dataset}/{predictor}/lesions.csv",
            "{dataset}/{predictor}/components.csv",
        ],
    },
    "classes": {
        "predict": ["{dataset}/{predictor}/classification.csv"],
        "tables": ["{dataset}/{predictor}/classification.csv"],
    },
}
TASKS = {"maps": ["maps"], "classes": ["classes"], "both": ["maps", "classes"]}
# What data sets and models have, whatever their predictors do.
PREPARED: dict[str, list[str]] = {
    "convert": ["{dataset}/cases.csv", "{dataset}/dataset.json"],
    "split": ["{dataset}/splits.json", "{dataset}/splits.csv"],
    "plan": ["{dataset}/{model}/plans.json"],
    "preprocess": ["{dataset}/preprocessed/{preprocessing}/{part}.csv"],
    "train": ["{dataset}/{model}/fold_{fold}/training.json"],
    "onnx": ["{dataset}/{model}/fold_{fold}/network.onnx"],
    "evaluate": ["{dataset}/dataset.json"],
    "figures": [
        "{dataset}/dataset.json",
        "{dataset}/splits.csv",
        "{dataset}/{model}/training.png",
        "{dataset}/costs.csv",
        "run.json",
    ],
    "page": [
        "{dataset}/cases.csv",
        "{dataset}/problems.csv",
        "{dataset}/costs.csv",
        "{dataset}/{model}/fold_{fold}/training.json",
    ],
    "tables": [
        "{dataset}/cases.csv",
        "{dataset}/problems.csv",
        "{dataset}/splits.csv",
        "{dataset}/costs.csv",
        "{dataset}/{model}/fold_{fold}/progress.csv",
    ],
    "report": [
        "report.html",
        "workflow_report.html",
        "datapackage.json",
        "ro-crate-metadata.json",
    ],
    "discard": ["{dataset}/discarded.csv"],
}
# What data sets have whose cases a predictor segments.
MAPS = {
    "evaluate": ["summary.csv", "best.json", "comparisons.csv"],
    "figures": ["summary.csv", "best.json", "comparisons.png", "metrics.png", "volumes.png"],
    "page": [
        "flow.csv",
        "comparisons.csv",
        "volumes.csv",
        "lesion_detection.csv",
        "structure_detection.csv",
        "subgroups.csv",
        "rank_stability.csv",
        "viewer.csv",
    ],
    "tables": [
        "summary.csv",
        "comparisons.csv",
        "flow.csv",
        "volumes.csv",
        "lesion_detection.csv",
        "structure_detection.csv",
        "subgroups.csv",
        "rank_stability.csv",
        "viewer.csv",
    ],
    "report": ["labels_itksnap.txt", "labels_slicer.ctbl"],
}
# What data sets have if ways to predict are studied.
INFERENCE = ["inference.csv", "inference.json", "inference.png"]
# What data sets have of whose cases a predictor tells the class.
CLASSES = {
    "evaluate": ["classification_summary.csv", "classification_comparisons.csv"],
    "figures": [
        "classification_summary.csv",
        "classification_subgroups.csv",
        "classification_comparisons.csv",
        "classification_curves.png",
        "classification_confusion.png",
        "classification_reliability.png",
        "classification_cases.png",
    ],
    "tables": [
        "classification_summary.csv",
        "classification_subgroups.csv",
        "classification_comparisons.csv",
    ],
}
# What data sets have that ask for it.
PROBABILITIES = {
    "evaluate": ["calibration.csv"],
    "figures": ["reliability.png", "froc.png"],
    "tables": ["calibration.csv", "reliability.csv", "froc.csv", "froc_curves.csv"],
}


def target_files(run: Run, step: str) -> list[str]:
    """Return the files of a step for the selected data sets, models and folds.

    Parameters
    ----------
    run : Run
        What the configuration asks for.
    step : str
        A step of ``PREPARED`` or ``PREDICTED``, ``segment`` for new images, or ``export``.

    Returns
    -------
    list of str
        Paths that begin with Snakemake's variable ``<results>``, or with the folder for new images.
    """
    if step == "segment":
        if not run.told_of_new_images:
            return []
        wanted = run.config["new_images"]
        # Of images that are gone on with, something fails when all of them are done.
        last = [".complete"] if wanted["faulty"] == "go_on" else []
        return [f"{wanted['output']}/{name}" for name in (*run.told_of_new_images, *last)]
    if step == "discard" and run.config["keep_probabilities"]:
        return []
    chosen = run.selected
    values = {
        "dataset": chosen["dataset"],
        "part": ["train", "test"],
        "preprocessing": sorted({run.preprocessing(model) for model in chosen["model"]}),
    }
    files = []
    for pattern in PREPARED.get(step, ()):
        models = chosen["model"] if "{model}" in pattern else [None]
        for model in models:
            folds = run.chosen_folds(model) if model else []
            files += _fill(pattern, {**values, "model": [model], "fold": folds})
    for predictor in chosen["predictor"]:
        own = {**values, "predictor": [predictor], "split": run.splits_of(predictor)}
        for task in TASKS[run.task(predictor)]:
            having = [d for d in own["dataset"] if task == "maps" or run.has_classes(d)]
            for pattern in PREDICTED[task].get(step, ()):
                files += _fill(pattern, {**own, "dataset": having})
    if step == "export":
        files += [
            f"{dataset}/{name}/predictor.zip"
            for dataset, name in product(chosen["dataset"], chosen["predictor"])
            if name in run.exportable
        ]
    if step == "figures" and len(run.models) > 1:
        files += [f"{dataset}/learning_curves.png" for dataset in chosen["dataset"]]
    if step == "figures" and len(run.predictors) > 1:
        files += _fill(
            "{dataset}/case_comparison_{split}.png", {**values, "split": ["val", "test"]}
        )
    if step == "figures":
        files += [
            f"{dataset}/{model}/augmentation.png"
            for dataset, model in product(chosen["dataset"], chosen["model"])
            if run.models[model]["training"]["augmentation"] != "none"
        ]
    if step == "figures":
        files += [
            f"{dataset}/{model}/saliency.png"
            for dataset in chosen["dataset"]
            for model in run.explained(dataset)
            if model in chosen["model"]
        ]
    if step in ("convert", "figures"):
        files += [
            f"{name}/preparation.png"
            for name in chosen["dataset"]
            if "mammography" in run.datasets[name]["reading"]
        ]
    if step in ("split", "figures", "tables"):
        files += [f"{name}/cohort.csv" for name in filter(run.is_cohort, chosen["dataset"])]
    if step == "tables":
        files += [f"{name}/brains.csv" for name in filter(run.is_cohort, chosen["dataset"])]
        files += [
            f"{name}/near_duplicates.csv"
            for name in chosen["dataset"]
            if "near_duplicates" in run.datasets[name]
        ]
    if step in ("convert", "figures"):
        files += [f"{name}/brains.png" for name in filter(run.is_cohort, chosen["dataset"])]
    if "inference_study" in run.config and step in ("inference", "figures", "page"):
        files += [f"{dataset}/{name}" for dataset in chosen["dataset"] for name in INFERENCE]
    if "inference_study" in run.config and step == "tables":
        files += [f"{dataset}/{INFERENCE[0]}" for dataset in chosen["dataset"]]
    if run.predictors:
        maps = MAPS.get(step, [])
        files += [f"{dataset}/{name}" for dataset in chosen["dataset"] for name in maps]
    if step in ("evaluate", "figures", "tables"):
        files += [
            f"{dataset}/{name}"
            for dataset in filter(run.measures_probabilities, chosen["dataset"])
            for name in PROBABILITIES[step]
        ]
        files += [
            f"{dataset}/{name}"
            for dataset in filter(run.classifies, chosen["dataset"])
            for name in CLASSES[step]
        ]
    if step in PROBABILITIES and len(run.datasets) > 1 and run.predictors:
        files.append("ranking.csv")
    return [f"<results>/{file}" for file in files]


def _fill(pattern: str, values: dict[str, list]) -> list[str]:
    """Return a pattern with each combination of the values that it names."""
    names = [name for _, name, _, _ in Formatter().parse(pattern) if name]
    return [
        pattern.format(**dict(zip(names, chosen, strict=True)))
        for chosen in product(*(values[name] for name in names))
    ]
