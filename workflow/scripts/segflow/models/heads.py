"""A classifier on the encoder of a segmentation network.

To nnU-Net the network stays what it was: in evaluation it gives the segmentation alone, so that its
own predictor works from the same checkpoint. In training it gives both.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from segflow.models.classes import EPSILON, ClassLoss

SLOPE = 0.1  # below zero, of the hidden units


class Headed(NamedTuple):
    """What a network with a head gives in training.

    Parameters
    ----------
    segmentation : Tensor or sequence of Tensor
        What it gives without a head.
    classes : Tensor
        Logits of shape (patch, class).
    """

    segmentation: torch.Tensor | Sequence[torch.Tensor]
    classes: torch.Tensor


class ClassHead(nn.Module):
    """Class logits of a patch from the features of some stages.

    Each stage is pooled by its average, its maximum, and its average over the structure that the
    network itself predicts; a small perceptron follows.

    Parameters
    ----------
    channels : sequence of int
        Feature maps of each stage.
    n_classes : int
        Number of classes.
    hidden : int
        Width of the hidden layer.
    dropout : float
        Share of hidden units that are dropped in training.
    """

    def __init__(self, channels: Sequence[int], n_classes: int, hidden: int, dropout: float):
        super().__init__()
        width = 3 * sum(channels)
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.LeakyReLU(SLOPE),  # units of a ReLU that have died stay so, and tell one class only
            nn.Dropout(dropout),
            nn.Linear(hidden, n_classes),
        )

    def forward(self, stages: Sequence[torch.Tensor], attention: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (patch, class).

        Parameters
        ----------
        stages : sequence of Tensor
            Of shape (patch, channel, z, y, x) or (patch, channel, y, x).
        attention : Tensor
            Probability of the structure, of shape (patch, 1, z, y, x) or without z.
        """
        pooled = []
        for features in stages:
            flat = features.flatten(2)
            weights = _pool(attention, features.shape[2:]).flatten(2)
            attended = (flat * weights).sum(2) / (weights.sum(2) + EPSILON)
            pooled += [flat.mean(2), flat.amax(2), attended]
        return self.layers(torch.cat(pooled, 1))


def _pool(attention: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Return an attention map of another size."""
    pool = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}[len(size)]
    return pool(attention, tuple(size))


class WithHead(nn.Module):
    """A segmentation network and a head on its encoder.

    Parameters
    ----------
    network : Module
        The network. Its encoder's outputs are taken where they leave the modules `stages`.
    stages : sequence of str
        Names of modules that give a stage each or a sequence of stages, or of lists of such.
    n_in : int
        Channels of the image.
    patch_size : sequence of int
        Patch, in voxels.
    settings : dict
        The key ``head`` of plans.
    """

    def __init__(
        self,
        network: nn.Module,
        stages: Sequence[str],
        n_in: int,
        patch_size: Sequence[int],
        settings: dict[str, Any],
    ):
        super().__init__()
        self.network = network
        self.places = list(stages)
        self.n_stages = settings["stages"]
        self.frozen = settings["frozen"]
        self.outputs = settings["outputs"]
        self.has_regions = settings["has_regions"]
        self.collected: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        channels = self._count_channels(n_in, patch_size)
        self.head = ClassHead(
            channels, len(settings["classes"]), settings["hidden"], settings["dropout"]
        )
        self._stages: list[torch.Tensor] = []
        self._listen(self.network, self._stages)

    @property
    def encoder(self) -> nn.Module:
        """The network's encoder, where nnU-Net looks for it."""
        return self.network.encoder

    @property
    def decoder(self) -> nn.Module:
        """The network's decoder, whose deep supervision nnU-Net switches."""
        return self.network.decoder

    def _listen(self, network: nn.Module, stages: list[torch.Tensor]) -> None:
        """Let a network's encoder put its outputs into `stages`."""

        def take(module: nn.Module, inputs: Any, output: Any) -> None:
            stages.extend([output] if isinstance(output, torch.Tensor) else output)

        for place in self.places:
            module = network.get_submodule(place)
            for part in module if isinstance(module, nn.ModuleList) else [module]:
                part.register_forward_hook(take)

    def _count_channels(self, n_in: int, patch_size: Sequence[int]) -> list[int]:
        """Return the feature maps of the stages that are pooled, from a patch without values."""
        copied = deepcopy(self.network).to("meta").eval()
        stages: list[torch.Tensor] = []
        self._listen(copied, stages)
        with torch.no_grad():
            copied(torch.empty(1, n_in, *patch_size, device="meta"))
        return [stage.shape[1] for stage in stages[-self.n_stages :]]

    def forward(self, image: torch.Tensor) -> Any:
        """Return the segmentation, and in training the class logits, too."""
        self._stages.clear()
        segmentation = self.network(image)
        stages = self._stages[-self.n_stages :]
        if not self.training and self.collected is None:
            return segmentation
        finest = segmentation if isinstance(segmentation, torch.Tensor) else segmentation[0]
        attention = self._structure(finest.detach().float())
        if self.frozen:
            stages = [stage.detach() for stage in stages]
        classes = self.head([stage.float() for stage in stages], attention)
        if self.training:
            return Headed(segmentation, classes)
        self.collected.append((classes.detach(), attention.flatten(1).sum(1)))
        return segmentation

    def _structure(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the probability of the structure, of shape (patch, 1, ...)."""
        probabilities = logits.sigmoid() if self.has_regions else logits.softmax(1)
        chosen = probabilities[:, self.outputs]
        return chosen.amax(1, True) if self.has_regions else chosen.sum(1, True)

    @contextmanager
    def collecting(self) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
        """Collect class logits and predicted structure (in voxels) of each patch in evaluation."""
        self.collected = []
        try:
            yield self.collected
        finally:
            self.collected = None


class HeadedLoss(ClassLoss):
    """The loss of a segmentation and of the classes of its patches.

    Parameters
    ----------
    segmentation : Module
        Loss of the segmentation.
    smoothing, class_weights
        See `ClassLoss`.
    """

    def __init__(self, segmentation: nn.Module, smoothing: float, class_weights: torch.Tensor):
        super().__init__(smoothing, class_weights)
        self.segmentation = segmentation
        self.weight = 0.0  # of the class loss, which the trainer raises

    def forward(self, output: Any, target: Any = None) -> torch.Tensor:
        """Return the loss of a batch, of the segmentation alone where there are no class logits."""
        if not isinstance(output, Headed):
            return self.segmentation(output, target)
        cost = super().forward(output.classes)
        return self.segmentation(output.segmentation, target) + self.weight * cost
