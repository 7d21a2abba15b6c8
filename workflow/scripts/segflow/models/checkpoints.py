"""Checkpoints of a training: their names, whole or not at all, and with which one it goes on."""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segflow.models.trust import load_checkpoint

FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a reader sees the old one or the new one, never a part."""
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_checkpoint(path: Path) -> dict | None:
    """Read what Segflow keeps in a checkpoint, or None if it is missing, torn or foreign."""
    try:
        return load_checkpoint(path)["segflow"]
    except FileNotFoundError:
        return None
    except Exception as error:  # a torn file fails in many ways; none of them is usable
        print(f"{path}: not a usable checkpoint ({type(error).__name__}: {error}); not used")
        return None


def find_start(folder: Path, identity: dict[str, str]) -> Path | None:
    """Return the checkpoint that is furthest of those made from the same ingredients, if any.

    Parameters
    ----------
    folder : Path
        nnU-Net's folder of the fold.
    identity : dict of str to str
        See `training_identity`.
    """
    states = {path: read_checkpoint(path) for path in (folder / LATEST, folder / BEST)}
    usable = {path: state for path, state in states.items() if state}
    for path, state in list(usable.items()):
        changed = [name for name in identity if state["identity"].get(name) != identity[name]]
        if changed:
            print(f"{path}: made from other {', '.join(changed)}; training starts anew")
            del usable[path]
    return max(usable, key=lambda path: usable[path]["position"], default=None)


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of all generators that a training draws from."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
    }


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Bring all generators to the states that `random_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"][0], device)


def seed_everything(seed: int) -> None:
    """Seed all generators that a training draws from."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
