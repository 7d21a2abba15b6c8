"""The loss of a model that names its own: a weighted sum of terms.

Each class or region is taken against the rest. For softmax outputs the logit of one class against
the others is what the others' logits, put together, leave of its own; its sigmoid is exactly the
softmax. So one definition of a term serves labels and regions, and the network of two classes with
softmax learns as one of a single output with sigmoid would.
"""

from collections.abc import Callable
from typing import Any

import torch
from monai.losses import BoundaryLoss, DiceLoss, FocalLoss, HausdorffDTLoss, TverskyLoss
from torch import nn
from torch.nn import functional

from segflow.models.learning import LOSS_OPTIONS

# From logits, reference and mask, all of shape (patch, class, ...), to a number.
Term = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
SMOOTH = 1e-5


class CompoundLoss(nn.Module):
    """A weighted sum of terms over the foreground.

    Parameters
    ----------
    terms : list of dict
        Each with ``term``, ``weight`` and its options; see `segflow.models.learning.LOSS_OPTIONS`.
    has_regions : bool
        Whether the outputs are regions, which may overlap, or labels with background first.
    ignored : int or None
        The label that marks what nobody annotated; for regions, the reference's last channel does.
    batch_dice : bool
        Whether overlaps pool the patches of a batch.
    """

    def __init__(
        self,
        terms: list[dict[str, Any]],
        has_regions: bool,
        ignored: int | None,
        batch_dice: bool,
    ):
        super().__init__()
        self.has_regions = has_regions
        self.ignored = ignored
        self.terms: list[tuple[float, str, Term]] = []
        for described in terms:
            name, weight = described["term"], described["weight"]
            options = LOSS_OPTIONS[name] | {
                key: value for key, value in described.items() if key not in ("term", "weight")
            }
            self.terms.append((weight, name, _term(name, options, batch_dice)))

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        output : Tensor
            Logits of shape (patch, label or region, z, y, x), or without z.
        target : Tensor
            Labels, with one channel, or the truth of each region (and at last what is ignored).
        """
        output = output.float()
        mask = self._mask(target)
        if self.has_regions:
            logits, reference = output, target[:, : output.shape[1]].float()
        else:
            logits = one_against_rest(output)
            values = torch.arange(1, output.shape[1], device=target.device)
            reference = (target == values.view(1, -1, *[1] * (target.ndim - 2))).float()
        total = output.new_zeros(())
        for weight, name, term in self.terms:
            if name == "cross_entropy" and not self.has_regions:
                labels = target[:, 0].long()
                cost = functional.cross_entropy(
                    output, torch.where(labels < output.shape[1], labels, 0), reduction="none"
                )
                value = _mean(cost[:, None], mask)
            else:
                value = term(logits, reference, mask)
            total = total + weight * value
        return total

    def _mask(self, target: torch.Tensor) -> torch.Tensor | None:
        """Return what counts, as numbers of shape (patch, 1, ...), or None if all does."""
        if self.ignored is None:
            return None
        if self.has_regions:
            return 1 - target[:, -1:].float()
        return (target != self.ignored).float()


def one_against_rest(output: torch.Tensor) -> torch.Tensor:
    """Return the logit of each foreground class against all others.

    Parameters
    ----------
    output : Tensor
        Logits of a softmax over (patch, class, ...), background first.
    """
    rest = [
        torch.logsumexp(torch.cat([output[:, :label], output[:, label + 1 :]], dim=1), dim=1)
        for label in range(1, output.shape[1])
    ]
    return output[:, 1:] - torch.stack(rest, dim=1)


def _mean(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the mean of what counts; 0 if nothing does."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp(min=1)


def _term(name: str, options: dict[str, float], batch_dice: bool) -> Term:
    """Return the function of a term."""
    if name in ("bce", "cross_entropy"):
        return lambda logits, reference, mask: _mean(
            functional.binary_cross_entropy_with_logits(logits, reference, reduction="none"), mask
        )
    if name == "focal":
        focal = FocalLoss(gamma=options["gamma"], reduction="none")
        return lambda logits, reference, mask: _mean(focal(logits, reference), mask)
    if name == "weighted_dice":
        return lambda logits, reference, mask: weighted_dice(
            *_masked(logits, reference, mask), options["foreground_weight"], batch_dice
        )
    overlap = {"smooth_nr": SMOOTH, "smooth_dr": SMOOTH, "batch": batch_dice}
    losses = {
        "dice": lambda: DiceLoss(**overlap),
        "tversky": lambda: TverskyLoss(**options, **overlap),
        "boundary": BoundaryLoss,
        "hausdorff": lambda: HausdorffDTLoss(include_background=True),
    }
    loss = losses[name]()
    return lambda logits, reference, mask: loss(*_masked(logits, reference, mask))


def _masked(
    logits: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probabilities and reference, both empty where nothing counts."""
    probabilities = torch.sigmoid(logits)
    return (probabilities, reference) if mask is None else (probabilities * mask, reference * mask)


def weighted_dice(
    probabilities: torch.Tensor, reference: torch.Tensor, foreground_weight: float, batch: bool
) -> torch.Tensor:
    """Return 1 minus the soft Dice in which pixels of the reference's foreground weigh more.

    Parameters
    ----------
    probabilities, reference : Tensor
        Of shape (patch, class, ...).
    foreground_weight : float
        What a pixel weighs in the reference; elsewhere it is 1.
    batch : bool
        Whether to pool the patches of a batch.
    """
    weights = 1 + (foreground_weight - 1) * reference
    axes = [0] if batch else []
    axes += range(2, reference.ndim)
    shared = (weights * probabilities * reference).sum(axes)
    both = (weights * (probabilities + reference)).sum(axes)
    return (1 - (2 * shared + SMOOTH) / (both + SMOOTH)).mean()
