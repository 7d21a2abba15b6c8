"""Train one fold (rule `train_fold`)."""

import argparse
import math
import sys
from pathlib import Path

import torch

from segflow.files.cases import ages_of, read_cases
from segflow.files.content import read_own_json, write_json
from segflow.files.manifests import read_finished
from segflow.files.words import counted
from segflow.jobs.devices import choose_device, may_lease
from segflow.jobs.folder_leases import held
from segflow.jobs.interruption import Interrupted
from segflow.jobs.logs import explained
from segflow.jobs.processes import end_cleanly
from segflow.jobs.time_limits import warned_before_limit
from segflow.models.checkpoints import set_aside
from segflow.models.folds import fold_of, read_fold
from segflow.models.nnunet import use_folders
from segflow.models.progress import read_progress, write_progress
from segflow.models.training import (
    check_n_gpus,
    describe_training,
    fold_folder,
    number_classes,
    train_fold,
    training_identity,
    use_threads,
    uses_age,
)


def main(arguments: list[str] | None = None) -> None:
    """Train one fold."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--plans", type=Path, required=True, help="plans of the model")
    parser.add_argument("--nnunet-name", required=True, help="nnU-Net's name of the data set")
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--fold", type=read_fold, required=True)
    parser.add_argument("--preprocessed", type=Path, required=True, help="table of cases")
    parser.add_argument("--previous", type=Path, help="table of the previous stage's cases")
    parser.add_argument("--cases", type=Path, help="table of cases, whose classes are learnt")
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
    plans, folds = read_own_json(options.plans), read_own_json(options.splits)
    fold = fold_of(folds, options.fold)
    check_n_gpus(options.n_gpus, plans, options.device)
    folder = fold_folder(options.results, options.nnunet_name, plans, options.fold)
    leased = may_lease(options.device, options.n_gpus, options.gpu_share)
    with held(folder), leased, warned_before_limit():
        _train(options, plans, fold, folder)


def _train(options: argparse.Namespace, plans: dict, fold: dict, folder: Path) -> None:
    """Train, once nobody else may write to the folder or use the GPUs."""
    data = options.results / "nnUNet_preprocessed" / options.nnunet_name
    cases = {*fold["train"], *fold["val"]}
    keys = read_finished(options.preprocessed, data / options.preprocessed.parent.name, cases)
    previous = {}
    if options.previous:
        previous = read_finished(options.previous, data / f"{plans['plans_name']}_previous", cases)
        if missing := sorted(cases - previous.keys()):
            raise ValueError(
                f"{options.previous}: no segmentation of {counted(len(missing), 'case')} of fold "
                f"{options.fold}, of {missing[0]!r} first; a cascade learns from those of all cases"
            )
    classes, ages = None, None
    if options.cases:
        known = read_cases(options.cases)
        named = {case.case: case.class_label for case in known}
        settings = plans["segflow"]
        told = settings.get("head") or settings["classifier"]
        classes = number_classes(fold, named, told["classes"])
        if uses_age(plans):
            ages = ages_of(known)
    identity = training_identity(plans, fold, keys, previous, options.n_gpus, classes, ages)
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
        set_aside(folder, forget=True)
    try:
        train_fold(
            options.results,
            options.nnunet_name,
            plans,
            options.fold,
            identity,
            classes or {},
            ages or {},
            device,
            options.n_gpus,
        )
    except Interrupted as reason:
        sys.exit(f"{reason}; the checkpoint is written, run again to go on")
    write_progress(options.progress, read_progress(folder / "progress.csv"))
    write_json(options.manifest, describe_training(folder, identity, device))


if __name__ == "__main__":
    with explained():
        main()
