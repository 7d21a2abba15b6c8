"""Checkpoints of a training: their names, whole or not at all, and with which one it goes on."""

import random
import shutil
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segflow.files.content import content_key, replacing
from segflow.models.trust import load_checkpoint

FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"
ASIDE = "aside"  # begins the name of a folder that nnU-Net does not take for a fold


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a reader sees the old one or the new one, never a part."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


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


def set_aside(folder: Path, forget: bool = False) -> None:
    """Move what was trained to a folder beside it, named after what it was made from.

    Parameters
    ----------
    folder : Path
        nnU-Net's folder of the fold. Without a checkpoint it is removed.
    forget : bool
        Whether `take_back` shall not find it.
    """
    states = (read_checkpoint(path) for path in (folder / FINAL, folder / LATEST, folder / BEST))
    state = next(filter(None, states), None)
    if state is None and not any(folder.glob("*.pth")):
        shutil.rmtree(folder, ignore_errors=True)
        return
    wanted = _aside(folder, state["identity"] if state else {})
    if forget:
        wanted = wanted.with_name(f"{wanted.name}_forgotten")
    names = chain([wanted.name], (f"{wanted.name}_{number}" for number in count(2)))
    target = next(path for path in map(wanted.with_name, names) if not path.exists())
    folder.replace(target)
    print(f"{folder}: what was trained there before is kept as {target.name}", flush=True)


def take_back(folder: Path, identity: dict[str, str]) -> None:
    """Bring back what was set aside of a training that is made from the same, if anything was."""
    source = _aside(folder, identity)
    if source.exists():
        set_aside(folder)
        source.replace(folder)
        print(f"{folder}: {source.name} was made from the same; taken back", flush=True)


def _aside(folder: Path, identity: dict[str, str]) -> Path:
    return folder.with_name(f"{ASIDE}_{folder.name}_{content_key(identity)[:8]}")


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
