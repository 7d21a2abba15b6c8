"""MONAI's random transforms in the pipeline of nnU-Net's loader, and mixing within a batch."""

from typing import Any

import monai.transforms
import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from monai.data import set_track_meta
from scipy import ndimage
from torch.nn import functional

from segflow.models.augmentations import SPATIAL

# How transforms fill in image and label map; those of whole voxels need not.
INTERPOLATION = {name: ["bilinear", "nearest"] for name in SPATIAL} | {
    "RandZoom": ["area", "nearest"],  # of as many dimensions as the image
    **dict.fromkeys(("RandFlip", "RandAxisFlip", "RandRotate90")),
}
LARGEST_SEED = 2**32


class MonaiTransforms(BasicTransform):
    """Random transforms of MONAI, which draw from NumPy's generator as nnU-Net's own do.

    So a training that goes on from a checkpoint draws what it would have drawn.

    Parameters
    ----------
    described : list of dict
        Name (``transform``) and parameters of each; see `segflow.models.augmentations`.
    """

    def __init__(self, described: list[dict[str, Any]]):
        super().__init__()
        self.transforms = [_make(transform) for transform in described]

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Transform one patch: image of shape (channel, z, y, x), label map of (1, z, y, x)."""
        set_track_meta(False)  # geometry of its own, which nobody asks for
        labels = data_dict["segmentation"]
        found = {"image": data_dict["image"], "segmentation": labels.float()}
        for transform in self.transforms:
            transform.set_random_state(seed=np.random.randint(LARGEST_SEED, dtype=np.int64))
            found = transform(found)
        data_dict["image"] = torch.as_tensor(found["image"], dtype=torch.float32)
        data_dict["segmentation"] = torch.as_tensor(found["segmentation"]).to(labels.dtype)
        return data_dict


def _make(described: dict[str, Any]) -> Any:
    """Return one of MONAI's transforms of image and label, or of the image alone."""
    name = described["transform"]
    parameters = {key: value for key, value in described.items() if key != "transform"}
    made = getattr(monai.transforms, f"{name}d")
    if name not in SPATIAL:
        return made(keys=["image"], **parameters)
    if INTERPOLATION[name]:
        parameters["mode"] = INTERPOLATION[name]
    return made(keys=["image", "segmentation"], **parameters)


def with_transforms(
    pipeline: ComposeTransforms, described: list[dict[str, Any]]
) -> ComposeTransforms:
    """Add transforms to a pipeline of nnU-Net, before the label map is brought to targets.

    Parameters
    ----------
    pipeline : ComposeTransforms
        nnU-Net's transforms of training or validation.
    described : list of dict
        See `MonaiTransforms`.
    """
    if not described:
        return pipeline
    place = [type(transform) for transform in pipeline.transforms].index(RemoveLabelTransform)
    before, after = pipeline.transforms[:place], pipeline.transforms[place:]
    return ComposeTransforms([*before, MonaiTransforms(described), *after])


def mix(batch: dict[str, Any], method: str, probability: float) -> None:
    """Give patches of a batch a part of the patch before them, in image and target alike.

    ``cutmix`` pastes a box of a size that is drawn [1]_, ``carvemix`` the foreground and what is
    near it [2]_: up to half of its own depth, or only its core.

    Parameters
    ----------
    batch : dict
        A batch of nnU-Net's loader, which is changed: ``data`` of shape (patch, channel, z, y, x)
        and ``target``, one tensor or one for each resolution.
    method : {'cutmix', 'carvemix'}
        How the part is chosen.
    probability : float
        With which each patch gets one.

    References
    ----------
    .. [1] Yun et al., CutMix, 2019, arXiv:1905.04899.
    .. [2] Zhang et al., CarveMix, 2021, arXiv:2108.06883.
    """
    data = batch["data"]
    is_list = isinstance(batch["target"], list)
    targets = batch["target"] if is_list else [batch["target"]]
    chosen = np.random.random(len(data)) < probability
    part = torch.zeros((len(data), 1, *data.shape[2:]), dtype=torch.bool)
    for patch in np.flatnonzero(chosen):
        foreground = (targets[0][patch - 1] > 0).any(0).numpy()
        drawn = _box(foreground.shape) if method == "cutmix" else _carved(foreground)
        part[patch, 0] = torch.from_numpy(drawn)
    batch["data"] = torch.where(part, data.roll(1, 0), data)
    mixed = []
    for target in targets:
        own = functional.interpolate(part.float(), target.shape[2:]) > 0
        mixed.append(torch.where(own, target.roll(1, 0), target))
    batch["target"] = mixed if is_list else mixed[0]


def _box(shape: tuple[int, ...]) -> np.ndarray:
    """Return a box that covers a share of a patch drawn evenly, somewhere in it."""
    share = np.random.random()
    box = np.zeros(shape, bool)
    sizes = [round(length * share ** (1 / len(shape))) for length in shape]
    starts = [
        np.random.randint(length - size + 1) for length, size in zip(shape, sizes, strict=True)
    ]
    box[tuple(slice(a, a + size) for a, size in zip(starts, sizes, strict=True))] = True
    return box


def _carved(foreground: np.ndarray) -> np.ndarray:
    """Return the foreground, grown or shrunk by a distance that is drawn; nothing without any."""
    if not foreground.any():
        return foreground
    depth = ndimage.distance_transform_edt(foreground)
    grown = np.random.random() < 0.5
    limit = np.random.uniform(0, depth.max() / 2)
    if not grown:
        return depth > limit
    return ndimage.distance_transform_edt(~foreground) <= limit
