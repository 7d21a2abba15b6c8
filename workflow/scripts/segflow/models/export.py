"""From the logits of a preprocessed case to probabilities on the case's own grid, slab by slab.

nnU-Net resamples the logits of all classes to the case's size, in float64 and class by class, and
takes the softmax of the whole. Here the same is done for some slices at a time, on the device where
the logits are; linear interpolation is separable, so its result is the same but for rounding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from segflow.images.orientation import reorient
from segflow.images.probabilities import LEVELS
from segflow.models.nnunet import lean_imports
from segflow.models.preprocessing import NNUNET_ORIENTATION, stored_orientation

with lean_imports():
    from nnunetv2.preprocessing.resampling.default_resampling import (
        determine_do_sep_z_and_axis,
        resample_data_or_seg_to_shape,
    )

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

STEP_BYTES = 2**26  # of float32 at a time: few passes over memory, and little of it


@dataclass(frozen=True)
class Way:
    """How a case comes back from the grid of its preprocessed image to that of its file.

    Parameters
    ----------
    cropped : tuple of int
        Voxels along the axes of the plans, after resampling to the case's own spacing.
    bounds : tuple of (int, int)
        Where these lie in the case, along the same axes.
    shape : tuple of int
        Voxels of the file, along z, y, x.
    axes : tuple of int
        Axis of the plans for each axis of the file.
    flipped : tuple of bool
        Whether it goes the other way.
    nearest : int or None
        Axis of the plans along which the nearest slice is taken; linear along all others.
    """

    cropped: tuple[int, ...]
    bounds: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    flipped: tuple[bool, ...]
    nearest: int | None


def way_back(predictor: "nnUNetPredictor", properties: dict) -> Way:
    """Return how a case comes back to its own grid.

    Parameters
    ----------
    predictor : nnUNetPredictor
        The predictor, which knows the plans.
    properties : dict
        nnU-Net's properties of the preprocessed case.
    """
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    before = properties["shape_before_cropping"]
    probe = np.arange(8).reshape(2, 2, 2)  # strides tell where axes go
    strides = probe.strides
    turned = probe.transpose(plans.transpose_backward)
    if (stored := stored_orientation(properties)) is not None:
        turned = reorient(turned, NNUNET_ORIENTATION, stored)
    axes = tuple(strides.index(abs(stride)) for stride in turned.strides)
    planned, own = _spacings(predictor, properties)
    options = configuration.configuration["resampling_fn_probabilities_kwargs"]
    separately, axis = determine_do_sep_z_and_axis(options["force_separate_z"], planned, own)
    return Way(
        tuple(properties["shape_after_cropping_and_before_resampling"]),
        tuple((low, high) for low, high in properties["bbox_used_for_cropping"]),
        tuple(before[axis] for axis in axes),
        axes,
        tuple(stride < 0 for stride in turned.strides),
        int(axis) if separately else None,
    )


def resampled_elsewhere(
    predictor: "nnUNetPredictor", logits: torch.Tensor, properties: dict
) -> torch.Tensor:
    """Return logits as the plans resample them, if that is no linear interpolation.

    Plans from elsewhere may name another function, or other options, than nnU-Net's planners do.
    """
    configuration = predictor.configuration_manager
    function = configuration.resampling_fn_probabilities
    options = configuration.configuration["resampling_fn_probabilities_kwargs"]
    usual = {"is_seg": False, "order": 1, "order_z": 0}
    if function.func is resample_data_or_seg_to_shape and usual.items() <= options.items():
        return logits
    planned, own = _spacings(predictor, properties)
    wanted = properties["shape_after_cropping_and_before_resampling"]
    return torch.as_tensor(function(logits.float().cpu(), wanted, planned, own))


def _spacings(predictor: "nnUNetPredictor", properties: dict) -> tuple[list[float], list[float]]:
    """Return the spacing of the plans and that of the case (mm), along the axes of the plans."""
    own = [properties["spacing"][axis] for axis in predictor.plans_manager.transpose_forward]
    planned = list(predictor.configuration_manager.spacing)
    return planned if len(planned) == len(own) else [own[0], *planned], own


def read_levels(logits: torch.Tensor, way: Way, has_regions: bool, slices: slice) -> np.ndarray:
    """Return the levels of probabilities in some slices of a case's file.

    Parameters
    ----------
    logits : Tensor of float
        Of shape (class or region, z, y, x), along the axes of the plans.
    way : Way
        How the case comes back to its own grid.
    has_regions : bool
        Whether the outputs are regions; else they are classes, of which the first is background.
    slices : slice
        Slices along z of the file.

    Returns
    -------
    ndarray of uint16
        Of shape (class or region, z, y, x) in the order of the file, 0 to `LEVELS`, without the
        background of classes.
    """
    axis = way.axes[0]
    size = way.shape[0]
    low, high = slices.start, slices.stop
    if way.flipped[0]:
        low, high = size - high, size - low
    start, stop = way.bounds[axis]
    inner = max(low, start), min(high, stop)
    n_outputs = len(logits) - (not has_regions)
    before = {place: way.shape[way.axes.index(place)] for place in range(3)}
    before[axis] = high - low
    levels = np.zeros((n_outputs, *(before[place] for place in range(3))), np.uint16)
    if inner[0] < inner[1]:
        box = [slice(*bounds) for bounds in way.bounds]
        box[axis] = slice(inner[0] - low, inner[1] - low)
        levels[(slice(None), *box)] = _resampled_levels(
            logits, way, has_regions, axis, (inner[0] - start, inner[1] - start)
        )
    turned = levels.transpose(0, *(place + 1 for place in way.axes))
    return turned[(slice(None), *(slice(None, None, -1 if back else 1) for back in way.flipped))]


def _resampled_levels(
    logits: torch.Tensor, way: Way, has_regions: bool, axis: int, wanted: tuple[int, int]
) -> np.ndarray:
    """Return levels of shape (class or region, z, y, x), of the wanted voxels along one axis."""
    others = [place for place in range(3) if place != axis]
    sizes = [way.cropped[place] for place in others]
    step = max(1, STEP_BYTES // (4 * len(logits) * math.prod(sizes)))
    parts = []
    for first in range(wanted[0], wanted[1], step):
        chosen = range(first, min(first + step, wanted[1]))
        part = _along(logits, axis, way.cropped[axis], chosen, way.nearest == axis)
        part = part.movedim(axis + 1, 0)  # of shape (slice, output, ...) along the other axes
        for place, other in enumerate(others):
            if other == way.nearest:
                part = _along(part, place + 1, sizes[place], range(sizes[place]), True)
        if part.shape[2:] != tuple(sizes):
            part = functional.interpolate(part, sizes, mode="bilinear", align_corners=False)
        found = part.sigmoid_() if has_regions else part.softmax(1)[:, 1:]
        found = found.mul_(LEVELS).round_().to(torch.int16).cpu().numpy().view(np.uint16)
        parts.append(np.moveaxis(found, 0, axis + 1))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis + 1)


def _along(
    values: torch.Tensor, axis: int, size: int, wanted: Sequence[int], nearest: bool
) -> torch.Tensor:
    """Return float32 values at the wanted ones of `size` places along an axis, which they divide.

    `axis` counts those of (z, y, x) in a tensor with one axis before them.
    """
    n_values = values.shape[axis + 1]
    places = (torch.arange(wanted[0], wanted[-1] + 1, dtype=torch.float64) + 0.5) * n_values / size
    if nearest or n_values == size:
        chosen = places.floor().long().clamp_(0, n_values - 1).to(values.device)
        return values.index_select(axis + 1, chosen).float()
    places = (places - 0.5).clamp_(0, n_values - 1)
    below = places.floor().long()
    above = (below + 1).clamp_(max=n_values - 1)
    share = (places - below).float().to(values.device)
    lower, upper = (
        values.index_select(axis + 1, chosen.to(values.device)).float() for chosen in (below, above)
    )
    shape = [1] * values.ndim
    shape[axis + 1] = len(share)
    return lower.lerp_(upper, share.view(shape))
