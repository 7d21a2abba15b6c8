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

EPSILON = 1e-6


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
            nn.ReLU(inplace=True),
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


def case_probabilities(collected: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """Return the probability of each class of a case from those of its patches.

    Patches count by the predicted structure that they hold; all the same if there is none.

    Parameters
    ----------
    collected : list of (Tensor, Tensor)
        Class logits of shape (patch, class) and structure of shape (patch,) of each window.
    """
    logits = torch.cat([one for one, _ in collected]).double()
    weights = torch.cat([other for _, other in collected]).double()
    if weights.sum() < EPSILON:
        weights = torch.ones_like(weights)
    mean = (logits.softmax(1) * weights[:, None]).sum(0) / weights.sum()
    return mean.tolist()


class HeadedLoss(nn.Module):
    """The loss of a segmentation and of the classes of its patches.

    A patch counts for the class if its case has one and if it holds enough of the structure.

    Parameters
    ----------
    segmentation : Module
        Loss of the segmentation.
    settings : dict
        The key ``head`` of plans.
    class_weights : Tensor
        What each class counts.
    """

    def __init__(self, segmentation: nn.Module, settings: dict[str, Any], class_weights: Any):
        super().__init__()
        self.segmentation = segmentation
        self.smoothing = settings["label_smoothing"]
        self.class_weights = class_weights
        self.weight = 0.0  # of the class loss, which the trainer raises
        self.known = torch.zeros(0, dtype=torch.long)  # class of each patch of the batch, or -1
        self.class_loss = float("nan")  # of the last batch

    def forward(self, output: Any, target: Any) -> torch.Tensor:
        """Return the loss of a batch, of the segmentation alone where there are no class logits."""
        if not isinstance(output, Headed):
            return self.segmentation(output, target)
        cost = self.classification(output.classes)
        self.class_loss = cost.item()
        return self.segmentation(output.segmentation, target) + self.weight * cost

    def classification(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy over the patches that count; 0 if none does."""
        known = self.known.to(logits.device)
        counts = known >= 0
        if not counts.any():
            return logits.sum() * 0  # all weights have a gradient, which processes share
        return functional.cross_entropy(
            logits[counts].float(),
            known[counts],
            weight=self.class_weights.to(logits.device),
            label_smoothing=self.smoothing,
        )


def classes_of_patches(
    keys: Sequence[str],
    target: torch.Tensor,
    values: list[int],
    has_regions: bool,
    classes: dict[str, int],
    least_voxels: int,
) -> torch.Tensor:
    """Return the class of each patch of a batch, -1 where it does not count.

    Parameters
    ----------
    keys : sequence of str
        Name of the case of each patch.
    target : Tensor
        Labels of shape (patch, 1, ...), or regions of shape (patch, region, ...).
    values : list of int
        Labels, or places of the regions, that are the structure.
    has_regions : bool
        Which of both.
    classes : dict of str to int
        Class of each case that has one.
    least_voxels : int
        Structure that a patch must hold.
    """
    if has_regions:
        structure = (target[:, values] > 0).any(1)
    else:
        structure = torch.isin(target[:, 0], torch.tensor(values, device=target.device))
    enough = structure.flatten(1).sum(1) >= least_voxels
    found = torch.tensor([classes.get(str(key), -1) for key in keys])
    return torch.where(enough.cpu(), found, -1)


def balanced(cases: Sequence[str], classes: dict[str, int]) -> list[str]:
    """Return cases, those of rare classes repeated so that all classes are about as frequent.

    Parameters
    ----------
    cases : sequence of str
        Names of the cases.
    classes : dict of str to int
        Class of each case that has one; others stay as they are.
    """
    members: dict[int | None, list[str]] = {}
    for case in sorted(cases):
        members.setdefault(classes.get(case), []).append(case)
    most = max((len(names) for label, names in members.items() if label is not None), default=0)
    return sorted(
        name
        for label, names in members.items()
        for name in names * (1 if label is None else max(1, round(most / len(names))))
    )
