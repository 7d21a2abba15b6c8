"""The networks that a model may name beside nnU-Net's own, and what each of them can take.

This module knows no PyTorch: a name, an option or a patch that cannot be is refused while a
configuration is read. `segflow.models.network_builders` builds what is named here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

NNUNET = "nnunet"  # the name of whatever network nnU-Net plans
# How plans name a network of ours as their architecture.
PREFIX = "segflow.models.networks."


@dataclass(frozen=True)
class Network:
    """What is to be known of a network before it is built.

    Parameters
    ----------
    title : str
        As people read it.
    dimensions : tuple of int
        Of the images that it can take: 2, 3 or both.
    options : dict
        JSON schema of each of its options; those without a default are required.
    divisor : callable
        From options to the number that each axis of a patch must be a multiple of.
    least : int
        Smallest patch along each axis, in voxels.
    stages : tuple of str
        Modules whose outputs are the stages of the encoder, for a head; empty without such.
    tells_classes : bool
        Whether it tells the class of a case and segments nothing.
    """

    title: str
    dimensions: tuple[int, ...]
    options: dict[str, dict] = field(default_factory=dict)
    divisor: Callable[[dict[str, Any]], int] = lambda options: 1
    least: int = 8
    stages: tuple[str, ...] = ()
    tells_classes: bool = False


ENCODER = ("encoder",)  # as nnU-Net and segmentation-models-pytorch call it
DROPOUT = {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.0}
DOWN = ("down_1", "down_2", "down_3", "down_4")


def _features(*default: int, least: int = 2, most: int = 8) -> dict:
    items = {"type": "integer", "minimum": 1}
    schema = {"type": "array", "items": items, "minItems": least, "maxItems": most}
    return schema | {"default": list(default)} if default else schema


def _unet_options(upsampling: str) -> dict[str, dict]:
    # MONAI's network has five levels; the sixth number is that of the last convolutions.
    return {
        "features": _features(64, 128, 256, 512, 1024, 64, least=6, most=6),
        "norm": {"enum": ["batch", "instance"], "default": "batch"},
        "upsampling": {"enum": ["linear", "transposed"], "default": upsampling},
        "dropout": DROPOUT,
    }


def _halvings(options: dict[str, Any]) -> int:
    return 2 ** (len(options["features"]) - 1)


NETWORKS = {
    "unet_s2": Network(
        "U-Net, bilinear upsampling", (2, 3), _unet_options("linear"), lambda _: 16, 32, DOWN
    ),
    "unet_s3": Network("U-Net", (2, 3), _unet_options("transposed"), lambda _: 16, 32, DOWN),
    "attention_unet": Network(
        "Attention U-Net",
        (2, 3),
        {
            "features": _features(64, 128, 256, 512, 1024),
            "dropout": DROPOUT,
        },
        _halvings,
        32,
    ),
    "residual_unet": Network(
        "Residual U-Net",
        (2, 3),
        {
            "features": _features(16, 32, 64, 128, 256),
            "units": {"type": "integer", "minimum": 0, "default": 2},
        },
        _halvings,
        32,
    ),
    "unetpp_resnet34": Network("U-Net++, ResNet-34", (2,), {}, lambda _: 32, 32, ENCODER),
    "unet_vgg16": Network("U-Net, VGG-16", (2,), {}, lambda _: 32, 32, ENCODER),
    "pspnet": Network(
        "PSPNet",
        (2,),
        {"encoder": {"enum": ["resnet34", "resnet50"], "default": "resnet50"}},
        lambda _: 8,
        48,
        ENCODER,
    ),
    "encoder_decoder": Network(
        "Encoder-decoder without skip connections",
        (2,),
        {
            "features": _features(32, 64, 128, least=3, most=3),
            "dropout": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.1},
        },
        lambda _: 8,
        16,
    ),
    "vnet": Network("V-Net", (2, 3), {}, lambda _: 16, 32),
    "segresnet": Network(
        "SegResNet",
        (2, 3),
        {
            "features": {"type": "integer", "minimum": 8, "multipleOf": 8, "default": 16},
            "blocks": {**_features(1, 2, 2, 4), "minItems": 2},
        },
        lambda options: 2 ** (len(options["blocks"]) - 1),
        16,
        ("down_layers",),
    ),
    "swin_unetr": Network(
        "Swin UNETR",
        (2, 3),
        {"features": {"type": "integer", "minimum": 12, "multipleOf": 12, "default": 24}},
        lambda _: 32,
        64,
        ("swinViT",),
    ),
    "mednext": Network(
        "MedNeXt",
        (2, 3),
        {"size": {"enum": ["small", "base", "medium", "large"], "default": "small"}},
        lambda _: 16,
        32,
    ),
    "dense_seg": Network(
        "Skip-connected DenseNet",
        (2, 3),
        {
            "growth": {"type": "integer", "minimum": 1, "default": 16},
            "blocks": {**_features(4, 4, 4, 4), "minItems": 2},
        },
        lambda options: 2 ** (len(options["blocks"]) - 1),
        16,
    ),
    "densenet": Network(
        "DenseNet",
        (2, 3),
        {
            "features": {"type": "integer", "minimum": 1, "default": 64},
            "growth": {"type": "integer", "minimum": 1, "default": 32},
            "blocks": {**_features(6, 12, 24, 16), "minItems": 2},
            "dropout": DROPOUT,
        },
        least=64,
        tells_classes=True,
    ),
    "resnet": Network(
        "ResNet",
        (2, 3),
        {
            "features": _features(64, 128, 256, 512, least=4, most=4),
            "blocks": _features(2, 2, 2, 2, least=4, most=4),
        },
        least=64,
        tells_classes=True,
    ),
    "ad_cnn": Network(
        "CNN of Alzheimer's disease",
        (3,),
        {
            "widening": {"type": "integer", "minimum": 1, "default": 8},
            "norm": {"enum": ["instance", "batch"], "default": "instance"},
            "age": {"type": "boolean", "default": True},
        },
        least=64,
        tells_classes=True,
    ),
}


def check_network(description: dict[str, Any], configuration: str, where: str) -> dict[str, Any]:
    """Return the options of a model's network, with the defaults of those that are left out.

    Parameters
    ----------
    description : dict
        The key ``network`` of a model.
    configuration : str
        nnU-Net's configuration that the model has.
    where : str
        Name of the model's file, for messages.

    Raises
    ------
    ValueError
        If there is no such network, it has no such option, or takes no images of this dimension.
    """
    name, options = description["name"], description["options"]
    if name == NNUNET:
        if options:
            raise ValueError(f"{where}: network.options: {NNUNET} has none, found {options}")
        return {}
    if name not in NETWORKS:
        known = ", ".join([NNUNET, *sorted(NETWORKS)])
        raise ValueError(f"{where}: network.name: unknown name {name!r}; known: {known}")
    network = NETWORKS[name]
    schema = {"properties": network.options, "additionalProperties": False}
    for error in Draft202012Validator(schema).iter_errors(options):
        key = ".".join(["network.options", *map(str, error.absolute_path)])
        allowed = ", ".join(sorted(network.options)) or "none"
        raise ValueError(f"{where}: {key}: {error.message}; options of {name}: {allowed}")
    dimension = 2 if configuration == "2d" else 3
    if dimension not in network.dimensions:
        raise ValueError(
            f"{where}: network.name: {name} takes images of {network.dimensions[0]} dimensions, "
            f"but configuration is {configuration}"
        )
    if "deep_supervision" in description:
        raise ValueError(
            f"{where}: network.deep_supervision goes with {NNUNET}; {name} has one output"
        )
    return {key: rules["default"] for key, rules in network.options.items()} | options


def stages_of(name: str) -> tuple[str, ...]:
    """Return the modules of a network's encoder that a head can be put on."""
    return ENCODER if name == NNUNET else NETWORKS[name].stages


def tells_classes(name: str) -> bool:
    """Say whether a network tells the class of a case and segments nothing."""
    return name != NNUNET and NETWORKS[name].tells_classes


def check_patch(name: str, options: dict[str, Any], patch: list[int], what: str) -> None:
    """Check that a network can take a patch.

    Parameters
    ----------
    name : str
        Name of the network.
    options : dict
        All of its options.
    patch : list of int
        Size along each axis, in voxels.
    what : str
        Names file and key of the patch, for the message.

    Raises
    ------
    ValueError
        If an axis is too small or no multiple of what the network needs.
    """
    network = NETWORKS[name]
    divisor = network.divisor(options)
    for axis, size in enumerate(patch):
        if size % divisor or size < network.least:
            raise ValueError(
                f"{what}[{axis}] is {size}, but {name} needs a multiple of {divisor} from "
                f"{fit_patch(name, options, [1])[0]} on"
            )


def fit_patch(name: str, options: dict[str, Any], patch: list[int]) -> list[int]:
    """Return the smallest patch that a network can take and that holds another one."""
    network = NETWORKS[name]
    divisor = network.divisor(options)
    return [math.ceil(max(size, network.least) / divisor) * divisor for size in patch]


def as_architecture(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return a network as nnU-Net's plans describe an architecture."""
    return {
        "network_class_name": f"{PREFIX}{name}",
        "arch_kwargs": {"options": options},
        "_kw_requires_import": [],
    }


def network_of(architecture: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and options of the network that plans describe; `NNUNET` has none of ours."""
    named = architecture["network_class_name"]
    if not named.startswith(PREFIX):
        return NNUNET, {}
    return named.removeprefix(PREFIX), architecture["arch_kwargs"]["options"]
