"""Show what the networks of a model look at in brains (rule `explain_classifier`)."""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from segflow.files.cases import ages_of, read_cases, write_rows
from segflow.files.content import (
    content_key,
    read_own_json,
    replacing,
)
from segflow.files.ledger import Ledger
from segflow.files.manifests import read_finished
from segflow.images.nifti import SUFFIX, Grid, read_grid, write_image
from segflow.jobs.devices import choose_device, may_lease
from segflow.jobs.folder_leases import held
from segflow.jobs.logs import explained
from segflow.jobs.processes import end_cleanly
from segflow.models.nnunet import use_folders
from segflow.models.prediction import load_predictor
from segflow.models.preprocessing import load_preprocessed, preprocessed_folder
from segflow.models.saliency import PROCEDURE, choose_cases, explain_case, on_case_grid
from segflow.models.saliency_files import COLUMNS, GRADIENTS, METHODS, map_file
from segflow.models.training import fold_folder
from segflow.predictors.classification import read_classification


def main(arguments: list[str] | None = None) -> None:
    """Explain validation cases by networks that were not trained on them; average by class."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--plans", type=Path, required=True, help="plans of the model")
    parser.add_argument("--trainings", type=Path, nargs="+", required=True, help="their manifests")
    parser.add_argument("--folds", type=int, nargs="+", required=True, help="of these trainings")
    parser.add_argument("--nnunet-name", required=True, help="nnU-Net's name of the data set")
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--classification", type=Path, required=True, help="what the model says")
    parser.add_argument("--classes", nargs="+", required=True, help="names of the classes")
    parser.add_argument("--cases-per-class", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True, help="of integrated gradients")
    parser.add_argument("--block-mm", type=float, required=True, help="that occlusion blurs")
    parser.add_argument("--ages", type=Path, help="table of cases, whose ages the network uses")
    parser.add_argument("--preprocessed", type=Path, required=True, help="table of cases")
    parser.add_argument("--preprocessing", required=True, help="name of the preprocessed data")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gpu-share", type=int, default=1, help="such jobs that fit on a GPU")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the maps")
    parser.add_argument("--table", type=Path, required=True, help="table of the cases to write")
    options = parser.parse_args(arguments)

    end_cleanly()
    use_folders(options.results)
    leased = may_lease(options.device, share=options.gpu_share)
    with held(options.folder), leased:
        _explain(options)


def _explain(options: argparse.Namespace) -> None:
    """Explain, once nobody else may write to the folder or use the GPU."""
    plans = read_own_json(options.plans)
    trainings = dict(zip(options.folds, options.trainings, strict=True))
    told = read_classification(options.classification, options.classes)["val"].known()
    chosen = choose_cases(told.cases, told.truth, told.probabilities, options.cases_per_class)
    places = {told.cases[one]: int(told.truth[one]) for one in chosen}
    folds = {told.cases[one]: int(told.folds[one]) for one in chosen}
    where = options.results, options.nnunet_name
    data = preprocessed_folder(*where, options.preprocessing, "train")
    preprocessed = read_finished(options.preprocessed, data, places)
    ages = ages_of(read_cases(options.ages)) if options.ages else {}
    checkpoint = plans["segflow"]["prediction"]["checkpoint"]
    windows = plans["segflow"]["classifier"]["windows"]
    checkpoints = {
        fold: read_own_json(path)["checkpoints"][checkpoint] for fold, path in trainings.items()
    }
    effort = options.steps, options.block_mm
    keys = {
        case: content_key(
            *(PROCEDURE, checkpoints[folds[case]], preprocessed[case], place, windows),
            *(ages.get(case), *effort),
        )
        for case, place in places.items()
    }
    ledger = Ledger(options.folder)
    ledger.prune(keys)
    waiting = ledger.waiting(keys)
    print(f"explain: {len(keys) - len(waiting)} of {len(keys)} cases are finished", flush=True)
    device = choose_device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    trained = fold_folder(*where, plans, options.folds[0]).parent
    for fold in sorted({folds[case] for case in waiting}):
        predictor = load_predictor(trained, {fold: trainings[fold]}, plans, device)
        own = [case for case in waiting if folds[case] == fold]
        for case in tqdm(own, f"explain fold {fold}", unit="case", mininterval=5):
            image, properties = load_preprocessed(data, case)
            age = ages.get(case, np.nan)
            found = explain_case(predictor, image, places[case], windows == "centre", age, *effort)
            backward = predictor.plans_manager.transpose_backward
            maps = {
                method: on_case_grid(values, properties, backward)
                for method, values in found.maps.items()
            }
            path = options.folder / f"{case}.npz"
            with replacing(path) as part, part.open("wb") as file:
                np.savez_compressed(file, **maps)
            facts = {
                "logit": found.logit,
                "blurred_logit": found.blurred_logit,
                "sum_of_gradients": float(found.maps[GRADIENTS].sum(dtype=float)),
            }
            ledger.enter(case, keys[case], [path], **facts)
    for old in options.folder.glob(f"*{SUFFIX}"):
        old.unlink()
    raw = options.results / "nnUNet_raw" / options.nnunet_name / "labelsTr"
    grid = read_grid(raw / f"{min(places)}{SUFFIX}") if places else None
    for place, name in enumerate(options.classes):
        own = [case for case in places if places[case] == place]
        if own:
            for method in METHODS:
                target = options.folder / map_file(place, name, method)
                _average([options.folder / f"{case}.npz" for case in own], method, grid, target)
    rows = [
        {"case": case, "fold": folds[case], "class": options.classes[place]}
        | {name: f"{value:.6g}" for name, value in ledger.find(case, keys[case]).items()}
        for case, place in sorted(places.items())
    ]
    write_rows(options.table, rows, COLUMNS)


def _average(paths: list[Path], method: str, grid: Grid, target: Path) -> None:
    """Write the mean of maps of cases, on the grid that all brains of a data set share."""
    total = np.zeros(grid.shape)
    for path in paths:
        with np.load(path) as maps:
            found = maps[method]
        if found.shape != grid.shape:
            raise ValueError(
                f"{path}: has the shape {found.shape}, others have {grid.shape}; brains in "
                "template space have one grid"
            )
        total += found / len(paths)
    write_image(target, total.astype(np.float32), grid)


if __name__ == "__main__":
    with explained():
        main()
