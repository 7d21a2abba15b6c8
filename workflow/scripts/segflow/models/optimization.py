"""Optimizers and the schedules of their learning rates, by the names that models use.

A schedule is a function of the epoch and of the scores so far, which checkpoints hold, so a
training that goes on finds the rate that it would have had.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from segflow.models.learning import optimizer_of
from segflow.models.schedules import Constant, CosineRestarts, OneCycle, Plateau

NNUNET_CLIP = 12  # to which nnU-Net's trainer limits the norm of the gradients at any rate


def make_optimizer(
    training: dict[str, Any], parameters: Iterable[torch.nn.Parameter] | list[dict]
) -> torch.optim.Optimizer:
    """Return the optimizer of a training.

    Parameters
    ----------
    training : dict
        Settings of the training.
    parameters : iterable of Parameter or list of dict
        What to optimize, as PyTorch takes it.
    """
    name = optimizer_of(training)
    common = {"lr": training["learning_rate"], "weight_decay": training["weight_decay"]}
    if name == "sgd":
        momentum = training["momentum"]
        optimizer = torch.optim.SGD(parameters, **common, momentum=momentum, nesterov=momentum > 0)
    else:
        adam = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
        optimizer = adam(parameters, **common)
    if training["clip"] < NNUNET_CLIP:
        optimizer.register_step_pre_hook(_clip(training["clip"]))
    return optimizer


def _clip(limit: float) -> Callable[..., None]:
    """Return a hook that limits the norm of all gradients before a step."""

    def clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, limit)

    return clip


def make_schedule(
    training: dict[str, Any],
    optimizer: torch.optim.Optimizer,
    n_epochs: int,
    scores: Callable[[], list[float]],
) -> Any:
    """Return the schedule of a training.

    Parameters
    ----------
    training : dict
        Settings of the training.
    optimizer : Optimizer
        The optimizer whose rates it sets.
    n_epochs : int
        Length of training.
    scores : callable
        Returns the score of each epoch so far.
    """
    rate, least = training["learning_rate"], training["least_rate"]
    make = {
        "poly": lambda: PolyLRScheduler(optimizer, rate, n_epochs),
        "quick": lambda: OneCycle(optimizer, rate, n_epochs),
        "one_cycle": lambda: OneCycle(optimizer, rate, n_epochs),
        "constant": lambda: Constant(optimizer, rate),
        "cosine_restarts": lambda: CosineRestarts(
            optimizer, rate, least, training["restart_epochs"], training["restart_growth"]
        ),
        "plateau": lambda: Plateau(
            optimizer,
            rate,
            least,
            training["plateau_epochs"],
            training["plateau_factor"],
            scores,
        ),
    }
    return make[training["schedule"]]()
