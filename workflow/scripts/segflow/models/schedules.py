"""Schedules of learning rate and momentum that need no state of their own."""

import math
from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau


class OneCycle:
    """Learning rate and first momentum of the one-cycle policy, as functions of the epoch.

    The rate rises along a cosine from 1/25 of its peak during the first 30 % of training and falls
    to 1/10000 of the start; the momentum does the opposite between 0.95 and 0.85. Being without
    state, the schedule needs no place in a checkpoint.

    Source: Smith and Topin, Super-Convergence, 2018, arXiv:1708.07120; the constants are those
    of PyTorch's ``OneCycleLR``.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        SGD, or an Adam-like optimizer.
    peak : float
        Largest learning rate.
    n_epochs : int
        Length of training.
    """

    WARM_UP = 0.3
    each_iteration = True

    def __init__(self, optimizer: torch.optim.Optimizer, peak: float, n_epochs: int):
        self.optimizer = optimizer
        self.peak = peak
        self.n_epochs = n_epochs

    def rate(self, epoch: float) -> tuple[float, float]:
        """Return the learning rate and the momentum at an epoch, fractions included."""
        done = epoch / self.n_epochs
        start, end = self.peak / 25, self.peak / 25 / 1e4
        if done < self.WARM_UP:
            position = done / self.WARM_UP
            return _cosine(start, self.peak, position), _cosine(0.95, 0.85, position)
        position = (done - self.WARM_UP) / (1 - self.WARM_UP)
        return _cosine(self.peak, end, position), _cosine(0.85, 0.95, position)

    def step(self, epoch: float) -> None:
        """Set the optimizer to the rates of an epoch."""
        rate, momentum = self.rate(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum


class _Rates:
    """A schedule that sets the same learning rate for all parameters.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer.
    first : float
        Learning rate of the first epoch.
    """

    each_iteration = False

    def __init__(self, optimizer: torch.optim.Optimizer, first: float):
        self.optimizer = optimizer
        self.first = first

    def rate(self, epoch: float) -> float:
        """Return the learning rate at an epoch."""
        return self.first

    def step(self, epoch: float) -> None:
        """Set the optimizer to the rate of an epoch."""
        rate = self.rate(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate


class Constant(_Rates):
    """The same learning rate throughout."""


class CosineRestarts(_Rates):
    """A learning rate that falls along half a cosine and starts again.

    Source: Loshchilov and Hutter, SGDR, 2017, arXiv:1608.03983.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer.
    first, least : float
        Learning rate at each start, and the one that it falls to.
    n_epochs : int
        Length of the first fall.
    growth : int
        How many times longer each fall is than the one before.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        first: float,
        least: float,
        n_epochs: int,
        growth: int,
    ):
        super().__init__(optimizer, first)
        self.least = least
        self.n_epochs = n_epochs
        self.growth = growth

    def rate(self, epoch: float) -> float:
        """Return the learning rate at an epoch."""
        length = self.n_epochs
        while epoch >= length:
            epoch -= length
            length *= self.growth
        return _cosine(self.first, self.least, epoch / length)


class Plateau(_Rates):
    """A learning rate that falls when the score has not improved for some epochs.

    PyTorch's ``ReduceLROnPlateau`` decides, from the scores of all epochs before.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer.
    first, least : float
        First and least learning rate.
    n_epochs : int
        Epochs without a better score after which it falls.
    factor : float
        What it is multiplied by.
    scores : callable
        Returns the score of each epoch so far; more is better.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        first: float,
        least: float,
        n_epochs: int,
        factor: float,
        scores: Callable[[], list[float]],
    ):
        super().__init__(optimizer, first)
        self.least = least
        self.n_epochs = n_epochs
        self.factor = factor
        self.scores = scores

    def rate(self, epoch: float) -> float:
        """Return the learning rate at an epoch."""
        replay = torch.optim.SGD([torch.zeros(1)], lr=self.first)
        plateau = ReduceLROnPlateau(
            replay, "max", self.factor, self.n_epochs, threshold=0, min_lr=self.least
        )
        for score in self.scores()[: int(epoch)]:
            plateau.step(score)
        return replay.param_groups[0]["lr"]


def _cosine(start: float, end: float, position: float) -> float:
    """Go from `start` to `end` along half a cosine, `position` being between 0 and 1."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * position))
