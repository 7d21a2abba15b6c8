import inspect

import monai.transforms
import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform

from segflow.models.augmentations import (
    SPATIAL,
    TRANSFORMS,
    check_augmentation,
    mirrored_axes,
)
from segflow.models.transforms import MonaiTransforms, mix, with_transforms
from segflow.run.descriptions import description_names, load_augmentation

NEEDED = {
    "RandRotate": {"range_x": [0.5, 0.6]},
    "RandZoom": {"min_zoom": 1.4, "max_zoom": 1.5},
    "RandAffine": {"rotate_range": 0.3, "translate_range": [2, 2]},
    "Rand2DElastic": {"spacing": [6, 6], "magnitude_range": [1, 2]},
    "Rand3DElastic": {"sigma_range": [2, 3], "magnitude_range": [200, 300]},
    "RandScaleIntensity": {"factors": 0.5},
    "RandShiftIntensity": {"offsets": 0.5},
    "RandScaleIntensityFixedMean": {"factors": 0.5},
    "RandCoarseDropout": {"holes": 2, "spatial_size": [4, 4]},
}


def patch(dimension=2):
    """Return an image that shows its label map, so that one tells what happened to the other."""
    labels = torch.zeros(1, *[24] * dimension, dtype=torch.int16)
    labels[(0, *[slice(4, 12)] * dimension)] = 1
    texture = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0))
    return {"image": labels * 4 + texture, "segmentation": labels}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_parameters_are_monais(name):
    known = inspect.signature(getattr(monai.transforms, f"{name}d")).parameters
    assert {"prob", *TRANSFORMS[name]} <= set(known)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_transform_changes_the_image_and_spatial_ones_the_label_alike(name):
    dimension = 3 if "3D" in name else 2
    described = {"transform": name, "prob": 1.0} | NEEDED.get(name, {})
    check_augmentation({"transforms": [described]}, "a.yaml")
    np.random.seed(3)
    before = patch(dimension)
    after = MonaiTransforms([described])(**patch(dimension))
    assert after["image"].dtype == torch.float32
    assert after["segmentation"].dtype == torch.int16
    assert after["image"].shape == before["image"].shape
    assert not torch.equal(after["image"], before["image"])
    moved = not torch.equal(after["segmentation"], before["segmentation"])
    assert moved == (name in SPATIAL)
    if moved:
        shown = after["image"] > 2
        overlap = (shown & (after["segmentation"] == 1)).sum() / shown.sum()
        assert overlap > 0.8


def test_draws_come_from_numpys_generator():
    transforms = MonaiTransforms([{"transform": "RandGaussianNoise", "prob": 1.0}])
    np.random.seed(5)
    first = [transforms(**patch())["image"] for _ in range(2)]
    np.random.seed(5)
    again = [transforms(**patch())["image"] for _ in range(2)]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1])


def test_they_come_before_labels_become_targets():
    end = RemoveLabelTransform(-1, 0)
    described = [{"transform": "RandFlip", "prob": 1.0, "spatial_axis": 0}]
    pipeline = with_transforms(ComposeTransforms([end]), described)
    assert [type(t) for t in pipeline.transforms] == [MonaiTransforms, RemoveLabelTransform]


@pytest.mark.parametrize("method", ["cutmix", "carvemix"])
@pytest.mark.parametrize("levels", [1, 3])
def test_mixing_pastes_image_and_target_of_the_patch_before(method, levels):
    # Each patch has one value, its target another, so each voxel tells where it is from.
    data = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 16, 16).clone()
    targets = [data[..., :: 2**level, :: 2**level].to(torch.int16) + 1 for level in range(levels)]
    batch = {"data": data, "target": targets if levels > 1 else targets[0]}
    np.random.seed(1)
    mix(batch, method, 1.0)
    found = batch["target"] if levels > 1 else [batch["target"]]
    assert torch.equal(batch["data"].to(torch.int16) + 1, found[0])
    for patch_number in range(3):
        values = set(batch["data"][patch_number].unique().tolist())
        assert values <= {float(patch_number), float((patch_number - 1) % 3)}
    assert not torch.equal(batch["data"], data)
    assert [target.shape for target in found] == [target.shape for target in targets]


def test_carving_takes_the_foreground_and_nothing_from_patches_without():
    data = torch.zeros(2, 1, 16, 16)
    target = torch.zeros(2, 1, 16, 16, dtype=torch.int16)
    data[0, 0, 5:9, 5:9], target[0, 0, 5:9, 5:9] = 7, 1
    batch = {"data": data, "target": target}
    np.random.seed(0)
    mix(batch, "carvemix", 1.0)
    assert torch.equal(batch["data"][0], data[0])  # the patch before it, the last, has none
    assert batch["target"][1].any()
    assert (batch["data"][1][batch["target"][1] == 1] == 7).all()


def test_prediction_may_mirror_as_training_did():
    flips = [{"transform": "RandFlip", "prob": 0.5, "spatial_axis": 1}]
    assert mirrored_axes({"transforms": flips}, 2) == (1,)
    assert mirrored_axes({"transforms": [{"transform": "RandFlip", "prob": 0.5}]}, 3) == (0, 1, 2)
    assert mirrored_axes({"transforms": [{"transform": "RandAxisFlip", "prob": 0.5}]}, 2) == (0, 1)
    assert mirrored_axes({"transforms": []}, 2) == ()


@pytest.mark.parametrize("name", description_names("augmentation"))
def test_shipped_augmentations_work(name):
    described = load_augmentation(name, "key")
    torch.manual_seed(0)
    np.random.seed(0)
    if described["transforms"]:
        large = {"image": torch.randn(1, 128, 128), "segmentation": torch.zeros(1, 128, 128)}
        assert MonaiTransforms(described["transforms"])(**large)["image"].isfinite().all()


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (
            [{"transform": "RandFly", "prob": 1}],
            r"\.0: unknown transform 'RandFly'; known",
        ),
        (
            [{"transform": "RandFlip", "prob": 1, "axis": 0}],
            r"RandFlip has no parameter 'axis'; allowed: prob, spatial_axis",
        ),
        ([{"transform": "RandFlip", "prob": 0}], r"prob: must be a probability above 0, found 0"),
        ([], "neither transforms nor mixing"),
    ],
)
def test_what_cannot_be_is_refused(described, message):
    with pytest.raises(ValueError, match=f"a.yaml.*{message}"):
        check_augmentation({"transforms": described}, "a.yaml")
