"""Configuration, wildcards and the helper functions that the rules share."""

from functools import cache
from pathlib import Path

from segflow.files.code import code_key, module_key, procedure, procedures
from segflow.jobs.devices import count_gpus
from segflow.jobs.environment import share_environment
from segflow.run.locks import enter_run
from segflow.run.recorder import record_end, record_start
from segflow.datasets.parts import cases_of_part
from segflow.run.configuration import Run, lasting
from segflow.datasets.sources import folder_state, state_of_sources
from snakemake.settings.types import ExecMode

RUN = Run(config)
RESULTS = config["pathvars"]["results"]
share_environment()
# Not in the jobs that a cluster runs by a Snakemake of their own.
if workflow.exec_mode == ExecMode.DEFAULT:
    enter_run(Path(".snakemake"))


wildcard_constraints:
    dataset="|".join(RUN.datasets),
    model="|".join(RUN.models),
    predictor="|".join(RUN.predictors),
    plans="|".join({RUN.plans(model) for model in RUN.models}),
    preprocessing="|".join({RUN.preprocessing(model) for model in RUN.models}),
    fold=r"\d+",
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


def half_of_cores() -> int:
    """Return threads for work on many cases: two such jobs, of two models say, run together."""
    cores = None if on_cluster() else workflow.resource_settings.cores
    return max(1, (cores or 16) // 2)


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
def state_of_part(dataset: str, part: str) -> str:
    """Return a key of the raw files of one part, or all, of a data set (see `segflow.datasets.sources`)."""
    raw = RUN.raw_folder(dataset)
    record = Path(RESULTS, dataset, "cases", f"{part}_sources.json")
    try:
        cases = cases_of_part(RUN.datasets[dataset], raw, RUN.part_rule(dataset), part)
    except (FileNotFoundError, ValueError):
        return folder_state(raw, record)  # the job says what is wrong
    return state_of_sources(raw, cases, record)


def raw_state(wildcards) -> str:
    """Return a key of the raw files that a job of conversion depends on."""
    return state_of_part(wildcards.dataset, wildcards.get("part", "all"))


def scored_lesions(wildcards) -> dict | None:
    """Return what counts as a lesion, if the search for post-processing scores their detection."""
    by_dice = config["postprocessing"]["objective"] == "dice"
    return None if by_dice else RUN.datasets[wildcards.dataset]["lesions"]


def evaluated_regions(wildcards) -> list[str]:
    """Return the names of the regions that no mean over labels counts."""
    return list(RUN.datasets[wildcards.dataset]["evaluated_regions"])


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
    return lambda wildcards: collect(
        pattern, model=RUN.predictors[wildcards.predictor], fold=RUN.folds, allow_missing=True
    )


def targets(step: str) -> list[str]:
    """Return the files of a step for the selected data sets, models and folds."""
    ranking = ["<results>/ranking.csv"] if len(RUN.datasets) > 1 else []
    maps = "<results>/{dataset}/{predictor}/predictions/{split}/postprocessed/predictions.csv"
    patterns = {
        "convert": ["<results>/{dataset}/cases.csv"],
        "split": ["<results>/{dataset}/splits.json"],
        "plan": ["<results>/{dataset}/{model}/plans.json"],
        "preprocess": ["<results>/{dataset}/preprocessed/{preprocessing}/{part}.csv"],
        "train": ["<results>/{dataset}/{model}/fold_{fold}/training.json"],
        "predict": [maps],
        "evaluate": [
            "<results>/{dataset}/summary.csv",
            "<results>/{dataset}/best.json",
            "<results>/{dataset}/comparisons.csv",
            "<results>/{dataset}/{predictor}/metrics.csv",
            *ranking,
        ],
        "figures": [
            "<results>/{dataset}/summary.csv",
            "<results>/{dataset}/best.json",
            "<results>/{dataset}/comparisons.png",
            "<results>/{dataset}/metrics.png",
            "<results>/{dataset}/{model}/training.png",
            "<results>/{dataset}/{predictor}/cases_{split}.png",
            "<results>/{dataset}/{predictor}/postprocessing.png",
            "<results>/run.json",
            *ranking,
        ],
        "report": ["<results>/report.html"],
        "segment": (
            [f"{config['new_images']['output']}/segmentations.csv"]
            if "new_images" in config
            else []
        ),
        "discard": [] if config["keep_probabilities"] else ["<results>/{dataset}/discarded.csv"],
    }
    chosen = RUN.selected
    if step in ("convert", "figures"):
        patterns[step] += [
            f"<results>/{name}/preparation.png"
            for name in chosen["dataset"]
            if "mammography" in RUN.datasets[name]["reading"]
        ]
    return collect(
        patterns[step],
        **chosen,
        split=["val", "test"],
        part=["train", "test"],
        preprocessing=sorted({RUN.preprocessing(model) for model in chosen["model"]}),
    )
