"""Predict a fold's validation cases in several ways, and measure each (rule `study_inference`)."""

import argparse
import json
from pathlib import Path

import torch

from segflow.files.cases import write_rows
from segflow.files.content import read_own_json
from segflow.files.manifests import read_finished
from segflow.jobs.devices import choose_device, device_name, may_lease
from segflow.jobs.folder_leases import held
from segflow.jobs.logs import explained
from segflow.jobs.processes import end_cleanly
from segflow.models.folds import fold_of
from segflow.models.nnunet import use_folders
from segflow.models.prediction import load_predictor, prediction_keys
from segflow.models.preprocessing import preprocessed_folder
from segflow.models.training import fold_folder
from segflow.predictors.inference_study import Trial, try_settings

COLUMNS = ["fold", "case", "setting", "seconds", "peak_mb", "dice", "equal", "device"]


def main(arguments: list[str] | None = None) -> None:
    """Measure how a fold predicts its validation cases with several settings."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--plans", type=Path, required=True, help="plans of the model")
    parser.add_argument("--training", type=Path, required=True, help="manifest of the training")
    parser.add_argument("--nnunet-name", required=True, help="nnU-Net's name of the data set")
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--splits", type=Path, required=True, help="folds")
    parser.add_argument("--n-cases", type=int, required=True, help="the first ones; 0 for all")
    parser.add_argument("--preprocessed", type=Path, required=True, help="table of cases")
    parser.add_argument("--preprocessing", required=True, help="name of the preprocessed data")
    parser.add_argument("--previous", type=Path, help="table of the previous stage's cases")
    parser.add_argument("--settings", type=json.loads, required=True, help="by name, as JSON")
    parser.add_argument("--labels", type=json.loads, required=True, help="measured, as JSON")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="folder of what is measured")
    parser.add_argument("--table", type=Path, required=True, help="table to write")
    options = parser.parse_args(arguments)

    end_cleanly()
    use_folders(options.results)
    # The device alone: others on it would be measured, too.
    with held(options.folder), may_lease(options.device):
        _study(options)


def _study(options: argparse.Namespace) -> None:
    """Measure, once nobody else may write to the folder or use the GPU."""
    plans, manifest = read_own_json(options.plans), read_own_json(options.training)
    device = choose_device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    names = sorted(fold_of(read_own_json(options.splits), options.fold)["val"])
    names = names[: options.n_cases or None]
    where = options.results, options.nnunet_name
    data = preprocessed_folder(*where, options.preprocessing, "train")
    preprocessed = read_finished(options.preprocessed, data, names)
    earlier, previous = None, {}
    if options.previous:
        earlier = preprocessed_folder(*where, f"{plans['plans_name']}_previous", "train")
        previous = read_finished(options.previous, earlier, names)
    preprocessed = {name: preprocessed[name] for name in names}
    settled = {
        name: {**plans, "segflow": {**plans["segflow"], "prediction": settings}}
        for name, settings in options.settings.items()
    }
    raw = options.results / "nnUNet_raw" / options.nnunet_name
    trial = Trial(
        names,
        data,
        earlier,
        raw / "labelsTr",
        options.labels,
        read_own_json(raw / "dataset.json").get("regions_class_order"),
        options.threads,
    )
    trained = fold_folder(*where, plans, options.fold).parent
    trainings = {options.fold: options.training}
    rows = try_settings(
        lambda name: load_predictor(trained, trainings, settled[name], device),
        {
            name: prediction_keys(changed, [manifest], preprocessed, previous)
            for name, changed in settled.items()
        },
        trial,
        device_name(device),
        options.folder,
    )
    for row in rows:
        row |= {
            "fold": options.fold,
            "seconds": f"{row['seconds']:.6g}",
            "peak_mb": f"{row['peak_mb']:.6g}",
            "dice": f"{row['dice']:.6g}",
            "equal": f"{row['equal']:.9g}",
        }
    write_rows(options.table, rows, COLUMNS)


if __name__ == "__main__":
    with explained():
        main()
