"""What one configuration asks for, held against itself before anything is computed."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segflow.files.labels import foreground
from segflow.files.words import counted
from segflow.models.planners import normalisation
from segflow.models.prediction_settings import CASCADE, REFERENCE
from segflow.predictors.baselines import BASELINES
from segflow.run.schemas import check

if TYPE_CHECKING:
    from segflow.run.configuration import Run


def check_run(run: "Run") -> None:
    """Check models, ensembles, classifiers and choices of a run against each other.

    Raises
    ------
    FileNotFoundError
        If an archive is not there.
    ValueError
        If a name is unknown, a fold does not exist, or something is asked for that is impossible.
    """
    _check_folds(run, run.folds, "folds")
    _check_models(run)
    _check_ensembles(run)
    _check_feature_classifiers(run)
    _check_selection(run)
    _check_postprocessing(run)
    _check_inference_study(run)
    if "saliency" in run.config and not any(map(run.explained, run.datasets)):
        raise ValueError(
            "configuration: saliency: there is nothing to explain; needed are a data set with "
            "task: classification and a model with the key classifier, cross-validated and "
            "without previous_model"
        )


def check_downloads(run: "Run") -> None:
    """Check that only raw folders of ADNI are to be made of downloads, which are there."""
    for name, wanted in run.config["raw_downloads"].items():
        where = f"configuration: raw_downloads.{name}"
        converter = run.datasets[name]["converter"]
        if converter != "adni" or not run.is_cohort(name):
            raise ValueError(
                f"{where}: only ADNI is converted, and only with task: classification; {name} "
                f"has {converter!r}"
            )
        for key, folder in wanted.items():
            if not Path(folder).is_dir():
                raise FileNotFoundError(f"{where}.{key}: {folder}: no such folder")


def _check_models(run: "Run") -> None:
    for name, model in run.models.items():
        _check_previous(run, name, model)
        _check_gpus(run, name, model)
        _check_region(run, name, model)
        if run.learns_classes(name):
            _check_classes(run, name)
        axes = 2 if model["configuration"] == "2d" else 3
        if len(patch := model["overrides"].get("patch_size", [1] * axes)) != axes:
            raise ValueError(
                f"config/models/{name}.yaml: overrides.patch_size: {model['configuration']} "
                f"has {axes} axes, found {patch}"
            )
    if run.segmenting and all("fold" in run.models[name] for name in run.segmenting):
        raise ValueError(
            f"configuration: models: {', '.join(run.segmenting)} have fold: all, so none has "
            "validation cases, on which the best predictor is chosen; add a model that is "
            "cross-validated"
        )


def _check_previous(run: "Run", name: str, model: dict) -> None:
    """Check the model whose segmentations another one looks at: a cascade, or a classifier."""
    where = f"config/models/{name}.yaml: previous_model"
    previous = model.get("previous_model")
    is_cascade = model["configuration"] == CASCADE
    if is_cascade and (previous is None or run.tells_only_classes(name)):
        raise ValueError(
            f"{where}: the configuration 3d_cascade_fullres needs one, and a network that "
            f"segments; found {previous!r} and {model['network']['name']}"
        )
    if previous is None:
        return
    region = model["prediction"]["region"]
    if not is_cascade and not run.tells_only_classes(name) and region != "previous":
        raise ValueError(
            f"{where} goes with the configuration 3d_cascade_fullres, with a classifier, or "
            f"with prediction.region: previous; found {previous!r}, {model['configuration']!r} "
            f"and {region!r}"
        )
    if is_cascade and run.models[previous]["configuration"] != "3d_lowres":
        raise ValueError(
            f"{where} {previous!r} must have the configuration 3d_lowres, found "
            f"{run.models[previous]['configuration']!r}"
        )
    if run.tells_only_classes(previous):
        raise ValueError(f"{where} {previous!r} segments nothing; allowed are models that do")
    if "fold" in run.models[previous]:
        raise ValueError(
            f"{where} {previous!r} has fold: all, so it predicts no training cases; a model "
            "that is cross-validated does"
        )
    if run.starts_from_previous(name) and (run.n_folds < 2 or len(run.folds) < run.n_folds):
        raise ValueError(
            f"configuration: folds: {name} learns from what {previous} predicts of all cases; "
            f"it needs all folds, two or more, found {run.folds} of {run.n_folds}; "
            "select.folds chooses some of them for a start"
        )


def _check_region(run: "Run", name: str, model: dict) -> None:
    """Check that it can be told where a network looks in prediction."""
    region = model["prediction"]["region"]
    where = f"config/models/{name}.yaml: prediction.region is {region}"
    if region == "previous" and "previous_model" not in model:
        raise ValueError(f"{where}, but no previous_model says where to look")
    if region != "whole" and run.tells_only_classes(name):
        raise ValueError(f"{where}; a classifier looks at windows, see classifier.windows")
    for dataset in run.datasets if region == "body" else ():
        channels = run.datasets[dataset]["channels"]
        if normalisation(channels[0]) != normalisation("CT"):
            raise ValueError(
                f"{where}, which is found in CT; the first channel of {dataset} is {channels[0]}"
            )


def _check_classes(run: "Run", name: str) -> None:
    """Check that every data set has classes, and the structure that a model looks at."""
    key = "classifier" if run.tells_only_classes(name) else "head"
    for dataset, described in run.datasets.items():
        if len(described.get("classes", [])) < 2:
            raise ValueError(
                f"config/models/{name}.yaml: a {key} needs two classes or more, but "
                f"config/datasets/{dataset}.yaml has {described.get('classes', 'none')}"
            )
        known = list(foreground(described["labels"]))
        for label in run.models[name][key].get("structure", []):
            if label not in known:
                raise ValueError(
                    f"config/models/{name}.yaml: {key}.structure: {dataset} has no label "
                    f"{label!r}; known: {', '.join(known)}"
                )


def _check_gpus(run: "Run", name: str, model: dict) -> None:
    """Check that a training on several GPUs can be; its plans may refuse it later."""
    n_gpus, device = model["n_gpus"], run.config["device"]
    where = f"config/models/{name}.yaml: n_gpus is {n_gpus}"
    if n_gpus > 1 and device not in ("auto", "cuda"):
        raise ValueError(f"{where}, but device is {device!r}; several need cuda or auto")
    if n_gpus > 1 and model["gpu_share"] > 1:
        raise ValueError(f"{where} and gpu_share {model['gpu_share']}; one of them must be 1")
    if n_gpus > model["overrides"].get("batch_size", n_gpus):
        raise ValueError(
            f"{where}, but overrides.batch_size is {model['overrides']['batch_size']}; each "
            "GPU needs a patch of the batch"
        )


def _check_ensembles(run: "Run") -> None:
    known = run.models | run.config["feature_classifiers"]
    for name, ensemble in run.config["ensembles"].items():
        where = f"configuration: ensembles.{name}"
        if name in run.models:
            raise ValueError(f"{where}: the name is taken by a model")
        members = ensemble["members"]
        chosen(members, known, f"ensembles.{name}.members")
        weights = ensemble.get("weights", [1] * len(members))
        if len(weights) != len(members):
            raise ValueError(
                f"{where}: {counted(len(members), 'member')}, but {counted(len(weights), 'weight')}"
            )
        if not all(map(math.isfinite, weights)):
            raise ValueError(f"{where}.weights: must be finite numbers, found {weights}")
        telling = [member for member in members if run.tells_classes(member)]
        if sum(member in run.segmenting for member in members) < 2 > len(telling):
            raise ValueError(
                f"{where}.members: {', '.join(members)} have neither label maps nor classes to "
                "average; two members that have the same are needed"
            )


def _check_feature_classifiers(run: "Run") -> None:
    for name, wanted in run.config["feature_classifiers"].items():
        where = f"configuration: feature_classifiers.{name}"
        if name in run.predictors or name in run.config["ensembles"]:
            raise ValueError(f"{where}: the name is taken by a model or an ensemble")
        if wanted["features"] == "regions":
            _check_regions(run, where, wanted)
            continue
        if "predictor" not in wanted:
            raise ValueError(f"{where}.predictor: is required, its lesions are measured")
        predictor = wanted["predictor"]
        chosen([predictor], run.predictors, f"feature_classifiers.{name}.predictor")
        if run.splits_of(predictor) == ["test"]:
            raise ValueError(
                f"{where}.predictor: {predictor} predicts no training cases, whose lesions the "
                "classifier learns from; allowed are predictors that are cross-validated"
            )
        if len(run.folds) < 2:
            raise ValueError(
                f"{where}: needs two folds or more, found {run.folds}: it learns from lesions "
                "as networks of other folds predict them"
            )
        classified = [name for name in run.datasets if run.has_classes(name)]
        if not classified:
            raise ValueError(
                f"{where}: needs two classes or more, under the key classes in one of "
                f"{', '.join(f'config/datasets/{name}.yaml' for name in run.datasets)}"
            )
        for dataset in classified:
            if "lesions" not in run.datasets[dataset]:
                raise ValueError(
                    f"{where}: needs the key lesions in config/datasets/{dataset}.yaml, which "
                    "says what to measure features of"
                )
    for name in BASELINES if run.classifiers else ():
        if name in {*run.predictors, *run.config["feature_classifiers"]}:
            raise ValueError(
                f"configuration: the name {name!r} is taken by a baseline, which every table "
                "of classifiers has; choose another"
            )


def _check_regions(run: "Run", where: str, wanted: dict) -> None:
    """Check a classifier of regions of the brain, which no predictor has to find."""
    if "predictor" in wanted:
        raise ValueError(f"{where}.predictor: goes with features: lesions")
    for dataset in filter(run.has_classes, run.datasets):
        if not run.is_cohort(dataset):
            raise ValueError(
                f"{where}.features: regions need task: classification in "
                f"config/datasets/{dataset}.yaml"
            )


def _check_inference_study(run: "Run") -> None:
    """Check models and settings of a study of inference."""
    if "inference_study" not in run.config:
        return
    wanted = run.config["inference_study"]
    where = "configuration: inference_study"
    chosen(wanted["models"], dict.fromkeys(run.segmenting), "inference_study.models")
    for name in wanted["models"]:
        if "fold" in run.models[name]:
            raise ValueError(
                f"{where}.models: {name} has fold: all, so it has no validation cases; allowed "
                "are models that are cross-validated"
            )
    if REFERENCE in wanted["settings"]:
        raise ValueError(
            f"{where}.settings: the name {REFERENCE!r} is taken by nnU-Net's own settings"
        )
    for name in run.studied_models:
        for setting, prediction in run.settings_to_try(name).items():
            tried = {key: run.models[name][key] for key in ("title", "configuration")}
            check(tried | {"prediction": prediction}, "model", f"{where}.settings.{setting}")
            _check_region(run, name, run.models[name] | {"prediction": prediction})


def _check_selection(run: "Run") -> None:
    select = run.config["select"]
    chosen(select["datasets"], run.datasets, "select.datasets")
    chosen(select["models"], run.predictors | run.classifiers, "select.models")
    _check_folds(run, select["folds"], "select.folds")
    metric = run.config["selection"]["metric"]
    needed = {"nsd": "surface_tolerance_mm", "lesion_f1": "lesions"}.get(metric)
    for name, dataset in run.datasets.items():
        if needed and needed not in dataset:
            raise ValueError(
                f"configuration: selection.metric: {metric} needs the key {needed} in "
                f"config/datasets/{name}.yaml"
            )
    if "new_images" in run.config:
        _check_new_images(run, run.config["new_images"])


def _check_new_images(run: "Run", wanted: dict) -> None:
    ours, theirs = {"dataset", "predictor"}, {"archive", "configuration"}
    if Path(wanted["output"]).resolve() == Path(wanted["folder"]).resolve():
        raise ValueError(
            f"configuration: new_images.output: {wanted['output']} is the folder of the "
            "images, whose files the segmentations would replace; allowed is any other, also "
            "inside it"
        )
    tried = {"title": "new images", "configuration": "3d_fullres"}
    where = "configuration: new_images"
    check(tried | {"prediction": {**wanted["prediction"]}}, "model", where)
    if unfit := sorted({"checkpoint"} & wanted["prediction"].keys()):
        raise ValueError(f"{where}.prediction: {unfit[0]} is a matter of the model")
    if wanted["prediction"].get("region") == "previous":
        raise ValueError(
            f"{where}.prediction.region: previous goes with the key previous_model of a model"
        )
    if "archive" in wanted:
        if mixed := sorted(ours & wanted.keys()):
            raise ValueError(
                f"configuration: new_images: an archive comes without {' and '.join(mixed)}"
            )
        if not Path(wanted["archive"]).is_file():
            raise FileNotFoundError(
                f"configuration: new_images.archive: {wanted['archive']}: no such file"
            )
        return
    if missing := sorted(ours - wanted.keys()):
        raise ValueError(
            f"configuration: new_images: {' and '.join(missing)} missing; allowed are dataset "
            "and predictor of this run, or the archive of a model from elsewhere"
        )
    if mixed := sorted(theirs & wanted.keys()):
        raise ValueError(f"configuration: new_images.{mixed[0]} goes with an archive only")
    chosen([wanted["dataset"]], run.datasets, "new_images.dataset")
    told = {name: models for name, models in run.networks.items() if run.told_by_networks(name)}
    chosen([wanted["predictor"]], run.predictors | told, "new_images.predictor")


def _check_postprocessing(run: "Run") -> None:
    objective = run.config["postprocessing"]["objective"]
    for name, dataset in run.datasets.items():
        if objective != "dice" and "lesions" not in dataset:
            raise ValueError(
                f"configuration: postprocessing.objective: {objective} needs the key lesions "
                f"in config/datasets/{name}.yaml"
            )


def _check_folds(run: "Run", folds: list[int], key: str) -> None:
    for fold in folds:
        if fold not in range(run.n_folds):
            raise ValueError(
                f"configuration: {key}: fold {fold} does not exist; n_folds is {run.n_folds}: "
                f"0 to {run.n_folds - 1}"
            )


def chosen(names: list[str], known: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the named entries of `known`, in the order of `names`."""
    for name in names:
        if name not in known:
            allowed = ", ".join(sorted(known))
            raise ValueError(f"configuration: {key}: unknown name {name!r}; known: {allowed}")
    return {name: known[name] for name in names}
