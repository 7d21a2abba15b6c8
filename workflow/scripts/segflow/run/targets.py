"""The files that each target of the workflow asks for."""

from collections.abc import Callable, Iterator
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
RANKED = ("evaluate", "figures", "tables")  # of several data sets together
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
PROBABILITIES = {
    "evaluate": ["calibration.csv"],
    "figures": ["reliability.png", "froc.png"],
    "tables": ["calibration.csv", "reliability.csv", "froc.csv", "froc_curves.csv"],
}
STUDIED = ["inference.csv", "inference.json", "inference.png"]
INFERENCE = {
    "inference": STUDIED,
    "figures": STUDIED,
    "page": STUDIED,
    "tables": ["inference.csv"],
}
COHORT = {
    "convert": ["brains.png"],
    "split": ["cohort.csv"],
    "figures": ["brains.png", "cohort.csv"],
    "tables": ["brains.csv", "cohort.csv"],
}
# What some data sets have by step, and which.
OF_DATASETS: list[tuple[Callable[[Run, str], bool], dict[str, list[str]]]] = [
    (lambda run, _: bool(run.predictors), MAPS),
    (lambda run, dataset: run.classifies(dataset), CLASSES),
    (lambda run, dataset: run.measures_probabilities(dataset), PROBABILITIES),
    (lambda run, _: "inference_study" in run.config, INFERENCE),
    (lambda run, dataset: run.is_cohort(dataset), COHORT),
    (
        lambda run, dataset: "mammography" in run.datasets[dataset]["reading"],
        {"convert": ["preparation.png"], "figures": ["preparation.png"]},
    ),
    (
        lambda run, dataset: "near_duplicates" in run.datasets[dataset],
        {"tables": ["near_duplicates.csv"]},
    ),
    (lambda run, _: len(run.models) > 1, {"figures": ["learning_curves.png"]}),
    (
        lambda run, _: len(run.predictors) > 1,
        {"figures": ["case_comparison_val.png", "case_comparison_test.png"]},
    ),
]
# What some models have of a data set among the figures, and which.
FIGURES_OF_MODELS: list[tuple[Callable[[Run, str, str], bool], str]] = [
    (
        lambda run, _, model: run.models[model]["training"]["augmentation"] != "none",
        "augmentation.png",
    ),
    (lambda run, dataset, model: model in run.explained(dataset), "saliency.png"),
]


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
    files = [*_prepared(run, step), *_predicted(run, step)]
    for dataset in chosen["dataset"]:
        for applies, names in OF_DATASETS:
            if applies(run, dataset):
                files += [f"{dataset}/{name}" for name in names.get(step, ())]
    pairs = list(product(chosen["dataset"], chosen["model"]))
    for applies, name in FIGURES_OF_MODELS if step == "figures" else ():
        files += [
            f"{dataset}/{model}/{name}" for dataset, model in pairs if applies(run, dataset, model)
        ]
    if step == "export":
        files += [
            f"{dataset}/{name}/predictor.zip"
            for dataset, name in product(chosen["dataset"], chosen["predictor"])
            if name in run.exportable
        ]
    if step in RANKED and len(run.datasets) > 1 and run.predictors:
        files.append("ranking.csv")
    return [f"<results>/{file}" for file in files]


def _prepared(run: Run, step: str) -> Iterator[str]:
    """Give the files that data sets and models have, whatever their predictors do."""
    chosen = run.selected
    values = {
        "dataset": chosen["dataset"],
        "part": ["train", "test"],
        "preprocessing": sorted({run.preprocessing(model) for model in chosen["model"]}),
    }
    for pattern in PREPARED.get(step, ()):
        for model in chosen["model"] if "{model}" in pattern else [None]:
            folds = run.chosen_folds(model) if model else []
            yield from _fill(pattern, {**values, "model": [model], "fold": folds})


def _predicted(run: Run, step: str) -> Iterator[str]:
    """Give the files that predictors write, by what they say of a case."""
    chosen = run.selected
    for predictor in chosen["predictor"]:
        splits = run.splits_of(predictor)
        for task in TASKS[run.task(predictor)]:
            having = [one for one in chosen["dataset"] if task == "maps" or run.has_classes(one)]
            values = {"dataset": having, "predictor": [predictor], "split": splits}
            for pattern in PREDICTED[task].get(step, ()):
                yield from _fill(pattern, values)


def _fill(pattern: str, values: dict[str, list]) -> list[str]:
    """Return a pattern with each combination of the values that it names."""
    names = [name for _, name, _, _ in Formatter().parse(pattern) if name]
    return [
        pattern.format(**dict(zip(names, chosen, strict=True)))
        for chosen in product(*(values[name] for name in names))
    ]
