"""Networks that no kept library has."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


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


class BrainClassifier(nn.Module):
    """The 3D network that tells cognitively normal subjects, MCI and Alzheimer's disease apart.

    A convolution of 1 x 1 x 1 keeps the resolution; three dilated ones follow, each with a
    normalisation, ReLU and max pooling. Of 96 x 96 x 96 voxels one is left. The age, if it is used,
    is added to what a linear layer makes of it. After Liu et al. 2022
    (doi:10.1038/s41598-022-20674-x).

    Parameters
    ----------
    n_in, n_out : int
        Channels of the image, and classes.
    widening : int
        Factor of the feature maps 4, 32, 64 and 64.
    norm : {'instance', 'batch'}
        Normalisation.
    age : bool
        Whether ages are used.
    """

    HIDDEN = (1024, 512)
    LAST_POOL = 5  # voxels; all that there are, of smaller patches

    def __init__(self, n_in: int, n_out: int, widening: int, norm: str, age: bool):
        super().__init__()
        widths = [widening * base for base in (4, 32, 64, 64)]
        convolutions = [
            nn.Conv3d(n_in, widths[0], 1),
            nn.Conv3d(widths[0], widths[1], 3, dilation=2),
            nn.Conv3d(widths[1], widths[2], 5, padding=2, dilation=2),
            nn.Conv3d(widths[2], widths[3], 3, padding=1, dilation=2),
        ]
        norms = {"instance": nn.InstanceNorm3d, "batch": nn.BatchNorm3d}
        layers: list[nn.Module] = []
        for place, (convolution_, width) in enumerate(zip(convolutions, widths, strict=True)):
            pooling = [nn.MaxPool3d(3, 2)] if place < len(widths) - 1 else []
            activation = nn.ReLU(inplace=True)
            layers += [convolution_, norms[norm](width, affine=True), activation, *pooling]
        self.features = nn.Sequential(*layers)
        wide, narrow = self.HIDDEN
        self.joined = nn.Linear(widths[-1], wide)
        self.age = AgeEncoding(wide) if age else None
        self.last = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(wide, narrow))
        self.classes = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(narrow, n_out))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return class logits, of shape (patch, class), of patches of shape (patch, channel, ...).

        The ages are those that `AgeEncoding.ages` holds.
        """
        features = self.features(image)
        pool = [min(self.LAST_POOL, size) for size in features.shape[2:]]
        features = functional.max_pool3d(features, pool, 2).flatten(2).mean(2)
        joined = self.joined(features)
        if self.age is not None:
            joined = joined + self.age(len(image))
        return self.classes(self.last(joined))


class AgeEncoding(nn.Module):
    """Ages as sines and cosines of many wavelengths, as words have places in a transformer.

    Parameters
    ----------
    width : int
        Of what is returned.

    Attributes
    ----------
    ages : Tensor or None
        Age in years of each patch of the next batch, or one of all; NaN where it is not known.
    """

    ENCODED = 512
    STEP_YEARS = 0.5
    LONGEST = 10_000.0  # wavelength, in steps, over 2 pi

    def __init__(self, width: int):
        super().__init__()
        self.ages: torch.Tensor | None = None
        exponents = torch.arange(0, self.ENCODED, 2) / self.ENCODED
        self.register_buffer("rates", self.LONGEST**-exponents, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(self.ENCODED, self.ENCODED),
            nn.LayerNorm(self.ENCODED),
            nn.Linear(self.ENCODED, width),
        )

    def forward(self, n_patches: int) -> torch.Tensor:
        """Return what is added for the age of each patch; 0 where it is not known."""
        ages = torch.full((1,), torch.nan) if self.ages is None else self.ages
        ages = ages.to(self.rates.device).expand(n_patches)
        steps = torch.round(torch.nan_to_num(ages) / self.STEP_YEARS)
        angles = steps[:, None] * self.rates
        encoded = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
        return self.layers(encoded) * ~ages.isnan()[:, None]
