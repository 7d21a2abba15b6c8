"""Models in miniature: the same experiment, so small that it shows in minutes whether it runs."""

from copy import deepcopy
from typing import Any

from segflow.models.networks import NETWORKS, NNUNET, fit_patch

FEW_STEPS = 4  # of integrated gradients, whose sum is then off
COARSE_MM = 48.0  # blocks of occlusion: about 300 of them cover a brain


def in_miniature(model: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a model that is small and learns for a short time.

    Loss, optimizer, schedule, augmentation, whole images and everything else stay. Weights to start
    from are left out, for they fit no smaller network; so is a patch of one's own, for nnU-Net's
    depends on the memory that it plans for.

    Parameters
    ----------
    model : dict
        Description of the model (``config/models``), with all defaults.
    limits : dict
        The key ``miniature`` of a configuration, with all defaults.
    """
    small = deepcopy(model)
    network, planning, overrides = (small[key] for key in ("network", "planning", "overrides"))
    small |= {"threads": 1, "n_gpus": 1}
    network.pop("pretrained", None)
    overrides.pop("patch_size", None)
    _limit(planning, "gpu_memory_gb", limits["gpu_memory_gb"])
    _limit(overrides, "batch_size", limits["batch_size"])
    if network["name"] == NNUNET:
        _limit(overrides, "base_features", limits["base_features"])
    else:
        network["options"] = _with_few_features(
            network["name"], network["options"], limits["base_features"]
        )
    if "resize" in planning:
        size = [min(length, limits["image_size"]) for length in planning["resize"]]
        if network["name"] != NNUNET:
            size = fit_patch(network["name"], network["options"], size)
        planning["resize"] = size
    training = small["training"]
    _limit(training, "epochs", limits["epochs"])
    _limit(training, "iterations_per_epoch", limits["iterations_per_epoch"])
    _limit(training, "validation_iterations_per_epoch", limits["iterations_per_epoch"])
    training["compile"] = False
    small["prediction"]["mirroring"] = False
    return small


def explained_in_miniature(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return how brains are explained in a miniature: one of each class, by few passes.

    Parameters
    ----------
    wanted : dict
        The key ``saliency`` of a configuration.
    """
    coarse = max(wanted["block_mm"], COARSE_MM)
    return {"cases_per_class": 1, "steps": min(wanted["steps"], FEW_STEPS), "block_mm": coarse}


def _with_few_features(name: str, options: dict[str, Any], base_features: int) -> dict[str, Any]:
    """Return options of a network of ours with at most so many features at its first level.

    Those of the other levels become fewer in proportion. A single number of features, or a growth,
    becomes this number, or the least that the network takes.
    """
    small = dict(options)
    for key in {"features", "growth"} & options.keys():
        found, allowed = options[key], NETWORKS[name].options[key]
        if isinstance(found, list):
            share = min(1, base_features / found[0])
            small[key] = [max(1, round(share * number)) for number in found]
        else:
            small[key] = min(found, max(base_features, allowed["minimum"]))
    return small


def _limit(part: dict[str, Any], key: str, limit: float) -> None:
    part[key] = min(part.get(key, limit), limit)
