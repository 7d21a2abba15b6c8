"""Training of one fold of one model, resumed only if everything it was made from is the same."""

import argparse
import math
import os
import platform
import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from segflow.content import (
    content_key,
    file_sha256,
    read_own_json,
    setting_damage_aside,
    write_json,
)
from segflow.devices import leased_devices
from segflow.leases import held
from segflow.loaders import check_shared_memory, patch_megabytes, plan_loading
from segflow.manifests import read_finished
from segflow.nnunet import use_folders
from segflow.processes import end_cleanly
from segflow.ranks import is_interruption, run_ranks
from segflow.time_limits import warned_before_limit
from segflow.trust import load_checkpoint

PROCEDURE = 1  # move it when a training would come out differently
TRAINER = "SegflowTrainer"
FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"


def fold_folder(results: Path, nnunet_name: str, plans: dict, fold: int) -> Path:
    """Return nnU-Net's folder of one trained fold."""
    settings = plans["segflow"]
    model = f"{TRAINER}__{settings['model']}__{settings['configuration']}"
    return results / "nnUNet_results" / nnunet_name / model / f"fold_{fold}"


def training_identity(
    plans: dict,
    fold: dict[str, list[str]],
    keys: dict[str, str],
    previous: dict[str, str],
    n_gpus: int = 1,
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
    n_gpus : int
        Number of GPUs that share each batch.

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
    if n_gpus > 1:
        resumable["n_gpus"] = n_gpus
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


def may_lease(wanted: str, n_gpus: int = 1, share: int = 1) -> AbstractContextManager:
    """Return a block that holds GPUs, if the wanted device may be one; see `leased_devices`."""
    return leased_devices(n_gpus, share) if wanted in ("auto", "cuda") else nullcontext()


def use_threads(
    threads: int, memory_mb: float, plans: dict, dataset_json: dict, n_gpus: int, device: str
) -> None:
    """Share a job's threads between PyTorch and the workers that load and augment patches.

    Parameters
    ----------
    threads : int
        Threads of the job.
    memory_mb : float
        Memory of the job, in MB.
    plans, dataset_json : dict
        Plans of the model, and nnU-Net's description of the data set.
    n_gpus : int
        Number of processes that train.
    device : str
        Type of the device. On the CPU there are no workers.

    Raises
    ------
    RuntimeError
        If the shared memory is too small for the batches of the workers.
    """
    torch.set_num_threads(threads if device == "cpu" else 1)
    workers = 0
    if device != "cpu":
        settings = plans["segflow"]
        batch_size = plans["configurations"][settings["configuration"]]["batch_size"]
        free_mb = min(memory_mb, psutil.virtual_memory().available / 1e6)
        loading = plan_loading(
            threads // n_gpus,
            free_mb / n_gpus,
            -(-batch_size // n_gpus),
            patch_megabytes(plans, dataset_json),
        )
        check_shared_memory(n_gpus * loading.shared_mb, settings["model"])
        workers = loading.workers
        print(f"loading: {workers} workers per GPU, of {threads} threads and {free_mb:.0f} MB")
    os.environ["nnUNet_n_proc_DA"] = str(workers)


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


def run_trainer(
    nnunet_name: str,
    plans: dict,
    fold: int,
    identity: dict,
    start: Path | None,
    device: torch.device,
) -> None:
    """Train in this process, from the checkpoint `start` or from nothing."""
    # Imported here: it takes longer than to see that there is nothing to train.
    from nnunetv2.run.run_training import get_trainer_from_args

    settings = plans["segflow"]
    trainer = get_trainer_from_args(
        nnunet_name, settings["configuration"], fold, TRAINER, settings["model"], device=device
    )
    trainer.identity = identity
    if start is not None:
        trainer.load_checkpoint(str(start))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    trainer.run_training()


def train_fold(
    results: Path,
    nnunet_name: str,
    plans: dict,
    fold: int,
    identity: dict,
    device: torch.device,
    n_gpus: int = 1,
) -> Path:
    """Train a fold to its end and return its folder.

    A finished training with the same identity is left as it is, an interrupted one goes on, any
    other is removed and started anew.

    Raises
    ------
    Interrupted, SystemExit
        If a signal stops it; the next call goes on from there.
    """
    folder = fold_folder(results, nnunet_name, plans, fold)
    finished = read_checkpoint(folder / FINAL)
    if finished and finished["identity"] == identity and (folder / BEST).exists():
        print(f"{folder / FINAL}: made from the same data, plans and settings; nothing to train")
        return folder
    start = find_start(folder, identity)
    if start is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"{start}: training goes on from here", flush=True)
    arguments = (nnunet_name, plans, fold, identity, start)
    if n_gpus > 1:
        if reason := run_ranks(n_gpus, "nccl", run_trainer, arguments):
            leave(reason)
    else:
        run_trainer(*arguments, device)
    return folder


def check_n_gpus(n_gpus: int, plans: dict, wanted: str) -> None:
    """Check that a batch can be shared between GPUs, before any of them is waited for.

    Raises
    ------
    ValueError
        If there are fewer patches in a batch, or no GPU is wanted.
    """
    settings = plans["segflow"]
    where = f"config/models/{settings['model']}.yaml: n_gpus is {n_gpus}"
    batch_size = plans["configurations"][settings["configuration"]]["batch_size"]
    if n_gpus > batch_size:
        raise ValueError(
            f"{where}, but a batch has {batch_size} patches; allowed are 1 to {batch_size}, "
            "or set overrides.batch_size"
        )
    if n_gpus > 1 and wanted in ("cpu", "mps"):
        raise ValueError(f"{where}, but device is {wanted!r}; several need cuda or auto")


def leave(reason: object) -> None:
    """End the command after an interruption."""
    sys.exit(f"{reason}; the checkpoint is written, run again to go on")


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
    parser.add_argument("--n-gpus", type=int, default=1, help="GPUs that share a batch")
    parser.add_argument("--gpu-share", type=int, default=1, help="such jobs that fit on a GPU")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--memory-mb", type=float, default=math.inf)
    parser.add_argument("--manifest", type=Path, required=True, help="file to write")
    parser.add_argument("--progress", type=Path, required=True, help="table to write")
    parser.add_argument("--fresh", action="store_true", help="forget what was trained before")
    options = parser.parse_args(arguments)

    end_cleanly()
    use_folders(options.results)
    with setting_damage_aside():
        plans, folds = read_own_json(options.plans), read_own_json(options.splits)
    if not 0 <= options.fold < len(folds):
        raise ValueError(f"{options.splits}: fold {options.fold} of {len(folds)} does not exist")
    check_n_gpus(options.n_gpus, plans, options.device)
    folder = fold_folder(options.results, options.nnunet_name, plans, options.fold)
    leased = may_lease(options.device, options.n_gpus, options.gpu_share)
    with held(folder), leased, warned_before_limit(), setting_damage_aside():
        _train(options, plans, folds[options.fold], folder)


def _train(options: argparse.Namespace, plans: dict, fold: dict, folder: Path) -> None:
    """Train, once nobody else may write to the folder or use the GPUs."""
    data = options.results / "nnUNet_preprocessed" / options.nnunet_name
    cases = {*fold["train"], *fold["val"]}
    keys = read_finished(options.preprocessed, data / options.preprocessed.parent.name, cases)
    previous = {}
    if options.previous:
        previous = read_finished(options.previous, data / f"{plans['plans_name']}_previous", cases)
    identity = training_identity(plans, fold, keys, previous, options.n_gpus)
    device = choose_device(options.device)
    if options.n_gpus > 1 and torch.cuda.device_count() < options.n_gpus:
        raise RuntimeError(
            f"{options.n_gpus} GPUs are needed, PyTorch finds {torch.cuda.device_count()} (of "
            "MIG instances a process can use only one); set n_gpus of the model"
        )
    use_threads(
        options.threads,
        options.memory_mb,
        plans,
        read_own_json(data / "dataset.json"),
        options.n_gpus,
        device.type,
    )
    if options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        train_fold(
            options.results,
            options.nnunet_name,
            plans,
            options.fold,
            identity,
            device,
            options.n_gpus,
        )
    except Exception as error:
        if not is_interruption(error):
            raise
        leave(error)
    shutil.copyfile(folder / "progress.csv", options.progress)
    write_json(options.manifest, describe_training(folder, identity, device))


if __name__ == "__main__":
    main()
