import pytest

from segflow.run.configuration import Run
from segflow.run.descriptions import load_descriptions
from segflow.run.miniature import in_miniature

LIMITS = {
    "epochs": 2,
    "iterations_per_epoch": 4,
    "batch_size": 2,
    "base_features": 4,
    "image_size": 64,
    "gpu_memory_gb": 0.1,
}


def configuration(**changes):
    return {"datasets": ["hippocampus"], "models": ["unet_s2", "nnunet_3d_fullres"], **changes}


def test_a_rival_keeps_its_protocol_and_becomes_small():
    before = load_descriptions("model", ["unet_s2"])["unet_s2"]
    small = in_miniature(before, LIMITS)
    assert small["planning"]["resize"] == [64, 64]
    assert small["network"]["options"]["features"] == [4, 8, 16, 32, 64, 4]
    assert small["overrides"] == {"batch_size": 2}
    changed = {"epochs": 2, "iterations_per_epoch": 4, "validation_iterations_per_epoch": 4}
    assert small["training"] == before["training"] | changed
    assert small["prediction"] == before["prediction"]
    assert before["planning"]["resize"] == [768, 768]  # is left as it was


def test_nnunet_is_planned_for_little_memory():
    model = load_descriptions("model", ["nnunet_3d_fullres"])["nnunet_3d_fullres"]
    small = in_miniature(model, LIMITS)
    assert small["planning"] == {"planner": "default", "gpu_memory_gb": 0.1}
    assert small["overrides"] == {"batch_size": 2, "base_features": 4}
    assert not small["training"]["compile"]
    assert not small["prediction"]["mirroring"]
    assert (small["threads"], small["n_gpus"]) == (1, 1)


def test_what_is_smaller_already_stays():
    model = load_descriptions("model", ["unet_3d_quick"])["unet_3d_quick"]
    limits = dict.fromkeys(LIMITS, 1000)
    assert in_miniature(model, limits)["training"] == model["training"]
    assert in_miniature(model, limits)["overrides"]["base_features"] == 8


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("swin_unetr", {"features": 12}),  # the least that it takes
        ("segresnet", {"features": 8, "blocks": [1, 2, 2, 4]}),
        ("dense_seg", {"growth": 4, "blocks": [4, 4, 4, 4]}),
        ("encoder_decoder_s3", {"features": [4, 8, 16], "dropout": 0.1}),
        ("pspnet_2d", {"encoder": "resnet50"}),
    ],
)
def test_features_of_networks(name, options):
    model = load_descriptions("model", [name])[name]
    assert in_miniature(model, LIMITS)["network"]["options"] == options


def test_an_image_is_no_smaller_than_the_network_takes():
    model = load_descriptions("model", ["unetpp_s3"])["unetpp_s3"]
    assert in_miniature(model, LIMITS | {"image_size": 40})["planning"]["resize"] == [64, 64]


def test_weights_that_would_not_fit_are_left_out(tmp_path):
    model = load_descriptions("model", ["nnunet_2d"])["nnunet_2d"]
    model["network"]["pretrained"] = "weights.pth"
    model["overrides"]["patch_size"] = [512, 512]
    small = in_miniature(model, LIMITS)
    assert "pretrained" not in small["network"]
    assert "patch_size" not in small["overrides"]


def test_a_run_in_miniature_is_made_from_small_models_and_says_so():
    run = Run(configuration(miniature={}, ensembles_up_to=2))
    assert run.config["miniature"] == LIMITS
    assert run.planned("unet_s2")["training"]["epochs"] == 2
    titles = [run.title(name) for name in run.predictors]
    assert all(title.endswith(", in miniature") for title in titles)
    full = Run(configuration())
    assert full.planned("unet_s2")["training"]["epochs"] == 100
    assert full.title("unet_s2") == "U-Net of 64 to 512 features, 768 x 768"


def test_a_misspelt_limit_is_refused():
    with pytest.raises(ValueError, match=r"configuration: miniature: .*'epoch' was unexpected"):
        Run(configuration(miniature={"epoch": 1}))
