"""What a training is judged by after each epoch: overlaps over the patches of validation."""

from collections.abc import Sequence

import numpy as np

NAMES = {"dice": "pseudo Dice", "iou": "pseudo IoU"}
MEMORY = 0.9  # of the moving average, as nnU-Net has it


def epoch_scores(dice: Sequence[Sequence[float]], score: str) -> list[float]:
    """Return the score of each epoch, the mean over labels that occurred; NaN if none did.

    Parameters
    ----------
    dice : sequence of sequence of float
        Pseudo Dice of each label or region, for each epoch; NaN where there was none.
    score : {'dice', 'iou'}
        What to return. The IoU of pooled patches follows from their Dice: d / (2 - d).
    """
    found = []
    for values in dice:
        known = np.array([value for value in values if not np.isnan(value)])
        overlaps = known if score == "dice" else known / (2 - known)
        found.append(float(overlaps.mean()) if known.size else float("nan"))
    return found


def moving_average(scores: Sequence[float]) -> float:
    """Return the exponential moving average after the last score; epochs without one change none.

    Parameters
    ----------
    scores : sequence of float
        Score of each epoch.
    """
    average = float("nan")
    for score in scores:
        if np.isnan(average):
            average = score
        elif not np.isnan(score):
            average = MEMORY * average + (1 - MEMORY) * score
    return average
