"""Schedules of learning rate and momentum that need no state of their own."""

import math

import torch


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
        An Adam-like optimizer.
    peak : float
        Largest learning rate.
    n_epochs : int
        Length of training.
    """

    WARM_UP = 0.3

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
            group["betas"] = (momentum, group["betas"][1])


def _cosine(start: float, end: float, position: float) -> float:
    """Go from `start` to `end` along half a cosine, `position` being between 0 and 1."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * position))
