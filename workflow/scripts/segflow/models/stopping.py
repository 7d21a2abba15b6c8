"""When a training has not improved for long enough."""


class Patience:
    """The best epoch of a training, and whether it is too long ago.

    Parameters
    ----------
    n_epochs : int
        Epochs without a better score after which training stops; 0 for never.
    """

    def __init__(self, n_epochs: int):
        self.n_epochs = n_epochs
        self.best_score: float | None = None
        self.best_epoch = -1

    def improved(self, epoch: int, score: float) -> bool:
        """Enter the score of an epoch, from 0, and say whether it is the best so far."""
        better = self.best_score is None or score > self.best_score
        if better:
            self.best_score, self.best_epoch = float(score), epoch
        return better

    def is_lost(self, n_done: int) -> bool:
        """Say whether training should stop after `n_done` epochs."""
        return bool(self.n_epochs and n_done) and n_done - 1 - self.best_epoch >= self.n_epochs
