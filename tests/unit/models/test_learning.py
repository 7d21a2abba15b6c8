import pytest

from segflow.models.learning import (
    FORMER_SETTINGS,
    LOSS_OPTIONS,
    check_training,
    lasting_settings,
    optimizer_of,
)
from segflow.run.descriptions import check_model
from segflow.run.schemas import check

# All settings that a training was made from when there was nnU-Net's network only.
FORMER = {
    "schedule": "nnunet",
    "epochs": 1000,
    "iterations_per_epoch": 250,
    "validation_iterations_per_epoch": 50,
    "learning_rate": 0.01,
    "weight_decay": 3e-5,
    "augmentation": "nnunet",
    "patience": 0,
    "compile": False,
}


def model(**changes):
    return check({"title": "M", "configuration": "2d"} | changes, "model", "m.yaml")


def test_a_training_that_says_nothing_new_is_made_from_what_it_was():
    assert lasting_settings(model()["training"]) == FORMER
    assert FORMER_SETTINGS.keys() <= model()["training"].keys()


@pytest.mark.parametrize("key", FORMER_SETTINGS)
def test_a_new_setting_counts(key):
    value = {"select_by": "iou", "restart_epochs": 3, "restart_growth": 1, "plateau_epochs": 3}
    training = model(training={key: value.get(key, 0.5)})["training"]
    assert lasting_settings(training) == FORMER | {key: value.get(key, 0.5)}


@pytest.mark.parametrize(
    ("training", "optimizer"),
    [
        ({}, "sgd"),
        ({"schedule": "quick"}, "adamw"),
        ({"schedule": "poly"}, "sgd"),
        ({"schedule": "plateau"}, "adamw"),
        ({"schedule": "poly", "optimizer": "adam"}, "adam"),
    ],
)
def test_schedules_have_usual_optimizers(training, optimizer):
    assert optimizer_of(model(training=training)["training"]) == optimizer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"optimizer": "adam"}}, "optimizer: schedule nnunet comes with sgd, found"),
        ({"training": {"schedule": "slow"}}, r"training\.schedule: 'slow' is not one of"),
        ({"training": {"loss": [{"term": "iou"}]}}, r"training\.loss\.0\.term: 'iou' is not one"),
        (
            {"training": {"loss": [{"term": "dice", "gamma": 2}]}},
            r"training\.loss\.0: dice has no option 'gamma'; allowed: none",
        ),
        (
            {"training": {"loss": [{"term": "bce"}, {"term": "tversky", "gamma": 2}]}},
            r"training\.loss\.1: tversky has no option 'gamma'; allowed: alpha, beta",
        ),
        (
            {"training": {"augmentation": "none_at_all"}},
            r"training\.augmentation: unknown name 'none_at_all'; known: nnunet, none, brain",
        ),
        (
            {"network": {"name": "unet_s2"}, "overrides": {"base_features": 4}},
            r"overrides\.base_features goes with network nnunet",
        ),
        ({"planning": {"resize": [64, 64, 64]}}, r"planning\.resize: needs two numbers"),
        (
            {"planning": {"resize": [64, 60]}, "network": {"name": "unet_s2"}},
            r"planning\.resize\[1\] is 60, but unet_s2 needs a multiple of 16",
        ),
        (
            {"configuration": "3d_lowres", "planning": {"resize": [64, 64, 64]}},
            "found .* for 3d_lowres",
        ),
        (
            {
                "configuration": "3d_fullres",
                "planning": {"resize": [64, 64, 64], "spacing_mm": [1, 1, 1]},
            },
            "resize and spacing_mm cannot both be",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=f"m.yaml: .*{message}"):
        check_model(model(**changes), "m.yaml")


def test_missing_weights_are_named():
    with pytest.raises(FileNotFoundError, match=r"pretrained: w\.pth: no such file; weights are"):
        check_model(model(network={"pretrained": "w.pth"}), "m.yaml")


def test_options_and_augmentations_are_filled_in():
    found = model(network={"name": "encoder_decoder"}, training={"augmentation": "ultrasound"})
    check_model(found, "m.yaml")
    assert found["network"]["options"] == {"features": [32, 64, 128], "dropout": 0.1}
    assert found["augmentation"].keys() == {"base", "transforms"}


def test_each_term_of_the_loss_is_in_the_schema():
    for term in LOSS_OPTIONS:
        check_training(model(training={"loss": [{"term": term}]})["training"], "m.yaml")
