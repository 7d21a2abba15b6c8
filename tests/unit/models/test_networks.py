"""Every network can be built, gives logits of its input's size, and refuses what it cannot take."""

import pytest
import torch

from segflow.models.network_builders import BUILDERS, build_network
from segflow.models.networks import (
    NETWORKS,
    as_architecture,
    check_network,
    check_patch,
    fit_patch,
    network_of,
    tells_classes,
)

# Numbers of parameters with one channel, two classes and the default options, as counted once from
# the libraries' networks: a version that builds something else shows here.
PARAMETERS = {
    ("unet_s2", 2): 28_982_082,
    ("unet_s3", 2): 31_112_130,
    ("attention_unet", 2): 31_739_250,
    ("residual_unet", 3): 4_806_481,
    ("unetpp_resnet34", 2): 26_072_482,
    ("unet_vgg16", 2): 23_755_682,
    ("pspnet", 2): 24_299_330,
    ("encoder_decoder", 2): 724_164,
    ("vnet", 3): 45_597_898,
    ("segresnet", 3): 4_700_914,
    ("swin_unetr", 3): 15_703_004,
    ("mednext", 3): 6_586_658,
    ("dense_seg", 3): 1_246_586,
    ("densenet", 2): 6_949_634,
    ("resnet", 3): 33_161_922,
    ("ad_cnn", 3): 25_527_170,
}


# Networks of which the default is large, small enough to be built often.
SMALL = {
    "unet_s2": {"features": [4, 4, 8, 8, 16, 4]},
    "unet_s3": {"features": [4, 4, 8, 8, 16, 4]},
    "attention_unet": {"features": [4, 4, 8, 8, 16]},
    "swin_unetr": {"features": 12},
    "densenet": {"features": 8, "growth": 4},
    "resnet": {"features": [4, 8, 8, 16]},
    "ad_cnn": {"widening": 1},
}


def options_of(name, **chosen):
    configuration = "2d" if 2 in NETWORKS[name].dimensions else "3d_fullres"
    return check_network({"name": name, "options": chosen}, configuration, "m.yaml")


CASES = [
    (name, dimension) for name, network in NETWORKS.items() for dimension in network.dimensions
]


def test_every_network_can_be_built():
    assert BUILDERS.keys() == NETWORKS.keys()


@pytest.mark.parametrize(("name", "dimension"), CASES)
def test_a_network_gives_logits_of_the_size_of_its_image_or_of_classes(name, dimension):
    options = options_of(name, **SMALL.get(name, {}))
    network = build_network(name, options, dimension, 3, 4).eval()
    patch = fit_patch(name, options, [1] * dimension)
    wider = [patch[0] + NETWORKS[name].divisor(options), *patch[1:]]
    with torch.no_grad():
        for size in (patch, wider) if dimension == 2 else (patch,):
            check_patch(name, options, size, "patch")
            expected = (1, 4) if tells_classes(name) else (1, 4, *size)
            assert network(torch.rand(1, 3, *size)).shape == expected


@pytest.mark.parametrize(("name", "dimension"), PARAMETERS)
def test_a_network_has_the_parameters_that_it_is_known_for(name, dimension):
    network = build_network(name, options_of(name), dimension, 1, 2)
    assert sum(value.numel() for value in network.parameters()) == PARAMETERS[name, dimension]


def test_options_reach_the_network():
    small = build_network("unet_s2", options_of("unet_s2", features=[4, 4, 8, 8, 16, 4]), 2, 1, 2)
    assert sum(value.numel() for value in small.parameters()) < 20_000
    two_levels = options_of("segresnet", features=8, blocks=[1, 1])
    assert fit_patch("segresnet", two_levels, [17, 30, 1]) == [18, 30, 16]


def test_plans_describe_a_network_and_give_it_back():
    options = options_of("attention_unet", features=[8, 16])
    assert network_of(as_architecture("attention_unet", options)) == ("attention_unet", options)
    theirs = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    }
    assert network_of(theirs) == ("nnunet", {})


@pytest.mark.parametrize(
    ("description", "configuration", "message"),
    [
        ({"name": "unet"}, "2d", r"network\.name: unknown name 'unet'; known: nnunet, ad_cnn"),
        ({"name": "pspnet"}, "3d_fullres", "pspnet takes images of 2 dimensions, but"),
        (
            {"name": "vnet", "options": {"depth": 3}},
            "3d_fullres",
            r"network\.options: .*'depth'.*; options of vnet: none",
        ),
        (
            {"name": "unet_s2", "options": {"features": [8, 16]}},
            "2d",
            r"network\.options\.features: .* too short; options of unet_s2: dropout, features",
        ),
        ({"name": "nnunet", "options": {"a": 1}}, "2d", r"network\.options: nnunet has none"),
        ({"name": "vnet", "deep_supervision": True}, "3d_fullres", "vnet has one output"),
    ],
)
def test_a_network_that_cannot_be_is_refused(description, configuration, message):
    with pytest.raises(ValueError, match=f"m.yaml: .*{message}"):
        check_network({"options": {}} | description, configuration, "m.yaml")


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"patch\[1\] is 40, but swin_unetr needs a multiple of 32"
    ):
        check_patch("swin_unetr", {}, [64, 40], "patch")
    with pytest.raises(ValueError, match=r"patch\[0\] is 32, .* from 64 on"):
        check_patch("swin_unetr", {}, [32, 64], "patch")


def test_of_a_patch_of_96_voxels_the_cnn_of_alzheimers_disease_leaves_one():
    network = build_network("ad_cnn", options_of("ad_cnn", widening=1), 3, 1, 3)
    with torch.device("meta"):
        features = network.to("meta").features(torch.empty(1, 1, 96, 96, 96))
    assert features.shape == (1, 64, 6, 6, 6)  # of which pooling of 5 with a stride of 2 leaves one


def test_ages_are_encoded_to_half_a_year_and_may_be_unknown():
    torch.manual_seed(0)
    network = build_network("ad_cnn", options_of("ad_cnn", widening=1), 3, 1, 3).eval()
    image = torch.rand(1, 1, 64, 64, 64)
    told = {}
    with torch.no_grad():
        for age in (70.0, 70.1, 71.0, float("nan")):
            network.age.ages = torch.tensor([age])
            told[str(age)] = network(image)
        network.age.ages = torch.tensor([70.0, 71.0])
        both = network(image.repeat(2, 1, 1, 1, 1))
    assert torch.equal(told["70.0"], told["70.1"])
    assert not torch.allclose(told["70.0"], told["71.0"])
    assert told["nan"].isfinite().all()
    assert torch.allclose(both, torch.cat([told["70.0"], told["71.0"]]), atol=1e-5)
    step = network.age.rates[0]
    assert step == 1  # the shortest wavelength: 2 pi steps
