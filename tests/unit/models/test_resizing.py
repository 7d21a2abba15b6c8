import numpy as np
import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from segflow.models.model_plans import make_model_plans
from segflow.models.resizing import preprocessor_of, resized_fingerprint, with_size

LABELS = {"labels": {"background": 0, "a": 1}, "channel_names": {"0": "MRI"}}


@pytest.fixture
def make_plans(base_plans):
    def make(resize, forward=(0, 1, 2)):
        plans = base_plans | {
            "transpose_forward": list(forward),
            "transpose_backward": np.argsort(forward).tolist(),
            "label_manager": "LabelManager",
        }
        return PlansManager(with_size(plans, resize))

    return make


def preprocess(plans, configuration, shape, spacing):
    image = np.ones((1, *shape), np.float32)
    image[:, ::2] = 2
    label = np.zeros((1, *shape), np.int16)
    label[(0, *[slice(0, length // 2 or 1) for length in shape])] = 1
    chosen = plans.get_configuration(configuration)
    properties = {"spacing": spacing}
    return preprocessor_of(chosen).run_case_npy(image, label, properties, plans, chosen, LABELS)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((1, 30, 40), (999.0, 1.0, 1.0)), ((3, 17, 90), (5.0, 0.7, 0.3))]
)
def test_slices_of_any_size_get_the_one(make_plans, shape, spacing):
    data, label, properties = preprocess(make_plans([64, 48]), "2d", shape, spacing)
    assert data.shape == label.shape == (1, shape[0], 64, 48)
    assert properties["shape_after_cropping_and_before_resampling"] == shape
    assert (label == 1).mean() == pytest.approx(0.25 if shape[0] == 1 else 1 / 12, rel=0.1)


def test_volumes_get_the_one_size(make_plans):
    data, *_ = preprocess(make_plans([16, 32, 24]), "3d_fullres", (7, 31, 50), (3.0, 1.0, 0.5))
    assert data.shape == (1, 16, 32, 24)


def test_the_axes_are_those_of_the_plans(make_plans):
    data, *_ = preprocess(make_plans([64, 48], (2, 0, 1)), "2d", (30, 40, 3), (0.7, 0.3, 5.0))
    assert data.shape == (1, 3, 64, 48)


def test_borders_without_signal_are_cut_first(make_plans):
    plans = make_plans([32, 32])
    image = np.zeros((1, 1, 20, 20), np.float32)
    image[..., 5:15, 8:12] = np.arange(40).reshape(10, 4) + 1
    chosen = plans.get_configuration("2d")
    properties = {"spacing": (1.0, 1.0, 1.0)}
    data, *_ = preprocessor_of(chosen).run_case_npy(image, None, properties, plans, chosen, LABELS)
    assert data.shape == (1, 1, 32, 32)
    assert properties["bbox_used_for_cropping"] == [[0, 1], [5, 15], [8, 12]]


def test_a_data_set_is_planned_as_if_its_images_had_the_size():
    fingerprint = {
        "shapes_after_crop": [[40, 50, 9], [60, 70, 11]],
        "spacings": [[0.5, 0.5, 4.0], [0.7, 0.7, 3.0]],
        "other": 1,
    }
    flat = resized_fingerprint(fingerprint, [64, 48])
    assert flat["shapes_after_crop"] == [[64, 48, 9], [64, 48, 11]]
    assert flat["spacings"] == [[1.0, 1.0, 999.0]] * 2
    solid = resized_fingerprint(fingerprint, [8, 16, 32])
    assert solid["shapes_after_crop"] == [[8, 16, 32]] * 2
    assert solid["other"] == 1
    assert fingerprint["shapes_after_crop"] == [[40, 50, 9], [60, 70, 11]]


def test_a_network_of_ours_sees_the_whole_image_and_other_patches_grow(base_plans):
    model = {
        "configuration": "2d",
        "overrides": {},
        "network": {"name": "unet_s2", "options": {}},
        "training": {},
        "prediction": {},
    }
    whole = make_model_plans(with_size(base_plans, [64, 96]), "m", model, seed=1)
    assert whole["configurations"]["2d"]["patch_size"] == [64, 96]
    grown = make_model_plans(base_plans, "m", model, seed=1)  # planned as 56 x 40
    assert grown["configurations"]["2d"]["patch_size"] == [64, 48]
    model["overrides"] = {"patch_size": [64, 40]}
    with pytest.raises(ValueError, match=r"overrides\.patch_size\[1\] is 40, but unet_s2 needs"):
        make_model_plans(base_plans, "m", model, seed=1)
