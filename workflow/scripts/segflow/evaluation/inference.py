"""What ways to predict are worth: seconds saved, Dice lost, and which of them to propose."""

from typing import Any

import numpy as np
import pandas as pd

from segflow.evaluation.bootstrap import mean_intervals

SAME = 0.9999  # least share of voxels with the same label, in each case, of an exact setting
POINTS = 100.0  # of Dice
ROUNDING = 1e-9  # points: a loss of just what is allowed is allowed
READING = (
    "Seconds of a case go from its preprocessed image to its label map. Speed is the seconds of "
    "nnU-Net's settings over those of a setting, all cases together. Lost Dice is in points, the "
    "mean over cases, with its paired 95 % interval; equal is the share of voxels that keep their "
    "label, in the worst case. Settings on the frontier have none that is both faster and better. "
    "Fast is the fastest that loses no more Dice than is allowed on the mean, exact the fastest "
    f"that leaves {SAME:.2%} of the voxels of each case as they are. Both were chosen on all "
    "folds; their honest figures, in which each fold is measured with what the other folds would "
    "have chosen, stand beside."
)


def compare_settings(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return rows of cases with what a setting loses and takes beside the reference setting.

    Parameters
    ----------
    rows : DataFrame
        Columns ``model``, ``fold``, ``case``, ``setting``, ``seconds``, ``dice`` (0 to 1) and
        ``equal`` (0 to 1).
    reference : str
        The setting that others are compared with.

    Returns
    -------
    DataFrame
        With ``usual_seconds`` and ``lost`` (Dice points) added.
    """
    keys = ["model", "fold", "case"]
    usual = rows[rows["setting"] == reference][[*keys, "seconds", "dice"]]
    usual = usual.rename(columns={"seconds": "usual_seconds", "dice": "usual_dice"})
    joined = rows.merge(usual, on=keys, validate="many_to_one")
    joined["lost"] = POINTS * (joined["usual_dice"] - joined["dice"])
    return joined.drop(columns="usual_dice")


def choose(rows: pd.DataFrame, allowed: float) -> dict[str, str]:
    """Return which setting is proposed as ``fast``, and which as ``exact``.

    Parameters
    ----------
    rows : DataFrame
        Of one model; see `compare_settings`.
    allowed : float
        Dice points that may be lost on the mean.
    """
    means = rows.groupby("setting").agg(
        seconds=("seconds", "sum"), lost=("lost", "mean"), equal=("equal", "min")
    )
    ranked = means.sort_values(["seconds", "lost"], kind="stable")
    return {
        "fast": ranked.index[ranked["lost"] <= allowed + ROUNDING][0],
        "exact": ranked.index[ranked["equal"] >= SAME][0],
    }


def propose(rows: pd.DataFrame, allowed: float) -> dict[str, dict[str, Any]]:
    """Return the proposals for one model, and what they keep on folds that had no part in them.

    Parameters
    ----------
    rows : DataFrame
        Of one model; see `compare_settings`.
    allowed : float
        See `choose`.

    Returns
    -------
    dict of str to dict
        For ``fast`` and ``exact`` the ``setting``; ``speed`` and ``lost`` over all folds, each
        measured with the setting that the others would choose; None with a single fold.
    """
    folds = sorted(rows["fold"].unique())
    proposals: dict[str, dict[str, Any]] = {
        name: {"setting": setting, "speed": None, "lost": None}
        for name, setting in choose(rows, allowed).items()
    }
    if len(folds) < 2:
        return proposals
    for name, proposal in proposals.items():
        parts = []
        for fold in folds:
            setting = choose(rows[rows["fold"] != fold], allowed)[name]
            parts.append(rows[(rows["fold"] == fold) & (rows["setting"] == setting)])
        held_out = pd.concat(parts)
        proposal["speed"] = float(held_out["usual_seconds"].sum() / held_out["seconds"].sum())
        proposal["lost"] = float(held_out["lost"].mean())
    return proposals


def summarise(
    rows: pd.DataFrame, groups: dict[str, str], allowed: float, seed: int
) -> pd.DataFrame:
    """Return what each setting takes and loses, of each model.

    Parameters
    ----------
    rows : DataFrame
        See `compare_settings`.
    groups : dict of str to str
        The group of each case, drawn as a whole.
    allowed : float
        See `choose`.
    seed : int
        Seed of the resamples.

    Returns
    -------
    DataFrame
        One row for each model and setting: ``n`` cases, ``seconds`` a case, ``speed``, ``peak_mb``
        (the most of all cases), ``dice`` and its loss ``lost`` in points with ends ``low`` and
        ``high``, ``equal`` in the worst case, ``frontier`` and what it is ``proposed`` as.
    """
    found = []
    for model, own in rows.groupby("model", sort=False):
        proposals = propose(own, allowed)
        table = []
        for setting, part in own.groupby("setting", sort=False):
            drawn = np.array([groups[case] for case in part["case"]])
            low, high = mean_intervals(part[["lost"]].to_numpy(), drawn, seed)[:, 0]
            names = [name for name, proposal in proposals.items() if proposal["setting"] == setting]
            table.append(
                {
                    "model": model,
                    "setting": setting,
                    "n": len(part),
                    "seconds": part["seconds"].mean(),
                    "speed": part["usual_seconds"].sum() / part["seconds"].sum(),
                    "peak_mb": part["peak_mb"].max(),
                    "dice": part["dice"].mean(),
                    "lost": part["lost"].mean(),
                    "low": low,
                    "high": high,
                    "equal": part["equal"].min(),
                    "proposed": " and ".join(names),
                    "devices": ", ".join(sorted(part["device"].unique())),
                }
            )
        frame = pd.DataFrame(table)
        frame.insert(11, "frontier", on_frontier(frame["seconds"], frame["dice"]))
        found.append(frame)
    return pd.concat(found, ignore_index=True)


def on_frontier(seconds: pd.Series, dice: pd.Series) -> list[bool]:
    """Say for each setting whether no other one is at least as fast and as good, and better in one.

    Parameters
    ----------
    seconds, dice : Series of float
        Of each setting.
    """
    points = list(zip(seconds, dice, strict=True))
    return [
        not any(other[0] <= own[0] and other[1] >= own[1] and other != own for other in points)
        for own in points
    ]
