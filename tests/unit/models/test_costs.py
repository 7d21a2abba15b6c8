import pytest

from segflow.models.costs import count_cost, count_windows
from segflow.models.model_plans import make_model_plans
from segflow.models.networks import NETWORKS, check_network, fit_patch, tells_classes

LABELS = {"labels": {"background": 0, "a": 1}, "channel_names": {"0": "MRI", "1": "MRI"}}


@pytest.mark.parametrize(
    ("shape", "patch", "step", "windows"),
    [
        ((40, 56, 40), (40, 56, 40), 0.5, 1),
        ((10, 10, 10), (40, 56, 40), 0.5, 1),
        ((80, 56, 40), (40, 56, 40), 0.5, 3),
        ((80, 56, 40), (40, 56, 40), 1.0, 2),
        ((9, 56, 80), (56, 40), 0.5, 9 * 3),
    ],
)
def test_windows_are_those_of_nnunet(shape, patch, step, windows):
    assert count_windows(shape, patch, step) == windows


def model(name, augmentation="none", **network):
    return {
        "configuration": "2d",
        "overrides": {"patch_size": [32, 32]},
        "network": {"name": name, "options": network},
        "training": {"augmentation": augmentation},
        "prediction": {"mirroring": True, "step_size": 1.0},
    }


def test_operations_and_parameters_by_hand(base_plans):
    options = {"features": [1, 1, 1], "dropout": 0.0}
    plans = make_model_plans(base_plans, "m", model("encoder_decoder", **options), seed=1)
    cost = count_cost(plans, LABELS, [(1, 32, 32), (3, 32, 32)])
    # Steps down: 3 x 3 to a half of the size, then 5 x 5; up: 3 x 3 to 1, 1 and 2 features.
    down = sum(size**2 * (9 * channels + 25) for size, channels in ((16, 2), (8, 1), (4, 1)))
    up = 4**2 * 9 * (1 + 1 + 2)
    assert cost.windows == 2
    assert cost.flops == 2 * 2 * (down + up)
    weights = (9 * 2 + 9 + 9) + 3 * 25 + 9 * 4
    biases = 3 + 3 + 4
    norms = 2 * (2 + 1 + 1) + 2 * 3 + 2 * 2
    assert cost.parameters == weights + biases + norms


def test_mirroring_counts_where_training_mirrored(base_plans):
    options = {"features": [1, 1, 1], "dropout": 0.0}
    for augmentation, windows in (("none", 1), ("nnunet", 4)):
        described = model("encoder_decoder", augmentation, **options)
        plans = make_model_plans(base_plans, "m", described, seed=1)
        assert count_cost(plans, LABELS, [(1, 32, 32)]).windows == windows


def test_a_head_counts_with_its_network(base_plans):
    described = model("unet_s2", features=[2] * 6, norm="batch", upsampling="linear", dropout=0.0)
    plain = count_cost(make_model_plans(base_plans, "m", described, seed=1), LABELS, [(1, 32, 32)])
    described["head"] = {"stages": 2, "hidden": 4, "dropout": 0.0, "frozen": False}
    classified = {"classes": ["a", "b"], "outputs": [1], "has_regions": False}
    plans = make_model_plans(base_plans, "m", described, seed=1, classified=classified)
    headed = count_cost(plans, LABELS, [(1, 32, 32)])
    # Layer norm of 3 x 4 features, a layer to 4 and one to 2.
    assert headed.parameters - plain.parameters == 2 * 12 + (12 * 4 + 4) + (4 * 2 + 2)
    assert headed.windows == plain.windows


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cost_of_every_network_can_be_counted(base_plans, name):
    flat = 2 in NETWORKS[name].dimensions
    wanted = "2d" if flat else "3d_fullres"
    options = check_network({"name": name, "options": {}}, wanted, "m.yaml")
    patch = fit_patch(name, options, [1] * (2 if flat else 3))
    described = model(name, **options) | {"configuration": wanted}
    described["overrides"] = {"patch_size": patch}
    plans = make_model_plans(base_plans, "m", described, seed=1)
    if tells_classes(name):
        plans["segflow"]["classifier"] = {"classes": ["a", "b"]}
    cost = count_cost(plans, LABELS, [(40, 56, 40)])
    assert cost.flops > 0
    assert cost.parameters > 1e5
