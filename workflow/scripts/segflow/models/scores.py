"""What a training is judged by after each epoch: overlaps, or decisions, on validation patches."""

from collections.abc import Sequence

import numpy as np
import torch

NAMES = {"dice": "pseudo Dice", "iou": "pseudo IoU", "f1": "macro F1"}
MEMORY = 0.9  # of the moving average, as nnU-Net has it


def epoch_scores(dice: Sequence[Sequence[float]], score: str) -> list[float]:
    """Return the score of each epoch, the mean over labels that occurred; NaN if none did.

    Parameters
    ----------
    dice : sequence of sequence of float
        Pseudo Dice of each label or region, or F1 of each class, which is the same of decisions
        on patches, for each epoch; NaN where there was none.
    score : {'dice', 'iou', 'f1'}
        What to return. The IoU of pooled patches follows from their Dice: d / (2 - d).
    """
    found = []
    for values in dice:
        known = np.array([value for value in values if not np.isnan(value)])
        overlaps = known / (2 - known) if score == "iou" else known
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


def count_decisions(
    truth: torch.Tensor, decided: torch.Tensor, n_classes: int
) -> dict[str, np.ndarray]:
    """Return how often each class was decided rightly, wrongly, and missed, as nnU-Net names them.

    Parameters
    ----------
    truth, decided : Tensor of int
        Class of each patch, of shape (patch,).
    n_classes : int
        Number of classes.
    """
    right = truth[truth == decided].bincount(minlength=n_classes)
    found = {
        "tp_hard": right,
        "fp_hard": decided.bincount(minlength=n_classes) - right,
        "fn_hard": truth.bincount(minlength=n_classes) - right,
    }
    return {name: counts.numpy() for name, counts in found.items()}


def describe_classes(outputs: Sequence[dict], names: Sequence[str]) -> dict[str, float]:
    """Return how well an epoch's validation patches are told apart.

    Parameters
    ----------
    outputs : sequence of dict
        For each batch ``class_loss``, and of the patches that count ``classes`` and
        ``class_probabilities``.
    names : sequence of str
        Names of the classes.

    Returns
    -------
    dict of str to float
        Mean class loss; entropy of the classes that are predicted, from 0, one class only, to 1,
        all as often; recall of each class. NaN without patches that count.
    """
    classes = np.array([number for output in outputs for number in output["classes"]], int)
    rows = [row for output in outputs for row in output["class_probabilities"]]
    predicted = np.array([int(np.argmax(row)) for row in rows], int)
    shares = np.bincount(predicted, minlength=len(names)) / max(1, len(predicted))
    used = shares[shares > 0]
    entropy = float(abs((used * np.log(used)).sum()) / np.log(len(names)))
    found = {
        "val_class_loss": float(np.mean([output["class_loss"] for output in outputs])),
        "entropy": entropy if len(predicted) else float("nan"),
    }
    for number, name in enumerate(names):
        own = predicted[classes == number]
        found[f"recall_{name}"] = float((own == number).mean()) if len(own) else float("nan")
    return found
