"""How a model may learn, beyond what the schema of its description can say.

This module knows no PyTorch: what cannot be is refused while a configuration is read.
"""

from typing import Any

# Schedules that say which optimizer, too.
FIXED_OPTIMIZER = {"nnunet": "sgd", "quick": "adamw"}
# The optimizer of other schedules where none is named.
USUAL_OPTIMIZER = {"poly": "sgd"}
OTHERWISE = "adamw"
# The options of each term of a loss, with what they are where they are left out.
LOSS_OPTIONS: dict[str, dict[str, float]] = {
    "cross_entropy": {},
    "bce": {},
    "dice": {},
    "weighted_dice": {"foreground_weight": 2.0},
    "tversky": {"alpha": 0.3, "beta": 0.7},
    "focal": {"gamma": 2.0},
    "boundary": {},
    "hausdorff": {},
}
# Settings that came later: where they say what was always done, a training is what it was.
FORMER_SETTINGS = {
    "momentum": 0.99,
    "clip": 12,
    "select_by": "dice",
    "restart_epochs": 20,
    "restart_growth": 2,
    "least_rate": 1e-6,
    "plateau_epochs": 20,
    "plateau_factor": 0.1,
}


def optimizer_of(training: dict[str, Any]) -> str:
    """Return the name of the optimizer of a training."""
    usual = (FIXED_OPTIMIZER | USUAL_OPTIMIZER).get(training["schedule"], OTHERWISE)
    return training.get("optimizer", usual)


def check_training(training: dict[str, Any], where: str) -> None:
    """Check that the settings of a training go together.

    Parameters
    ----------
    training : dict
        The key ``training`` of a model.
    where : str
        Name of the model's file, for messages.

    Raises
    ------
    ValueError
        If a schedule comes with another optimizer, or a term of the loss with a foreign option.
    """
    schedule, optimizer = training["schedule"], optimizer_of(training)
    fixed = FIXED_OPTIMIZER.get(schedule, optimizer)
    if optimizer != fixed:
        raise ValueError(
            f"{where}: training.optimizer: schedule {schedule} comes with {fixed}, found "
            f"{optimizer!r}; schedule poly or one_cycle takes any"
        )
    for position, term in enumerate(training.get("loss", [])):
        allowed = LOSS_OPTIONS[term["term"]]
        if unknown := sorted(term.keys() - {"term", "weight"} - allowed.keys()):
            raise ValueError(
                f"{where}: training.loss.{position}: {term['term']} has no option {unknown[0]!r}; "
                f"allowed: {', '.join(allowed) or 'none'}"
            )


def lasting_settings(training: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide how a training comes out."""
    return {
        key: value
        for key, value in training.items()
        if key != "checkpoint_minutes" and FORMER_SETTINGS.get(key) != value
    }
