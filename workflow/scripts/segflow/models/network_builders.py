"""How each network of `segflow.models.networks` is built, from the libraries that keep them.

Those that segment give one output of the size of their input: logits of shape (patch, class, z, y,
x), or without z in two dimensions. Those that tell classes give logits of shape (patch, class).
"""

from collections.abc import Callable
from typing import Any

import segmentation_models_pytorch as smp
from monai.networks.nets import (
    AttentionUnet,
    BasicUNet,
    DenseNet,
    MedNeXt,
    ResNet,
    SegResNet,
    SwinUNETR,
    UNet,
    VNet,
)
from torch import nn

from segflow.models.own_networks import BrainClassifier, DenseSeg, EncoderDecoder, convolution

VNET_FEATURES = 16  # of the first stage, which repeats the channels of its input

MEDNEXT_SIZES = {  # expansion in encoder, bottleneck and decoder; blocks of the four stages
    "small": (2, (2, 2, 2, 2), 2, 2),
    "base": ((2, 3, 4, 4), (2, 2, 2, 2), 4, 2),
    "medium": ((2, 3, 4, 4), (3, 4, 4, 4), 4, 4),
    "large": ((3, 4, 8, 8), (3, 4, 8, 8), 8, 8),
}


def _unet(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    upsampling = {"linear": "nontrainable", "transposed": "deconv"}[options["upsampling"]]
    return BasicUNet(
        dimension,
        n_in,
        n_out,
        features=options["features"],
        act=("relu", {"inplace": True}),
        norm=options["norm"],
        dropout=options["dropout"],
        upsample=upsampling,
    )


def _attention_unet(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    features = options["features"]
    return AttentionUnet(
        dimension, n_in, n_out, features, [2] * (len(features) - 1), dropout=options["dropout"]
    )


def _residual_unet(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    features = options["features"]
    strides = [2] * (len(features) - 1)
    return UNet(dimension, n_in, n_out, features, strides, num_res_units=options["units"])


def _from_smp(network: type[nn.Module], encoder: str | None = None) -> Callable[..., nn.Module]:
    def build(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
        name = encoder or options["encoder"]
        return network(name, encoder_weights=None, in_channels=n_in, classes=n_out)

    return build


def _vnet(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    """Build a V-Net; channels that cannot be repeated to its width are first made to fit."""
    if VNET_FEATURES % n_in == 0:
        return VNet(dimension, n_in, n_out)
    widened = next(n for n in range(n_in, VNET_FEATURES + 1) if VNET_FEATURES % n == 0)
    return nn.Sequential(convolution(dimension)(n_in, widened, 1), VNet(dimension, widened, n_out))


def _segresnet(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    blocks = options["blocks"]
    return SegResNet(
        spatial_dims=dimension,
        init_filters=options["features"],
        in_channels=n_in,
        out_channels=n_out,
        blocks_down=blocks,
        blocks_up=[1] * (len(blocks) - 1),
    )


def _swin_unetr(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    return SwinUNETR(
        in_channels=n_in,
        out_channels=n_out,
        feature_size=options["features"],
        spatial_dims=dimension,
    )


def _mednext(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    expansion, blocks, bottleneck_expansion, bottleneck = MEDNEXT_SIZES[options["size"]]
    reversed_expansion = expansion if isinstance(expansion, int) else expansion[::-1]
    return MedNeXt(
        spatial_dims=dimension,
        in_channels=n_in,
        out_channels=n_out,
        encoder_expansion_ratio=expansion,
        decoder_expansion_ratio=reversed_expansion,
        bottleneck_expansion_ratio=bottleneck_expansion,
        blocks_down=blocks,
        blocks_bottleneck=bottleneck,
        blocks_up=blocks[::-1],
    )


def _encoder_decoder(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    return EncoderDecoder(n_in, n_out, options["features"], options["dropout"])


def _dense_seg(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    return DenseSeg(dimension, n_in, n_out, options["growth"], options["blocks"])


def _densenet(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    return DenseNet(
        dimension,
        n_in,
        n_out,
        init_features=options["features"],
        growth_rate=options["growth"],
        block_config=options["blocks"],
        dropout_prob=options["dropout"],
    )


def _resnet(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    return ResNet(
        "basic",
        options["blocks"],
        options["features"],
        spatial_dims=dimension,
        n_input_channels=n_in,
        num_classes=n_out,
        shortcut_type="B",
    )


def _ad_cnn(dimension: int, n_in: int, n_out: int, options: dict[str, Any]) -> nn.Module:
    return BrainClassifier(n_in, n_out, options["widening"], options["norm"], options["age"])


BUILDERS = {
    "unet_s2": _unet,
    "unet_s3": _unet,
    "attention_unet": _attention_unet,
    "residual_unet": _residual_unet,
    "unetpp_resnet34": _from_smp(smp.UnetPlusPlus, "resnet34"),
    "unet_vgg16": _from_smp(smp.Unet, "vgg16_bn"),
    "pspnet": _from_smp(smp.PSPNet),
    "encoder_decoder": _encoder_decoder,
    "vnet": _vnet,
    "segresnet": _segresnet,
    "swin_unetr": _swin_unetr,
    "mednext": _mednext,
    "dense_seg": _dense_seg,
    "densenet": _densenet,
    "resnet": _resnet,
    "ad_cnn": _ad_cnn,
}


def build_network(
    name: str, options: dict[str, Any], dimension: int, n_in: int, n_out: int
) -> nn.Module:
    """Build a network with random weights; nothing is downloaded.

    Parameters
    ----------
    name : str
        A name of `segflow.models.networks.NETWORKS`.
    options : dict
        All of its options.
    dimension : int
        2 or 3.
    n_in, n_out : int
        Channels of the image, and classes or regions of voxels, or classes of cases.
    """
    return BUILDERS[name](dimension, n_in, n_out, options)
