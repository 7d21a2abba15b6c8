"""What a network costs: its parameters, and the arithmetic of predicting a case."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch.utils.flop_counter import FlopCounterMode

from segflow.models.augmentations import mirrored_axes
from segflow.models.nnunet import lean_imports, uncompiled

with lean_imports(), uncompiled():
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from segflow.models.trainers.segflow_trainer import SegflowTrainer


@dataclass(frozen=True)
class Cost:
    """The cost of one network of a model.

    Parameters
    ----------
    parameters : int
        Numbers that are learnt.
    windows : float
        Patches that a case is predicted from, mirrored ones included; the mean over cases.
    flops : float
        Floating-point operations of a case, an addition and a multiplication being two; the mean.
    """

    parameters: int
    windows: float
    flops: float


def count_cost(plans: dict, dataset_json: dict, shapes: Iterable[tuple[int, ...]]) -> Cost:
    """Count what a network of a model costs, without computing anything.

    PyTorch's counter follows a patch of no values through the network.

    Parameters
    ----------
    plans : dict
        Plans of the model.
    dataset_json : dict
        nnU-Net's description of the data set.
    shapes : iterable of tuple of int
        Voxels along z, y and x of the preprocessed cases, in the axis order of the plans.
    """
    settings = plans["segflow"]
    manager = PlansManager(plans)
    configuration = manager.get_configuration(settings["configuration"])
    patch = tuple(configuration.patch_size)
    n_in = determine_num_input_channels(manager, configuration, dataset_json)
    n_out = manager.get_label_manager(dataset_json).num_segmentation_heads
    network = SegflowTrainer.build_network_architecture(
        manager, configuration, n_in, n_out, enable_deep_supervision=False
    )
    network.to("meta").eval()  # once it is built: some networks compute with values until then
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, n_in, *patch, device="meta"))
    wanted = settings["prediction"]["mirroring"]
    axes = _mirrored(settings, len(patch)) if wanted is True else wanted or ()
    mirrored = 2 ** len(axes)
    centre = settings.get("classifier", {}).get("windows") == "centre"
    step = settings["prediction"]["step_size"]
    counts = [
        mirrored * (prod(shape[: -len(patch)]) if centre else count_windows(shape, patch, step))
        for shape in shapes
    ]
    windows = sum(counts) / len(counts)
    parameters = sum(value.numel() for value in network.parameters())
    return Cost(parameters, windows, windows * counter.get_total_flops())


def _mirrored(settings: dict, dimension: int) -> tuple[int, ...]:
    """Return the axes along which prediction mirrors: those along which training did."""
    name = settings["training"]["augmentation"]
    if name == "nnunet" or settings.get("augmentation", {}).get("base") == "nnunet":
        return tuple(range(dimension))
    return mirrored_axes(settings.get("augmentation", {"transforms": []}), dimension)


def count_windows(shape: tuple[int, ...], patch: tuple[int, ...], step: float) -> int:
    """Return the patches of nnU-Net's sliding window; 2D ones are cut from every slice.

    Parameters
    ----------
    shape : tuple of int
        Voxels along z, y and x.
    patch : tuple of int
        Voxels of a patch along its two or three axes.
    step : float
        Step of the window, as a part of the patch.
    """
    axes = shape[-len(patch) :]
    padded = tuple(map(max, axes, patch))
    steps = compute_steps_for_sliding_window(padded, patch, step)
    return prod(map(len, steps)) * prod(shape[: -len(patch)])
