"""The plans file of each model: it shares the preprocessed data of its base plans.

It carries the model's overrides, and its settings for training and prediction.
"""

from copy import deepcopy
from typing import Any

from segflow.models.networks import NNUNET, as_architecture, check_patch, fit_patch

# What plans hold of a model's description (``config/models``).
PLANNED = (
    *("configuration", "previous_model", "overrides", "network", "head"),
    *("classifier", "training", "augmentation", "prediction"),
)


def resolve_configuration(plans: dict, name: str) -> dict:
    """Return a configuration of nnU-Net's plans together with what it inherits.

    Parameters
    ----------
    plans : dict
        nnU-Net's plans.
    name : str
        Name of one of their configurations.
    """
    own = deepcopy(plans["configurations"][name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**resolve_configuration(plans, parent), **own}


def make_model_plans(
    base: dict,
    name: str,
    model: dict,
    seed: int,
    pretrained: str | None = None,
    classified: dict[str, Any] | None = None,
) -> dict:
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
    pretrained : str, optional
        SHA-256 of the weights that training starts from.
    classified : dict, optional
        For a model that tells classes: ``classes``, their names; ``outputs``, the outputs of a
        network that are the structure which it looks at, and ``has_regions``; of a classifier
        ``values``, those of the structure in label maps.

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
    configuration = resolve_configuration(plans, wanted)
    network = model["network"]
    if network["name"] != NNUNET:
        _replace_network(configuration, network, model["overrides"], where)
    _override(configuration, model["overrides"], where)
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
    for key in {"head", "classifier"} & model.keys():
        plans["segflow"][key] = model[key] | classified
    if "augmentation" in model:
        plans["segflow"]["augmentation"] = model["augmentation"]
    if "deep_supervision" in network:
        plans["segflow"]["deep_supervision"] = network["deep_supervision"]
    if pretrained is not None:
        plans["segflow"]["pretrained"] = {"file": network["pretrained"], "sha256": pretrained}
    return plans


def _replace_network(
    configuration: dict, network: dict[str, Any], overrides: dict[str, Any], where: str
) -> None:
    """Put a network of ours in the place of nnU-Net's, and make the patch one that it can take.

    Whole images of one size are one patch; other patches grow to the next size that fits.
    """
    name, options = network["name"], network["options"]
    configuration["architecture"] = as_architecture(name, options)
    if "patch_size" in overrides:
        check_patch(name, options, overrides["patch_size"], f"{where}: overrides.patch_size")
    elif "resize" in configuration:
        check_patch(name, options, configuration["resize"], f"{where}: planning.resize")
        configuration["patch_size"] = configuration["resize"]
    else:
        configuration["patch_size"] = fit_patch(name, options, configuration["patch_size"])


def _override(configuration: dict, overrides: dict[str, Any], where: str) -> None:
    """Put a model's overrides into a configuration of nnU-Net's plans."""
    architecture = configuration["architecture"]["arch_kwargs"]
    strides = architecture.get("strides", [])  # a network of ours has been asked already
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
            for stage in strides:
                divisor *= stage[axis]
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
