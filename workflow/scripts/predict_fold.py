"""Predict validation or test cases with a fold's network (rule `predict_fold`)."""

import argparse
from pathlib import Path

import torch

from segflow.files.cases import ages_of, read_cases
from segflow.files.content import read_own_json
from segflow.files.manifests import read_finished, write_manifest
from segflow.jobs.devices import choose_device, may_lease
from segflow.jobs.folder_leases import held
from segflow.jobs.logs import explained
from segflow.jobs.processes import end_cleanly
from segflow.models.folds import fold_of, read_fold
from segflow.models.nnunet import use_folders
from segflow.models.prediction import load_predictor, predict_fold, prediction_keys
from segflow.models.preprocessing import preprocessed_folder
from segflow.models.training import fold_folder


def main(arguments: list[str] | None = None) -> None:
    """Predict a fold's validation cases, or the test cases with a fold's network."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--plans", type=Path, required=True, help="plans of the model")
    parser.add_argument("--training", type=Path, required=True, help="manifest of the training")
    parser.add_argument("--nnunet-name", required=True, help="nnU-Net's name of the data set")
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--fold", type=read_fold, required=True)
    parser.add_argument("--splits", type=Path, help="folds: predict the fold's validation cases")
    parser.add_argument("--cases", type=Path, help="table of cases: predict all of them")
    parser.add_argument("--ages", type=Path, help="table of cases, whose ages the network uses")
    parser.add_argument("--preprocessed", type=Path, required=True, help="table of cases")
    parser.add_argument("--preprocessing", required=True, help="name of the preprocessed data")
    parser.add_argument("--previous", type=Path, help="table of the previous stage's cases")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gpu-share", type=int, default=1, help="such jobs that fit on a GPU")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="folder of probabilities")
    parser.add_argument("--manifest", type=Path, required=True, help="table to write")
    options = parser.parse_args(arguments)

    end_cleanly()
    use_folders(options.results)
    leased = may_lease(options.device, share=options.gpu_share)
    with held(options.folder), leased:
        _predict(options)


def _predict(options: argparse.Namespace) -> None:
    """Predict, once nobody else may write to the folder or use the GPU."""
    plans, manifest = read_own_json(options.plans), read_own_json(options.training)
    device = choose_device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    if options.splits:
        part, names = "train", fold_of(read_own_json(options.splits), options.fold)["val"]
    else:
        part, names = "test", [case.case for case in read_cases(options.cases)]
    where = options.results, options.nnunet_name
    data = preprocessed_folder(*where, options.preprocessing, part)
    preprocessed = read_finished(options.preprocessed, data, names)
    earlier, previous = None, {}
    if options.previous:
        earlier = preprocessed_folder(*where, f"{plans['plans_name']}_previous", part)
        previous = read_finished(options.previous, earlier, names)
    preprocessed = {name: preprocessed[name] for name in names}
    ages = ages_of(read_cases(options.ages)) if options.ages else None
    keys = prediction_keys(plans, [manifest], preprocessed, previous, ages)
    trained = fold_folder(*where, plans, options.fold).parent
    predict_fold(
        lambda: load_predictor(trained, {options.fold: options.training}, plans, device),
        keys,
        data,
        earlier,
        options.folder,
        options.threads,
        ages,
    )
    write_manifest(options.manifest, keys)


if __name__ == "__main__":
    with explained():
        main()
