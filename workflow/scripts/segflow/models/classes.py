"""Classes in training: that of each patch, and its loss. In prediction: those of whole cases."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

EPSILON = 1e-6


class ClassLoss(nn.Module):
    """The loss of the classes of patches; those whose class is not known do not count.

    Parameters
    ----------
    smoothing : float
        Label smoothing: what part of each target is spread over all classes.
    class_weights : Tensor
        What each class counts.
    """

    def __init__(self, smoothing: float, class_weights: torch.Tensor):
        super().__init__()
        self.smoothing = smoothing
        self.class_weights = class_weights
        self.known = torch.zeros(0, dtype=torch.long)  # class of each patch of the batch, or -1
        self.class_loss = float("nan")  # of the last batch

    def forward(self, output: torch.Tensor, target: Any = None) -> torch.Tensor:
        """Return the loss of the class logits, of shape (patch, class), of a batch."""
        cost = self.classification(output)
        self.class_loss = cost.item()
        return cost

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


def weigh_classes(counts: Sequence[int], weighted: bool) -> torch.Tensor:
    """Return what each class counts in the loss: alike, or the more, the rarer it is.

    Parameters
    ----------
    counts : sequence of int
        Training cases of each class, one at least.
    weighted : bool
        Whether weights are inverse to frequencies; their mean over cases is 1.
    """
    shares = torch.tensor(counts, dtype=torch.float32)
    return shares.sum() / (len(shares) * shares) if weighted else torch.ones(len(shares))


def age_encoding(network: nn.Module) -> Any:
    """Return the part of a network that is told the ages of a batch (`ages`), if it has one."""
    return getattr(network, "age", None)


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
