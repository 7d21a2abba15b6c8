"""Training of one fold of one model, resumed only if everything it was made from is the same."""

import argparse
import os
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from nnunetv2.run.run_training import get_trainer_from_args

from segflow.content import content_key, file_sha256, read_json, write_json
from segflow.manifests import read_manifest
from segflow.nnunet import use_folders

PROCEDURE = 1  # move it when a training would come out differently
TRAINER = "SegflowTrainer"
FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"


def fold_folder(results: Path, nnunet_name: str, plans: dict, fold: int) -> Path:
    """Return nnU-Net's folder of one trained fold."""
    settings = plans["segflow"]
    model = f"{TRAINER}__{settings['model']}__{settings['configuration']}"
    return results / "nnUNet_results" / nnunet_name / model / f"fold_{fold}"


def training_identity(
    plans: dict, fold: dict[str, list[str]], keys: dict[str, str], previous: dict[str, str]
) -> dict[str, str]:
    """Return keys of everything that a training is made from.

    Parameters
    ----------
    plans : dict
        Plans of the model.
    fold : dict
        Case names under ``train`` and ``val``.
    keys : dict of str to str
        Key of the preprocessed content of each case.
    previous : dict of str to str
        Key of the previous stage's segmentation of each case; empty without a cascade.

    Returns
    -------
    dict of str to str
        One key for each kind of ingredient, so that a difference can be named.

    Raises
    ------
    ValueError
        If a case of the fold is not preprocessed.
    """
    missing = sorted({*fold["train"], *fold["val"]} - keys.keys())
    if missing:
        raise ValueError(f"cases of the fold are not preprocessed: {', '.join(missing[:5])}")
    settings = plans["segflow"]
    configuration = plans["configurations"][settings["configuration"]]
    resumable = {k: v for k, v in settings["training"].items() if k != "checkpoint_minutes"}
    data = {name: [keys[name], previous.get(name)] for name in (*fold["train"], *fold["val"])}
    return {
        "data": content_key(data),
        "split": content_key(fold),
        "plans": content_key(settings["configuration"], configuration),
        "settings": content_key(resumable),
        "seed": str(settings["seed"]),
        "procedure": str(PROCEDURE),
    }


def choose_device(wanted: str) -> torch.device:
    """Return the device to work on.

    Parameters
    ----------
    wanted : {'auto', 'cuda', 'cpu', 'mps'}
        ``auto`` takes a GPU if there is one.

    Raises
    ------
    RuntimeError
        If a GPU is demanded and there is none.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = next((name for name, there in available.items() if there), "cpu")
    elif not available.get(wanted, True):
        raise RuntimeError(f"device is {wanted!r}, but PyTorch finds none here; use auto or cpu")
    return torch.device(wanted)


def use_threads(threads: int, device: torch.device) -> None:
    """Share a job's threads between PyTorch and the workers that load and augment patches."""
    torch.set_num_threads(threads if device.type == "cpu" else 1)
    workers = 0 if threads <= 2 or device.type == "cpu" else threads - 1
    os.environ["nnUNet_n_proc_DA"] = str(workers)


def read_checkpoint(path: Path) -> dict | None:
    """Read what Segflow keeps in a checkpoint, or None if it is missing, torn or foreign."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False, mmap=True)["segflow"]
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


def train_fold(
    results: Path, nnunet_name: str, plans: dict, fold: int, identity: dict, device: torch.device
) -> Path:
    """Train a fold to its end and return its folder.

    A finished training with the same identity is left as it is, an interrupted one goes on, any
    other is removed and started anew.

    Raises
    ------
    Interrupted
        If a signal stops it; the next call goes on from there.
    """
    settings = plans["segflow"]
    folder = fold_folder(results, nnunet_name, plans, fold)
    finished = read_checkpoint(folder / FINAL)
    if finished and finished["identity"] == identity:
        print(f"{folder / FINAL}: made from the same data, plans and settings; nothing to train")
        return folder
    start = find_start(folder, identity)
    if start is None:
        shutil.rmtree(folder, ignore_errors=True)
    trainer = get_trainer_from_args(
        nnunet_name, settings["configuration"], fold, TRAINER, settings["model"], device=device
    )
    trainer.identity = identity
    if start is not None:
        print(f"{start}: training goes on from here")
        trainer.load_checkpoint(str(start))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    trainer.run_training()
    return folder


def describe_training(folder: Path, identity: dict, device: torch.device) -> dict:
    """Return the manifest of a finished training: its ingredients and its hashes."""
    with (folder / "progress.csv").open() as file:
        n_epochs = sum(1 for _ in file) - 1
    return {
        "identity": identity,
        "folder": folder.name,
        "epochs": n_epochs,
        "best_epoch": read_checkpoint(folder / FINAL)["best_epoch"],
        "checkpoints": {
            name: file_sha256(folder / f"checkpoint_{name}.pth") for name in ("final", "best")
        },
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "versions": {name: version(name) for name in ("nnunetv2", "torch")},
    }


def main(arguments: list[str] | None = None) -> None:
    """Command line of the rule `train_fold`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--plans", type=Path, required=True, help="plans of the model")
    parser.add_argument("--nnunet-name", required=True, help="nnU-Net's name of the data set")
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--preprocessed", type=Path, required=True, help="table of cases")
    parser.add_argument("--previous", type=Path, help="table of the previous stage's cases")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="file to write")
    parser.add_argument("--progress", type=Path, required=True, help="table to write")
    parser.add_argument("--fresh", action="store_true", help="forget what was trained before")
    options = parser.parse_args(arguments)

    use_folders(options.results)
    plans = read_json(options.plans)
    folds = read_json(options.splits)
    if not 0 <= options.fold < len(folds):
        raise ValueError(f"{options.splits}: fold {options.fold} of {len(folds)} does not exist")
    keys = read_manifest(options.preprocessed)
    previous = read_manifest(options.previous) if options.previous else {}
    identity = training_identity(plans, folds[options.fold], keys, previous)
    device = choose_device(options.device)
    use_threads(options.threads, device)
    if options.fresh:
        folder = fold_folder(options.results, options.nnunet_name, plans, options.fold)
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder = train_fold(
            options.results, options.nnunet_name, plans, options.fold, identity, device
        )
    except Exception as error:
        # The trainer's module is loaded by nnU-Net, so its class cannot be imported here.
        if type(error).__name__ != "Interrupted":
            raise
        sys.exit(f"{error}; the checkpoint is written, run again to go on")
    shutil.copyfile(folder / "progress.csv", options.progress)
    write_json(options.manifest, describe_training(folder, identity, device))


if __name__ == "__main__":
    main()
