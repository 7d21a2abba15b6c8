"""nnU-Net's fingerprint and plans, and the plans file of each model.

Everything is computed by nnU-Net's own classes. What is added is the plans file of a model: it
shares the preprocessed data of its base plans and carries the model's overrides and settings.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import nnunetv2
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from segflow.nnunet import forked_pools
from segflow.registry import PLANNERS


def extract_fingerprint(nnunet_name: str, workers: int) -> dict:
    """Extract and store nnU-Net's fingerprint of a data set.

    Parameters
    ----------
    nnunet_name : str
        nnU-Net's name of the data set.
    workers : int
        Number of processes.
    """
    with forked_pools(fingerprint_extractor):
        extractor = fingerprint_extractor.DatasetFingerprintExtractor(nnunet_name, workers)
        return extractor.run(overwrite_existing=True)


def plan_experiment(nnunet_name: str, plans_name: str, planning: dict[str, Any]) -> dict:
    """Make and store nnU-Net's plans of a data set.

    Parameters
    ----------
    nnunet_name : str
        nnU-Net's name of the data set.
    plans_name : str
        Name that the plans get.
    planning : dict
        Planning options of a model (``planner``, ``gpu_memory_gb``, ``spacing_mm``).
    """
    planner = recursive_find_python_class(
        str(Path(nnunetv2.__path__[0], "experiment_planning")),
        PLANNERS[planning["planner"]][0],
        "nnunetv2.experiment_planning",
    )
    plans, _ = plan_experiment_dataset(
        nnunet_name,
        planner,
        gpu_memory_target_in_gb=planning.get("gpu_memory_gb"),
        overwrite_target_spacing=planning.get("spacing_mm"),
        overwrite_plans_name=plans_name,
    )
    return plans


def make_model_plans(base: dict, name: str, model: dict, seed: int) -> dict:
    """Return the plans of a model.

    Parameters
    ----------
    base : dict
        Base plans, as nnU-Net's planner made them.
    name : str
        Name of the model, which becomes the name of the plans.
    model : dict
        Description of the model (``config/models``).
    seed : int
        Seed of the run.

    Returns
    -------
    dict
        nnU-Net plans; the key ``segflow`` holds what training and prediction need to know.

    Raises
    ------
    ValueError
        If the planner made no such configuration for the data set, or an override does not fit.
    """
    where = f"config/models/{name}.yaml"
    plans = deepcopy(base)
    wanted = model["configuration"]
    if wanted not in plans["configurations"]:
        raise ValueError(
            f"{where}: nnU-Net plans no configuration {wanted!r} for {base['dataset_name']} (its "
            f"images are too small or flat for it); planned: {', '.join(plans['configurations'])}"
        )
    configuration = PlansManager(plans).get_configuration(wanted).configuration
    _override(configuration, model["overrides"], where)
    configuration.pop("inherits_from", None)
    plans["configurations"][wanted] = configuration
    plans["plans_name"] = name
    plans["segflow"] = {
        "model": name,
        "configuration": wanted,
        "previous_model": model.get("previous_model"),
        "seed": seed,
        "training": model["training"],
        "prediction": model["prediction"],
    }
    return plans


def _override(configuration: dict, overrides: dict[str, Any], where: str) -> None:
    """Put a model's overrides into a configuration of nnU-Net's plans."""
    architecture = configuration["architecture"]["arch_kwargs"]
    for key in ("batch_size", "batch_dice"):
        if key in overrides:
            configuration[key] = overrides[key]
    if "patch_size" in overrides:
        patch = overrides["patch_size"]
        if len(patch) != len(configuration["patch_size"]):
            raise ValueError(
                f"{where}: overrides.patch_size has {len(patch)} axes, the configuration has "
                f"{len(configuration['patch_size'])}"
            )
        for axis, size in enumerate(patch):
            divisor = 1
            for strides in architecture["strides"]:
                divisor *= strides[axis]
            if size % divisor:
                raise ValueError(
                    f"{where}: overrides.patch_size[{axis}] is {size}, but the network needs a "
                    f"multiple of {divisor}"
                )
        configuration["patch_size"] = patch
    if {"base_features", "max_features"} & overrides.keys():
        features = architecture["features_per_stage"]
        base = overrides.get("base_features", features[0])
        limit = overrides.get("max_features", max(features))
        architecture["features_per_stage"] = [
            min(limit, base * 2**stage) for stage in range(len(features))
        ]
