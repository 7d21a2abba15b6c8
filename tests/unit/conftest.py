from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segflow.files.cases import Case
from segflow.images.nifti import Grid, write_image

SPACING_MM = (3.0, 2.0, 1.0)  # along z, y, x: no two are equal, so mixed-up axes show
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture
def hippocampus():
    return Path(__file__).parents[2] / "resources" / "Task04_Hippocampus"


@pytest.fixture
def make_grid():
    def make(shape, **changes):
        return replace(Grid(tuple(shape), SPACING_MM, (10.0, 20.0, 30.0), IDENTITY), **changes)

    return make


@pytest.fixture
def draw(make_grid):
    """Write a small array of shape (z, y, x) as an image and return its path."""

    def draw(path, array, **changes):
        array = np.asarray(array)
        write_image(path, array, make_grid(array.shape, **changes))
        return path

    return draw


@pytest.fixture
def make_case():
    def make(name, **changes):
        case = Case(
            case=name,
            patient=name,
            group=name,
            split="train",
            class_label="",
            images=f"imagesTr/{name}.nii.gz",
            label=f"labelsTr/{name}.nii.gz",
            image_sha256=f"image of {name}",
            content=f"content of {name}",
            label_sha256=f"label of {name}",
            shape="2 3 4",
            spacing_mm="3 2 1",
        )
        return replace(case, **changes)

    return make


@pytest.fixture
def base_plans():
    """Return plans as nnU-Net makes them, reduced to what Segflow looks at."""

    def configuration(patch_size, features, **others):
        axes = len(patch_size)
        strides = [[1] * axes, [2] * axes, [1] * (axes - 1) + [2]]
        return {
            "data_identifier": f"nnUNetPlans_{axes}d",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "batch_dice": False,
            "patch_size": patch_size,
            "spacing": [1.0] * axes,
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            **{f"resampling_fn_{kind}": "resample_data_or_seg_to_shape" for kind in KINDS},
            **{
                f"resampling_fn_{kind}_kwargs": {
                    "is_seg": kind == "seg",
                    "order": 3 if kind == "data" else 1,
                    "order_z": 0,
                    "force_separate_z": None,
                }
                for kind in KINDS
            },
            "architecture": {"arch_kwargs": {"features_per_stage": features, "strides": strides}},
            **others,
        }

    return {
        "dataset_name": "Dataset004_hippocampus",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 5.0, "std": 2.0}},
        "configurations": {
            "2d": configuration([56, 40], [32, 64, 128]),
            "3d_fullres": configuration([40, 56, 40], [32, 64, 128]),
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }


KINDS = ("data", "seg", "probabilities")
