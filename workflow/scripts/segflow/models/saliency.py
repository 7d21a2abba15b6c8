"""What a network looks at when it tells the class of a case, brought back to the case's own grid.

Both methods compare a case with itself, blurred: without detail, but of the same brightness. A
black image would say little of networks with instance norm, to which a faint image is the same as
a bright one: gradients on the way from black are all at its beginning, and no sum finds them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from segflow.images.orientation import reorient
from segflow.models.classes import age_encoding
from segflow.models.classifiers import centre_windows
from segflow.models.preprocessing import NNUNET_ORIENTATION, stored_orientation
from segflow.models.saliency_files import GRADIENTS, METHODS, OCCLUSION
from segflow.models.sliding_windows import padded, sliding_windows

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

PROCEDURE = 1  # move it when maps would come out differently
BLUR_MM = 10.0  # standard deviation: what is as small as a hippocampus or a sulcus vanishes
OVERLAP = 2  # blocks that hide a voxel, along each axis

Logits = Callable[[torch.Tensor], torch.Tensor]  # of shape (patch, class), of patches


@dataclass(frozen=True)
class Explained:
    """Why a network gives a case the logit of its class.

    Parameters
    ----------
    maps : dict of str to ndarray of float32
        By method, of shape (z, y, x): how much each voxel adds to the logit.
    logit, blurred_logit : float
        Logit of the class, the mean over windows, of the case and of the blurred case.
    """

    maps: dict[str, np.ndarray]
    logit: float
    blurred_logit: float


def choose_cases(
    cases: Sequence[str], truth: np.ndarray, probabilities: np.ndarray, most: int
) -> list[int]:
    """Return the places of the cases to explain: of each class those that are told rightly.

    Parameters
    ----------
    cases : sequence of str
        Names of the cases.
    truth : ndarray of int
        Of shape (cases,): the place of the class of each case.
    probabilities : ndarray of float
        Of shape (cases, classes).
    most : int
        Cases of each class; the first ones by name.
    """
    right = probabilities.argmax(axis=1) == truth
    chosen = []
    for place in np.unique(truth):
        own = np.flatnonzero(right & (truth == place)).tolist()
        chosen += sorted(own, key=lambda case: cases[case])[:most]
    return chosen


def integrated_gradients(
    network: Logits, patch: torch.Tensor, blurred: torch.Tensor, place: int, steps: int
) -> torch.Tensor:
    """Return what each voxel adds to a logit on the straight way from the blurred patch.

    The sum over voxels is the difference of the logits of both patches, but for the error of the
    integral (doi:10.48550/arXiv.1703.01365).

    Parameters
    ----------
    network : callable
        Gives logits of shape (patch, class).
    patch, blurred : Tensor of float
        Of shape (1, channel, ...).
    place : int
        Place of the class.
    steps : int
        Points of the Gauss-Legendre quadrature.

    Returns
    -------
    Tensor of float
        Of the shape of the patch without its first two axes; the sum over channels.
    """
    from captum.attr import IntegratedGradients  # takes longer than to see that nothing is to do

    method = IntegratedGradients(network)
    found = method.attribute(patch, blurred, target=place, n_steps=steps, internal_batch_size=1)
    return found.detach()[0].sum(0)


def occlusion(
    network: Logits,
    patch: torch.Tensor,
    blurred: torch.Tensor,
    place: int,
    block: Sequence[int],
) -> torch.Tensor:
    """Return by how much a logit falls where a block of the patch is blurred.

    Each voxel has the mean over the blocks that hold it (doi:10.1007/978-3-319-10590-1_53).

    Parameters
    ----------
    network, patch, blurred, place
        See `integrated_gradients`.
    block : sequence of int
        Voxels of a block along each axis; blocks begin at every half of it.

    Returns
    -------
    Tensor of float
        Of the shape of the patch without its first two axes.
    """
    from captum.attr import Occlusion

    channels = patch.shape[1]
    found = Occlusion(network).attribute(
        patch,
        sliding_window_shapes=(channels, *block),
        strides=(channels, *(max(1, width // OVERLAP) for width in block)),
        baselines=blurred,
        target=place,
    )
    return found[0, 0]  # all channels are hidden together


def explain_case(
    predictor: "nnUNetPredictor",
    image: np.ndarray,
    place: int,
    centre: bool,
    age: float,
    steps: int,
    block_mm: float,
) -> Explained:
    """Return what a fold's network looks at in a case, window by window.

    Windows that overlap count alike, as they do for the probabilities; mirrored views, with which
    these are averaged, are not looked at.

    Parameters
    ----------
    predictor : nnUNetPredictor
        A predictor of one fold, whose network gives class logits of shape (patch, class).
    image : ndarray of float32
        A preprocessed case, of shape (channel, z, y, x) in the axis order of the plans.
    place : int
        Place of the class.
    centre : bool
        Whether the network looks at the window in the middle alone.
    age : float
        In years, for a network that uses it; NaN if it is not known.
    steps : int
        See `integrated_gradients`.
    block_mm : float
        Width of a block that occlusion blurs.
    """
    configuration = predictor.configuration_manager
    patch, spacing_mm = tuple(configuration.patch_size), np.array(configuration.spacing)
    block = np.clip(np.round(block_mm / spacing_mm), 1, patch).astype(int).tolist()
    plain = gaussian_filter(image, [0] * (image.ndim - len(patch)) + [*(BLUR_MM / spacing_mm)])
    both = [padded(torch.from_numpy(one), patch) for one in (image, plain)]
    shape = both[0].shape[1:]
    windows = centre_windows(shape, patch) if centre else sliding_windows(predictor, shape)
    network = predictor.network.to(predictor.device).eval()
    network.load_state_dict(predictor.list_of_parameters[0])
    if encoding := age_encoding(network):
        encoding.ages = torch.tensor([age])
    maps = {method: np.zeros(shape, np.float32) for method in METHODS}
    logits = np.zeros(2)
    for window in windows:
        seen, blurred = (one[window][None].to(predictor.device) for one in both)
        shares = {
            GRADIENTS: integrated_gradients(network, seen, blurred, place, steps),
            OCCLUSION: occlusion(network, seen, blurred, place, block),
        }
        for method, share in shares.items():
            maps[method][window[1:]] += share.cpu().numpy() / len(windows)
        with torch.no_grad():
            logits += [network(one)[0, place].item() / len(windows) for one in (seen, blurred)]
    inside = tuple(
        slice((outer - size) // 2, (outer - size) // 2 + size)
        for outer, size in zip(shape, image.shape[1:], strict=True)
    )
    return Explained({method: maps[method][inside] for method in METHODS}, *logits.tolist())


def on_case_grid(
    values: np.ndarray, properties: dict, transpose_backward: Sequence[int]
) -> np.ndarray:
    """Bring a map of a preprocessed case back to the grid of its file.

    Parameters
    ----------
    values : ndarray of float32
        Of shape (z, y, x), in the axis order of the plans.
    properties : dict
        nnU-Net's properties of the case, which say how it was cropped and resampled.
    transpose_backward : sequence of int
        Axis of the plans for each axis of the image.

    Returns
    -------
    ndarray of float32
        Of shape (z, y, x): linearly interpolated, and 0 where the case was cropped.
    """
    wanted = tuple(map(int, properties["shape_after_cropping_and_before_resampling"]))
    if values.shape != wanted:
        columns = torch.from_numpy(np.ascontiguousarray(values))[None, None]
        values = functional.interpolate(columns, wanted, mode="trilinear")[0, 0].numpy()
    whole = np.zeros(properties["shape_before_cropping"], np.float32)
    whole[tuple(slice(low, high) for low, high in properties["bbox_used_for_cropping"])] = values
    turned = whole.transpose(transpose_backward)
    if (stored := stored_orientation(properties)) is not None:
        turned = reorient(turned, NNUNET_ORIENTATION, stored)
    return turned
