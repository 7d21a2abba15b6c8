"""Training of one fold of one model, resumed only if everything it was made from is the same."""

import math
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from segflow.files.content import content_key, file_sha256, remove_partial
from segflow.files.words import counted
from segflow.jobs.devices import device_name
from segflow.jobs.distributed import run_ranks
from segflow.models.checkpoints import (
    BEST,
    FINAL,
    find_start,
    read_checkpoint,
    set_aside,
    take_back,
)
from segflow.models.learning import lasting_settings
from segflow.models.loading import check_shared_memory, patch_megabytes, plan_loading
from segflow.models.networks import network_of
from segflow.models.nnunet import lean_imports
from segflow.models.progress import read_progress

if TYPE_CHECKING:
    from segflow.models.trainers.segflow_trainer import SegflowTrainer

PROCEDURE = 1  # move it when a training would come out differently
TRAINER = "SegflowTrainer"
MANY_VOXELS = 500_000  # of a batch: an iteration of nnU-Net's network takes seconds on a few cores


def fold_folder(results: Path, nnunet_name: str, plans: dict, fold: int | str) -> Path:
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
    classes: dict[str, int] | None = None,
    ages: dict[str, float] | None = None,
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
    classes : dict of str to int, optional
        Number of the class of each case that has one, for a model that tells classes.
    ages : dict of str to float, optional
        Ages of the cases in years, for a network that uses them.

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
    resumable = lasting_settings(settings["training"])
    resumable |= {
        key: settings[key] for key in ("augmentation", "deep_supervision") if key in settings
    }
    for key in {"head", "classifier"} & settings.keys():  # names change nothing
        told = {name: value for name, value in settings[key].items() if name != "structure"}
        resumable[key] = told | {"classes": len(told["classes"])}
    if "pretrained" in settings:
        resumable["pretrained"] = settings["pretrained"]["sha256"]
    if n_gpus > 1:
        resumable["n_gpus"] = n_gpus
    names = (*fold["train"], *fold["val"])
    data: dict = {name: [keys[name], previous.get(name)] for name in names}
    if classes is not None:
        data = {name: [*data[name], classes.get(name)] for name in names}
    if ages is not None:
        data = {name: [*data[name], ages.get(name)] for name in names}
    return {
        "data": content_key(data),
        "split": content_key(fold),
        "plans": content_key(settings["configuration"], configuration),
        "settings": content_key(resumable),
        "seed": str(settings["seed"]),
        "procedure": str(PROCEDURE),
    }


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
    if device == "cpu":
        warn_of_large_batch(plans)
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
        print(
            f"loading: {counted(workers, 'worker')} per GPU, of {counted(threads, 'thread')} and "
            f"{free_mb:.0f} MB"
        )
    os.environ["nnUNet_n_proc_DA"] = str(workers)


def run_trainer(
    nnunet_name: str,
    plans: dict,
    fold: int | str,
    identity: dict,
    classes: dict[str, int],
    ages: dict[str, float],
    start: Path | None,
    device: torch.device,
) -> None:
    """Train in this process, from the checkpoint `start` or from nothing."""
    # Imported here: it takes longer than to see that there is nothing to train.
    with lean_imports():
        from nnunetv2.run import run_training

        from segflow.models.trainer_search import knowing_trainer

    settings = plans["segflow"]
    with knowing_trainer(run_training):
        trainer: SegflowTrainer = run_training.get_trainer_from_args(
            nnunet_name, settings["configuration"], fold, TRAINER, settings["model"], device=device
        )
    trainer.identity = identity
    trainer.classes, trainer.ages = classes, ages
    if start is not None:
        trainer.load_checkpoint(str(start))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    trainer.run_training()


def train_fold(
    results: Path,
    nnunet_name: str,
    plans: dict,
    fold: int | str,
    identity: dict,
    classes: dict[str, int],
    ages: dict[str, float],
    device: torch.device,
    n_gpus: int = 1,
) -> Path:
    """Train a fold to its end and return its folder.

    A finished training with the same identity is left as it is, an interrupted one goes on, also
    if it was set aside; any other is set aside and the training starts anew.

    Raises
    ------
    Interrupted
        If a signal stops it; the next call goes on from there.
    """
    folder = fold_folder(results, nnunet_name, plans, fold)
    remove_partial(folder)
    start = find_start(folder, identity)
    if start is None and not _is_finished(folder, identity):
        take_back(folder, identity)
        start = find_start(folder, identity)
    if _is_finished(folder, identity):
        print(f"{folder / FINAL}: made from the same data, plans and settings; nothing to train")
        return folder
    if start is None:
        set_aside(folder)
    else:
        print(f"{start}: training goes on from here", flush=True)
    arguments = (nnunet_name, plans, fold, identity, classes, ages, start)
    if n_gpus > 1:
        run_ranks(n_gpus, "nccl", run_trainer, arguments)
    else:
        run_trainer(*arguments, device)
    return folder


def uses_age(plans: dict) -> bool:
    """Say whether the network of a model uses the ages of cases."""
    chosen = plans["configurations"][plans["segflow"]["configuration"]]
    return bool(network_of(chosen["architecture"])[1].get("age"))


def number_classes(
    fold: dict[str, list[str]], classes: dict[str, str], known: list[str]
) -> dict[str, int]:
    """Return the number of the class of each case that has one, if a fold can teach all classes.

    Parameters
    ----------
    fold : dict
        Case names under ``train`` and ``val``.
    classes : dict of str to str
        Class of each case, empty where it has none.
    known : list of str
        Classes of the data set.

    Raises
    ------
    ValueError
        If a case has an unknown class, or no training case has one of them.
    """
    numbers = {}
    for name in (*fold["train"], *fold["val"]):
        if not classes[name]:
            continue
        if classes[name] not in known:
            raise ValueError(
                f"cases.csv: case {name!r} has the class {classes[name]!r}; known: "
                f"{', '.join(known)}"
            )
        numbers[name] = known.index(classes[name])
    taught = {classes[name] for name in fold["train"]}
    if missing := [name for name in known if name not in taught]:
        raise ValueError(
            f"no training case of the fold has the class {', '.join(missing)}; a model that tells "
            "classes needs cases of each in every fold: fewer folds, or other classes of the data "
            "set"
        )
    return numbers


def warn_of_large_batch(plans: dict) -> None:
    """Say on standard error that a batch is large for a CPU, and what makes it smaller."""
    settings = plans["segflow"]
    configuration = plans["configurations"][settings["configuration"]]
    patch, batch_size = configuration["patch_size"], configuration["batch_size"]
    if math.prod(patch) * batch_size > MANY_VOXELS:
        print(
            f"config/models/{settings['model']}.yaml: patches of {'x'.join(map(str, patch))}, "
            f"{batch_size} in a batch, were planned for a GPU and take long on a CPU; "
            "planning.gpu_memory_gb, or overrides.patch_size and overrides.batch_size, make them "
            "smaller",
            file=sys.stderr,
        )


def _is_finished(folder: Path, identity: dict[str, str]) -> bool:
    """Say whether a training with this identity came to its end."""
    finished = read_checkpoint(folder / FINAL)
    return bool(finished) and finished["identity"] == identity and (folder / BEST).exists()


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
            f"{where}, but a batch has {counted(batch_size, 'patch', 'patches')}; allowed are 1 to "
            f"{batch_size}, "
            "or set overrides.batch_size"
        )
    if n_gpus > 1 and wanted in ("cpu", "mps"):
        raise ValueError(f"{where}, but device is {wanted!r}; several need cuda or auto")


def describe_training(folder: Path, identity: dict, device: torch.device) -> dict:
    """Return the manifest of a finished training: its ingredients and its hashes."""
    rows = read_progress(folder / "progress.csv")
    finished = read_checkpoint(folder / FINAL)
    return {
        "identity": identity,
        "folder": folder.name,
        "epochs": len(rows),
        "score": rows[-1]["score_name"],
        "best_epoch": finished["best_epoch"],
        **_class_facts(rows),
        "seconds": round(sum(float(row["seconds"]) for row in rows), 1),
        "peak_mb": finished.get("peak_mb", 0.0),
        "checkpoints": {
            name: file_sha256(folder / f"checkpoint_{name}.pth") for name in ("final", "best")
        },
        "device": device_name(device),
        "versions": {name: version(name) for name in ("nnunetv2", "torch")},
    }


def _class_facts(rows: list[dict[str, str]]) -> dict[str, bool]:
    """Return whether one class only was told in the last epoch, and say so if it was."""
    if not rows or "entropy" not in rows[-1]:
        return {}
    collapsed = float(rows[-1]["entropy"]) == 0
    if collapsed:
        print("one class only is told of all patches: the training has collapsed", file=sys.stderr)
    return {"collapsed": collapsed}
