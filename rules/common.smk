"""Configuration, wildcards and the helper functions that the rules share."""

import json
from functools import cache
from pathlib import Path

from segflow.datasets.parts import state_of_part
from segflow.datasets.sources import folder_state
from segflow.files.labels import foreground
from segflow.files.damage import set_damage_aside
from segflow.files.code import code_key, module_key, procedure, procedures
from segflow.jobs.devices import count_gpus
from segflow.jobs.environment import share_environment
from segflow.predictors.baselines import BASELINES
from segflow.report.data_dictionary import dictionary_key
from segflow.report.page_folder import page_key
from segflow.run.configuration import Run, lasting
from segflow.run.locks import enter_run
from segflow.run.recorder import (
    check_module,
    check_passed_over,
    own_rules,
    record_end,
    record_start,
)
from segflow.run.targets import target_files
from snakemake.settings.types import ExecMode

RUN = Run(config)
# A workflow that uses this one as a module may have set them otherwise.
config["pathvars"] = {name: workflow.pathvars.get(name) for name in config["pathvars"]}
RESULTS = config["pathvars"]["results"]
check_module(workflow.modifier.path_modifier, RESULTS)
share_environment()
# Not in the jobs that a cluster runs by a Snakemake of their own.
if workflow.exec_mode == ExecMode.DEFAULT:
    enter_run(Path(".snakemake"))


wildcard_constraints:
    dataset="|".join(RUN.datasets),
    model="|".join(RUN.models),
    predictor="|".join(RUN.predictors),
    classifier="|".join(RUN.classifiers),
    exported="|".join(RUN.exportable),
    baseline="|".join(BASELINES),
    feature_classifier="|".join(config["feature_classifiers"]),
    plans="|".join(RUN.plannings),
    preprocessing="|".join({RUN.preprocessing(model) for model in RUN.models}),
    fold=r"\d+|all",
    part="train|test",
    split="val|test",
    stage="raw|postprocessed",


def mem_mb(base: int):
    """Return a resource function that asks for `base` MB more at each attempt, up to four times.

    Later attempts are those of trainings that take several time limits.
    """
    return lambda wildcards, attempt: base * min(attempt, 4)


def minutes(base: int):
    """Return a resource function that asks for `base` minutes more at each attempt."""
    return lambda wildcards, attempt: base * attempt


def all_cores() -> int:
    """Return threads for work that must be alone on its machine."""
    return (None if on_cluster() else workflow.resource_settings.cores) or 16


def half_of_cores() -> int:
    """Return threads for work on many cases: two such jobs, of two models say, run together."""
    return max(1, all_cores() // 2)


def on_cluster() -> bool:
    """Say whether jobs run on other machines, of which this one tells nothing."""
    return workflow.remote_exec or not workflow.local_exec


def n_gpus(wildcards) -> int:
    """Return the GPUs that a job of training or prediction needs: one, if there are any."""
    there = on_cluster() or count_gpus() > 0
    return int(config["device"] == "cuda" or (config["device"] == "auto" and there))


def results_folder(wildcards) -> str:
    """Return the folder of all results, below which nnU-Net's three folders lie."""
    return RESULTS


def nnunet_raw(wildcards) -> str:
    """Return the folder of a data set in nnU-Net's raw layout."""
    return f"{RESULTS}/nnUNet_raw/{RUN.nnunet_name(wildcards.dataset)}"


def nnunet_name(wildcards) -> str:
    """Return nnU-Net's name of the data set."""
    return RUN.nnunet_name(wildcards.dataset)


@cache
def raw_state_of(dataset: str, part: str) -> str:
    """Return a key of the raw files of one part, or all, of a data set."""
    record = Path(RESULTS, dataset, "cases", f"{part}_sources.json")
    described, rule = RUN.datasets[dataset], RUN.part_rule(dataset)
    return state_of_part(described, RUN.raw_folder(dataset), rule, part, record)


def raw_state(wildcards) -> str:
    """Return a key of the raw files that a job of conversion depends on."""
    return raw_state_of(wildcards.dataset, wildcards.get("part", "all"))


def new_images_state(wildcards) -> str:
    """Return a key of the images to segment; their segmentations may lie among them."""
    wanted = config["new_images"]
    return folder_state(Path(wanted["folder"]), without=Path(wanted["output"]))


def go_on(wildcards) -> str:
    """Return the option to segment the other images first where some are faulty."""
    return "--go-on" if config["new_images"]["faulty"] == "go_on" else ""


def scored_lesions(wildcards) -> dict | None:
    """Return what counts as a lesion, if the search for post-processing scores their detection."""
    by_dice = config["postprocessing"]["objective"] == "dice"
    return None if by_dice else RUN.datasets[wildcards.dataset]["lesions"]


def evaluated_regions(wildcards) -> list[str]:
    """Return the names of the regions that no mean over labels counts."""
    return list(RUN.datasets[wildcards.dataset]["evaluated_regions"])


def distance_penalty_mm(wildcards) -> float | None:
    """Return what an infinite distance counts as in penalised means, if the data set says it."""
    return RUN.datasets[wildcards.dataset].get("distance_penalty_mm")


def brains_folder(wildcards) -> str:
    """Return the folder of a data set's normalised brains."""
    return f"{RESULTS}/{wildcards.dataset}/brains"


@cache
def brains_state_of(dataset: str) -> str:
    """Return a key of the raw files of all cases, whose brains are normalised together."""
    described, rule = RUN.datasets[dataset], RUN.part_rule(dataset)
    record = Path(RESULTS, dataset, "brains_sources.json")
    return state_of_part(described, RUN.raw_folder(dataset), rule, "all", record)


def brains_state(wildcards) -> str:
    """Return a key of the raw files that a job of normalisation depends on."""
    return brains_state_of(wildcards.dataset)


def normalised_brains(wildcards) -> str | list:
    """Return the table of normalised brains of a data set that asks for them."""
    wanted = "brain" in RUN.datasets[wildcards.dataset]["reading"]
    return "<results>/{dataset}/brains.csv" if wanted else []


def made_of_download(wildcards) -> str | list:
    """Return the record of a raw folder that is made of a download."""
    wanted = wildcards.dataset in config["raw_downloads"]
    return "<results>/{dataset}/bids.json" if wanted else []


def near_duplicates(wildcards) -> str | list:
    """Return the table of near-duplicates of a data set that asks for it."""
    wanted = "near_duplicates" in RUN.datasets[wildcards.dataset]
    return "<results>/{dataset}/near_duplicates.csv" if wanted else []


def converter_key(wildcards) -> str:
    """Return a hash of the code of a data set's converter, which is no import of any script."""
    return module_key(f"datasets.converters.{RUN.datasets[wildcards.dataset]['converter']}")


def preprocessing_of(wildcards) -> str:
    """Return the name of the preprocessed data that a model works on."""
    return RUN.preprocessing(wildcards.model)


def preprocessed_cases(wildcards) -> str:
    """Return the table of preprocessed cases that a prediction needs."""
    part = "test" if wildcards.get("split") == "test" else "train"
    return f"<results>/{{dataset}}/preprocessed/{preprocessing_of(wildcards)}/{part}.csv"


def previous_stage(wildcards) -> list[str]:
    """Return the table of the previous stage's cases that a cascade needs, if it is one."""
    if "previous_model" not in RUN.models[wildcards.model]:
        return []
    part = "test" if wildcards.get("split") == "test" else "train"
    return [f"<results>/{{dataset}}/{{model}}/previous_stage/{part}.csv"]


def base_plans(wildcards) -> str:
    """Return the name of the base plans of preprocessed data."""
    return RUN.base_of(wildcards.preprocessing)[0]


def kept_or_temporary(path: str):
    """Mark an output as temporary unless the configuration keeps probabilities."""
    return path if config["keep_probabilities"] else temp(path)


def members(pattern: str):
    """Return an input function: `pattern` for each model and fold of a predictor."""
    return lambda wildcards: [
        file
        for model, fold, _ in RUN.members(wildcards.predictor)
        for file in collect(pattern, model=model, fold=fold, allow_missing=True)
    ]


def class_tables(split: str):
    """Return an input function: the tables of classes that a classifier averages, for a split."""
    return lambda wildcards: [
        f"<results>/{wildcards.dataset}/{member}/classes/fold_{fold}_{split}.csv"
        for member, fold, _ in RUN.class_members(wildcards.classifier, split)
    ]


def measured_features(wildcards) -> list[str]:
    """Return the features that a classifier is fitted to, and those of the cases to tell."""
    wanted = config["feature_classifiers"][wildcards.feature_classifier]
    if wanted["features"] == "regions":
        return [f"<results>/{wildcards.dataset}/region_volumes.csv"]
    predictor = wanted["predictor"]
    splits = ["val"] if wildcards.split == "val" else ["val", "test"]
    return collect(f"<results>/{{{{dataset}}}}/{predictor}/features_{{split}}.csv", split=splits)


def lesion_values(wildcards) -> list[int]:
    """Return the label values of a data set's lesions."""
    dataset = RUN.datasets[wildcards.dataset]
    values = foreground(dataset["labels"])
    return sorted({value for name in dataset["lesions"]["labels"] for value in values[name]})


def class_names(wildcards) -> list[str]:
    """Return the names of the classes of a data set."""
    return RUN.datasets[wildcards.dataset]["classes"]


def published_of_classes(wildcards) -> list[str]:
    """Return what published results call classes of cases, and no label."""
    classes = RUN.datasets[wildcards.dataset].get("classes", [])
    labels = RUN.measured(wildcards.dataset)
    return [name for name in (*classes, "macro", "micro") if name not in labels]


def class_titles() -> dict[str, str]:
    """Return the titles of all predictors that tell classes."""
    return {name: RUN.title(name) for name in RUN.classifiers}


def measured_probabilities(kind: str):
    """Return an input function: tables of a data set that only probabilities tell.

    There are none if it does not ask for them.
    """
    return lambda wildcards: [
        f"<results>/{wildcards.dataset}/{predictor}/{kind}_{split}.csv"
        for predictor in RUN.predictors
        for split in RUN.splits_of(predictor)
        if RUN.measures_probabilities(wildcards.dataset)
    ]


def predicted(pattern: str):
    """Return an input function: `pattern` for each split of a predictor, and each stage."""
    return lambda wildcards: collect(
        pattern,
        split=RUN.splits_of(wildcards.predictor),
        stage=["raw", "postprocessed"],
        allow_missing=True,
    )


def trainings(datasets, models) -> list[str]:
    """Return the manifests of all trainings of some models on some data sets."""
    return [
        f"<results>/{dataset}/{model}/fold_{fold}/training.json"
        for dataset in datasets
        for model in models
        for fold in RUN.folds_of(model)
    ]


def targets(step: str) -> list[str]:
    """Return the files of a step for the selected data sets, models and folds."""
    return target_files(RUN, step)
