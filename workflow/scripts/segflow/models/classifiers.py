"""Prediction of networks that tell the class of a case and segment nothing."""

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

from segflow.models.classes import age_encoding, case_probabilities
from segflow.models.sliding_windows import Window, computing, mirrored_axes, padded, sliding_windows

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def tell_case(
    predictor: "nnUNetPredictor",
    image: np.ndarray,
    structure: np.ndarray | None,
    centre: bool,
    age: float = float("nan"),
) -> list[float]:
    """Return the probability of each class of a case: the mean over windows and trained folds.

    Parameters
    ----------
    predictor : nnUNetPredictor
        A predictor whose network gives class logits of shape (patch, class).
    image : ndarray of float
        A preprocessed case, of shape (channel, z, y, x) in the axis order of the plans.
    structure : ndarray of bool or None
        Where another model sees the structure, of shape (z, y, x): windows count by what they hold
        of it, and are not looked at without any. All count alike where there is none.
    centre : bool
        Whether to look at the window in the middle alone, of 2D networks that of each slice.
    age : float
        In years, for a network that uses it; NaN if it is not known.
    """
    patch = tuple(predictor.configuration_manager.patch_size)
    data = padded(torch.from_numpy(image), patch)
    windows = (
        centre_windows(data.shape[1:], patch)
        if centre
        else sliding_windows(predictor, data.shape[1:])
    )
    sizes = torch.ones(len(windows))
    if structure is not None and structure.any():
        held = padded(torch.from_numpy(structure[None]), patch)[0]
        sizes = torch.stack([held[window[1:]].sum() for window in windows]).float()
    network = predictor.network.to(predictor.device).eval()
    if encoding := age_encoding(network):
        encoding.ages = torch.tensor([age])
    collected = []
    with torch.no_grad(), computing(network, predictor.device):
        for parameters in predictor.list_of_parameters:
            network.load_state_dict(parameters)
            for window, size in zip(windows, sizes, strict=True):
                if size > 0:
                    cut = data[window][None].to(predictor.device)
                    logits = torch.cat([network(view).float() for view in _views(predictor, cut)])
                    collected.append((logits.cpu(), size.expand(len(logits))))
    return case_probabilities(collected)


def centre_windows(shape: tuple[int, ...], patch: tuple[int, ...]) -> list[Window]:
    """Return the window in the middle of an image, of each slice if the patch is flat.

    Parameters
    ----------
    shape : tuple of int
        Voxels along z, y and x; not fewer than those of the patch.
    patch : tuple of int
        Voxels of a window along its two or three axes.
    """
    starts = [(size - width) // 2 for size, width in zip(shape[-len(patch) :], patch, strict=True)]
    middle = tuple(slice(start, start + width) for start, width in zip(starts, patch, strict=True))
    others = product(*map(range, shape[: -len(patch)]))
    return [(slice(None), *places, *middle) for places in others]


def _views(predictor: "nnUNetPredictor", cut: torch.Tensor) -> Iterator[torch.Tensor]:
    """Give a patch of shape (1, channel, ...), and mirrored along each of the allowed axes."""
    for axes in mirrored_axes(predictor):
        yield cut.flip(axes) if axes else cut
