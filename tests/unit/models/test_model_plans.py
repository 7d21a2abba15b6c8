from copy import deepcopy

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from segflow.models.model_plans import make_model_plans, resolve_configuration
from segflow.models.planners import NORMALISATIONS, normalisation
from segflow.run.configuration import Run


@pytest.fixture
def make_plans(base_plans):
    """Make the plans of a model with some overrides."""

    def make(configuration="3d_fullres", previous_model=None, network=None, **overrides):
        model = {
            "configuration": configuration,
            "overrides": overrides,
            "network": network or {"name": "nnunet", "options": {}},
            "training": {"epochs": 3},
            "prediction": {"step_size": 0.5},
        }
        if previous_model:
            model["previous_model"] = previous_model
        return make_model_plans(base_plans, "m", model, seed=7)

    return make


def test_plans_carry_the_settings_of_the_model(make_plans):
    plans = make_plans()
    assert plans["plans_name"] == "m"
    assert plans["segflow"] == {
        "model": "m",
        "configuration": "3d_fullres",
        "previous_model": None,
        "seed": 7,
        "training": {"epochs": 3},
        "prediction": {"step_size": 0.5},
    }


def test_without_overrides_the_configuration_is_that_of_the_base(make_plans, base_plans):
    before = deepcopy(base_plans)
    assert make_plans()["configurations"] == base_plans["configurations"]
    make_plans(batch_size=9, patch_size=[8, 8, 8], base_features=4)
    assert base_plans == before


@pytest.mark.parametrize(
    ("overrides", "features"),
    [
        ({"base_features": 8}, [8, 16, 32]),
        ({"base_features": 40}, [40, 80, 128]),
        ({"max_features": 48}, [32, 48, 48]),
        ({"max_features": 320}, [32, 64, 128]),
        ({"base_features": 100, "max_features": 320}, [100, 200, 320]),
    ],
)
def test_features_double_up_to_their_limit(make_plans, overrides, features):
    chosen = PlansManager(make_plans(**overrides)).get_configuration("3d_fullres")
    assert chosen.network_arch_init_kwargs["features_per_stage"] == features


def test_overrides_replace_what_nnunet_planned(make_plans):
    plans = make_plans("2d", batch_size=24, batch_dice=True, patch_size=[32, 48])
    chosen = PlansManager(plans).get_configuration("2d")
    assert (chosen.batch_size, chosen.batch_dice, chosen.patch_size) == (24, True, [32, 48])
    assert plans["configurations"]["3d_fullres"]["batch_size"] == 2


def test_a_cascade_inherits_once_and_for_all(make_plans):
    plans = make_plans("3d_cascade_fullres", "first", base_features=16)
    chosen = plans["configurations"]["3d_cascade_fullres"]
    assert "inherits_from" not in chosen
    assert chosen["previous_stage"] == "3d_lowres"
    assert chosen["patch_size"] == [40, 56, 40]
    assert chosen["architecture"]["arch_kwargs"]["features_per_stage"] == [16, 32, 64]
    unchanged = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert unchanged["features_per_stage"] == [32, 64, 128]
    assert plans["segflow"]["previous_model"] == "first"


# The network halves each axis once and the last axis a second time.
@pytest.mark.parametrize(
    ("configuration", "overrides", "message"),
    [
        ("3d_fullres", {"patch_size": [8, 8]}, "patch_size has 2 axes, the configuration has 3"),
        ("2d", {"patch_size": [8, 8, 8]}, "patch_size has 3 axes, the configuration has 2"),
        ("3d_fullres", {"patch_size": [8, 9, 8]}, r"patch_size\[1\] is 9, .* a multiple of 2"),
        ("3d_fullres", {"patch_size": [8, 8, 10]}, r"patch_size\[2\] is 10, .* a multiple of 4"),
        ("3d_lowres", {}, "no configuration '3d_lowres' for .*hippocampus .* 2d, 3d_fullres, 3d_c"),
    ],
)
def test_what_does_not_fit_is_refused(make_plans, configuration, overrides, message):
    with pytest.raises(ValueError, match=rf"^config/models/m\.yaml: .*{message}"):
        make_plans(configuration, **overrides)


def test_the_shipped_overrides_fit(base_plans):
    run = Run({"datasets": ["hippocampus"], "models": ["unet_2d_quick", "unet_3d_quick"]})
    for name, model in run.models.items():
        chosen = make_model_plans(base_plans, name, model, 1)["configurations"]
        features = chosen[model["configuration"]]["architecture"]["arch_kwargs"]
        assert features["features_per_stage"][0] == model["overrides"]["base_features"]


@pytest.mark.parametrize("name", ["2d", "3d_fullres", "3d_cascade_fullres"])
def test_inheritance_is_resolved_as_nnunet_does(base_plans, name):
    expected = PlansManager(base_plans).get_configuration(name).configuration
    expected.pop("inherits_from", None)
    assert resolve_configuration(base_plans, name) == expected


@pytest.mark.parametrize(
    "channel", ["CT", "ct", "noNorm", "T1", "zscore", "rescale_to_0_1", "RGB_to_0_1"]
)
def test_channels_are_normalised_as_nnunet_does(channel):
    from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import (
        channel_name_to_normalization_mapping,
        get_normalization_scheme,
    )

    assert {*NORMALISATIONS} == {*channel_name_to_normalization_mapping}
    chosen = channel_name_to_normalization_mapping[normalisation(channel)]
    assert chosen is get_normalization_scheme(channel)
