"""What a segmentation network says of a whole preprocessed case, window by window.

With the settings that nnU-Net has by default the logits are those of nnU-Net's predictor, on a GPU
bit for bit, on a CPU but for the order of sums in 3D convolutions. Whatever is done otherwise is
asked for under the key ``prediction`` of a model.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, combinations
from typing import TYPE_CHECKING

import cc3d
import numpy as np
import torch

from segflow.models.convolutions import OneDNNConvolutions

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

Window = tuple[slice | int, ...]
Box = tuple[slice, ...]

CERTAINLY_NOT = -20.0  # logit of all but background where nobody looks: its probability is 2e-9


@torch.inference_mode()
def predict_logits(
    predictor: "nnUNetPredictor", image: np.ndarray, n_windows: int = 1, box: Box | None = None
) -> torch.Tensor:
    """Return the logits of a preprocessed case, the mean over trained folds.

    Parameters
    ----------
    predictor : nnUNetPredictor
        A predictor with weights, which knows the windows and how they are mirrored.
    image : ndarray of float32
        Of shape (channel, z, y, x), in the axis order of the plans.
    n_windows : int
        Windows that the network sees at a time.
    box : tuple of slice, optional
        Part of the image to look at, along z, y, x; everything else is background.

    Returns
    -------
    Tensor of float16
        Of shape (class or region, z, y, x), on the predictor's device if it has room for it.

    Raises
    ------
    ValueError
        If a logit is infinite or undefined.
    """
    whole = torch.from_numpy(image)
    looked_at = whole if box is None else whole[(slice(None), *box)]
    data = padded(looked_at, tuple(predictor.configuration_manager.patch_size))
    network = predictor.network.to(predictor.device).eval()
    total = None
    for parameters in predictor.list_of_parameters:
        if len(predictor.list_of_parameters) > 1:  # else they are in the network
            network.load_state_dict(parameters)
        logits = _where_there_is_room(predictor, data, n_windows)
        total = logits if total is None else total.add_(logits.to(total.device))
    if len(predictor.list_of_parameters) > 1:
        total /= len(predictor.list_of_parameters)
    if not torch.isfinite(total).all():
        raise ValueError("the network gives infinite or undefined values")
    inside = tuple(
        slice((outer - size) // 2, (outer - size) // 2 + size)
        for outer, size in zip(data.shape[1:], looked_at.shape[1:], strict=True)
    )
    found = total[(slice(None), *inside)]
    if box is None:
        return found
    everywhere = found.new_full((len(found), *whole.shape[1:]), CERTAINLY_NOT)
    if not predictor.label_manager.has_regions:
        everywhere[0] = 0
    everywhere[(slice(None), *box)] = found
    return everywhere


def _where_there_is_room(
    predictor: "nnUNetPredictor", data: torch.Tensor, n_windows: int
) -> torch.Tensor:
    """Return the logits of a padded image; their sums are in main memory if a GPU's is too small.

    A head collects what it says of each window; what it said before memory ran out is forgotten.
    """
    collected = getattr(predictor.network, "collected", None) or []
    said = len(collected)
    try:
        return _sum_windows(predictor, data.to(predictor.device), n_windows)
    except torch.OutOfMemoryError:
        if predictor.device.type == "cpu":
            raise
    del collected[said:]
    torch.cuda.empty_cache()
    print("predict: the GPU's memory is too small for all classes of a case; sums are kept outside")
    return _sum_windows(predictor, data, n_windows)


def _sum_windows(predictor: "nnUNetPredictor", data: torch.Tensor, n_windows: int) -> torch.Tensor:
    """Return the mean logits of overlapping windows, weighted by nnU-Net's Gaussian."""
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    where = data.device
    patch = tuple(predictor.configuration_manager.patch_size)
    gaussian = compute_gaussian(patch, sigma_scale=1 / 8, value_scaling_factor=10, device=where)
    n_outputs = predictor.label_manager.num_segmentation_heads
    logits = torch.zeros((n_outputs, *data.shape[1:]), dtype=torch.half, device=where)
    weights = torch.zeros(data.shape[1:], dtype=torch.half, device=where)
    windows = sliding_windows(predictor, data.shape[1:])
    for first in range(0, len(windows), n_windows):
        chosen = windows[first : first + n_windows]
        patches = torch.stack([data[window] for window in chosen]).to(predictor.device)
        with computing(predictor.network, predictor.device):
            predicted = _mean_of_views(predictor, patches).to(where)
        for window, one in zip(chosen, predicted, strict=True):
            logits[window] += one.mul_(gaussian)
            weights[window[1:]] += gaussian
    return logits.div_(weights)


def computing(network: torch.nn.Module, device: torch.device) -> AbstractContextManager:
    """Return how a network computes: as nnU-Net's in float16 on CUDA, in float32 elsewhere."""
    if device.type == "cuda":
        return torch.autocast("cuda")
    # PyTorch's compiler chooses convolutions of its own, and knows no other way to call them.
    compiled = network._compiled_call_impl is not None
    return OneDNNConvolutions() if device.type == "cpu" and not compiled else nullcontext()


def _mean_of_views(predictor: "nnUNetPredictor", patches: torch.Tensor) -> torch.Tensor:
    """Return the mean logits, of shape (patch, class, ...), of patches and their mirror images."""
    total = None
    n_views = 0
    for axes in mirrored_axes(predictor):
        seen = patches.flip(axes) if axes else patches
        found = predictor.network(seen)
        found = found.flip(axes) if axes else found
        total = found if total is None else total.add_(found)
        n_views += 1
    return total.div_(n_views) if n_views > 1 else total


def mirrored_axes(predictor: "nnUNetPredictor") -> Iterator[list[int]]:
    """Give the axes of a batch to mirror for each view of a patch, none for the patch itself."""
    axes = (predictor.allowed_mirroring_axes or ()) if predictor.use_mirroring else ()
    for count in range(len(axes) + 1):
        for chosen in combinations(axes, count):
            yield [axis + 2 for axis in chosen]


def sliding_windows(predictor: "nnUNetPredictor", shape: tuple[int, ...]) -> list[Window]:
    """Return the windows of nnU-Net's predictor, of an image of shape (z, y, x) that holds one."""
    return predictor._internal_get_sliding_window_slicers(shape)


def padded(data: torch.Tensor, patch: tuple[int, ...]) -> torch.Tensor:
    """Return an image of shape (channel, z, y, x) that holds a patch, with zeros around it."""
    sizes = data.shape[-len(patch) :]
    lacking = [max(0, width - size) for size, width in zip(sizes, patch, strict=True)]
    sides = [(amount // 2, amount - amount // 2) for amount in lacking]
    return torch.nn.functional.pad(data, [*chain.from_iterable(reversed(sides))])


def box_around(mask: np.ndarray, margin: tuple[int, ...], least: tuple[int, ...]) -> Box | None:
    """Return the box around the voxels of a mask, or None if there are none.

    Parameters
    ----------
    mask : ndarray of bool
        Of shape (z, y, x).
    margin : tuple of int
        Voxels to add on each side, along z, y, x.
    least : tuple of int
        Voxels along each axis that the box has at least, as far as the image has them.
    """
    box = []
    for axis, (size, more, wanted) in enumerate(zip(mask.shape, margin, least, strict=True)):
        held = np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis})))
        if not len(held):
            return None
        start, stop = max(0, held[0] - more), min(size, held[-1] + 1 + more)
        lacking = max(0, min(wanted, size) - (stop - start))
        start = min(max(0, start - lacking // 2), size - (stop - start + lacking))
        box.append(slice(int(start), int(max(stop, start + min(wanted, size)))))
    return tuple(box)


def body_mask(image: np.ndarray) -> np.ndarray:
    """Return where the body is in a CT: the largest part that is denser than the darkest voxels.

    nnU-Net cuts off intensities below those of nearly all foreground: what is darker has one value.

    Parameters
    ----------
    image : ndarray of float
        The preprocessed CT, of shape (z, y, x).
    """
    return cc3d.largest_k(image > image.min(), k=1).astype(bool)
