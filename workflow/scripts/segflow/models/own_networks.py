"""Networks that no kept library has."""

from collections.abc import Sequence

import torch
from torch import nn


def convolution(dimension: int) -> type[nn.Module]:
    """Return PyTorch's convolution of 2 or 3 dimensions."""
    return {2: nn.Conv2d, 3: nn.Conv3d}[dimension]


class EncoderDecoder(nn.Module):
    """A small encoder-decoder without skip connections, for 2D images.

    Three times batch norm, dropout, a convolution of stride 2 with ELU, and one of 5 x 5; then
    convolutions that halve the features down to 32 and the classes; at last upsampling by 8.

    Parameters
    ----------
    n_in, n_out : int
        Channels of the image, and classes or regions.
    features : sequence of int
        Feature maps after each of the three steps down.
    dropout : float
        Share of whole feature maps that are dropped before each step down.
    """

    def __init__(self, n_in: int, n_out: int, features: Sequence[int], dropout: float):
        super().__init__()
        layers: list[nn.Module] = []
        before = n_in
        for width in features:
            layers += [
                nn.BatchNorm2d(before),
                nn.Dropout2d(dropout),
                nn.Conv2d(before, width, 3, stride=2, padding=1),
                nn.ELU(inplace=True),
                *_block(width, width, 5),
            ]
            before = width
        for width in reversed(features[:-1]):
            layers += _block(before, width, 3)
            before = width
        layers += [
            nn.Conv2d(before, n_out, 3, padding=1),
            nn.Upsample(scale_factor=2 ** len(features), mode="bilinear", align_corners=False),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits of the image's size."""
        return self.layers(image)


def _block(before: int, width: int, kernel: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, width, kernel, padding=kernel // 2),
        nn.BatchNorm2d(width),
        nn.ELU(inplace=True),
    ]


class DenseSeg(nn.Module):
    """A DenseNet whose blocks are each brought to full size and joined.

    After Bui, Shin and Moon, "Skip-connected 3D DenseNet for volumetric infant brain MRI
    segmentation", Biomedical Signal Processing and Control 2019,
    https://doi.org/10.1016/j.bspc.2019.101613: dense blocks with bottlenecks, transitions that
    halve the size by a convolution of stride 2 and the feature maps, and one transposed convolution
    a block.

    Parameters
    ----------
    dimension : int
        2 or 3.
    n_in, n_out : int
        Channels of the image, and classes or regions.
    growth : int
        Feature maps that each layer of a block adds.
    blocks : sequence of int
        Layers of each block.
    """

    BRANCH_FEATURES = 4  # that each block gives to the last convolution, times the classes
    FIRST_FEATURES = 32

    def __init__(self, dimension: int, n_in: int, n_out: int, growth: int, blocks: Sequence[int]):
        super().__init__()
        conv = convolution(dimension)
        norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dimension]
        transposed = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dimension]
        width = self.FIRST_FEATURES

        def activated(features: int) -> list[nn.Module]:
            return [norm(features), nn.ReLU(inplace=True)]

        self.first = nn.Sequential(
            conv(n_in, width, 3, padding=1, bias=False),
            *activated(width),
            conv(width, width, 3, padding=1, bias=False),
            *activated(width),
            conv(width, width, 3, padding=1, bias=False),
        )
        self.transitions = nn.ModuleList([nn.Identity()])
        self.blocks = nn.ModuleList()
        self.branches = nn.ModuleList()
        branch = self.BRANCH_FEATURES * n_out
        for stage, n_layers in enumerate(blocks):
            if stage:
                half = width // 2
                self.transitions.append(
                    nn.Sequential(
                        *activated(width),
                        conv(width, half, 1, bias=False),
                        *activated(half),
                        conv(half, half, 2, stride=2, bias=False),
                    )
                )
                width = half
            layers = nn.ModuleList()
            for _ in range(n_layers):
                layers.append(
                    nn.Sequential(
                        *activated(width),
                        conv(width, 4 * growth, 1, bias=False),
                        *activated(4 * growth),
                        conv(4 * growth, growth, 3, padding=1, bias=False),
                    )
                )
                width += growth
            self.blocks.append(layers)
            scale = 2**stage
            self.branches.append(
                transposed(width, branch, scale, stride=scale, bias=False)
                if stage
                else conv(width, branch, 1, bias=False)
            )
        joined = branch * len(blocks)
        self.last = nn.Sequential(*activated(joined), conv(joined, n_out, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits of the image's size."""
        features = self.first(image)
        branches = []
        for transition, block, branch in zip(
            self.transitions, self.blocks, self.branches, strict=True
        ):
            features = transition(features)
            for layer in block:
                features = torch.cat([features, layer(features)], dim=1)
            branches.append(branch(features))
        return self.last(torch.cat(branches, dim=1))
