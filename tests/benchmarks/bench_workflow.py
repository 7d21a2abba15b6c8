"""Parts of the workflow, and all of it, beside nnU-Net's own commands."""

import os
import shutil
from pathlib import Path

import yaml

from costs import PROGRAMS, Cost, ours, row
from project import MODELS, ROOT, make_project

DATASET = "Dataset004_hippocampus"
N_FOLDS = 2
EPOCHS = 1


def bench_prepare(folder: Path) -> list[dict]:
    """Convert, fingerprint, plan and preprocess the demonstration's data for two models."""
    project = make_project(folder / "ours", models(EPOCHS), 40, 10, N_FOLDS)
    mine = ours(project, "preprocess")
    work = "40 cases from raw files to preprocessed, 2d and 3d_fullres"
    commands = "nnUNetv2_convert_MSD_dataset + nnUNetv2_plan_and_preprocess"
    rows = []
    for processes, text in ((None, "as they are"), (os.cpu_count(), "a process for each core")):
        theirs = prepare_peer(project, folder / f"peer_{processes}", processes)
        rows.append(row(work, f"{commands}, {text}", mine, theirs))
    return rows


def bench_experiment(folder: Path) -> list[dict]:
    """Run the whole experiment, with the same trainer, epochs, plans and folds on both sides."""
    project = make_project(folder / "ours", models(EPOCHS), 40, 10, N_FOLDS)
    mine = ours(project)
    where = folder / "peer"
    theirs = prepare_peer(project, where, os.cpu_count())
    theirs.environment["nnUNet_n_proc_DA"] = "0"  # as the workflow does for so few threads
    theirs.environment["nnUNet_def_n_proc"] = str(os.cpu_count())  # its 8 would slow it down here
    data, results = where / "nnUNet_preprocessed" / DATASET, project.results
    shutil.copy(results / "hippocampus/splits.json", data / "splits_final.json")
    configurations = {"bench_2d": "2d", "bench_3d": "3d_fullres"}
    folds = [str(fold) for fold in range(N_FOLDS)]
    for model, configuration in configurations.items():
        shutil.copy(results / "hippocampus" / model / "plans.json", data / f"{model}.json")
        for fold in folds:
            options = ["4", configuration, fold, "-tr", "SegflowTrainer", "-p", model]
            theirs.run(where, PROGRAMS / "nnUNetv2_train", *options, "--npz", "-device", "cpu")
    trained = where / "nnUNet_results" / DATASET
    predicted, labels = [], where / "nnUNet_raw" / DATASET / "labelsTr"
    for model, configuration in configurations.items():
        source = trained / f"SegflowTrainer__{model}__{configuration}"
        gathered = where / f"crossval_{model}"
        command = PROGRAMS / "nnUNetv2_accumulate_crossval_results"
        options = ["4", "-c", configuration, "-o", gathered, "-f", *folds]
        theirs.run(where, command, *options, "-p", model, "-tr", "SegflowTrainer")
        files = ["-plans_json", source / "plans.json", "-dataset_json", source / "dataset.json"]
        command = PROGRAMS / "nnUNetv2_determine_postprocessing"
        theirs.run(where, command, "-i", gathered, "-ref", labels, *files, "-np", os.cpu_count())
        target = where / f"test_{model}"
        options = ["-i", where / "nnUNet_raw" / DATASET / "imagesTs", "-o", target, "-d", "4"]
        options += ["-p", model, "-tr", "SegflowTrainer", "-c", configuration, "-f", *folds]
        options += ["-device", "cpu", "--disable_tta", "--save_probabilities"]
        theirs.run(where, PROGRAMS / "nnUNetv2_predict", *options)
        predicted.append(target)
    both = where / "test_both"
    options = ["-i", *predicted, "-o", both, "-np", os.cpu_count()]
    theirs.run(where, PROGRAMS / "nnUNetv2_ensemble", *options)
    references = where / "Task04_Hippocampus/labelsTs"
    for folder_of_maps in (*predicted, both):
        command = PROGRAMS / "nnUNetv2_evaluate_folder"
        files = ["-djfile", predicted[0] / "dataset.json", "-pfile", predicted[0] / "plans.json"]
        theirs.run(where, command, references, folder_of_maps, *files, "-np", os.cpu_count())
    n_trainings = len(configurations) * N_FOLDS
    work = f"whole experiment, {n_trainings} trainings of {EPOCHS} epochs"
    return [row(work, "shell script of nnU-Net's commands", mine, theirs)]


def bench_dry_run(folder: Path) -> list[dict]:
    """Time a dry run of 10, 100 and 1,000 trainings."""
    rows = []
    for n_datasets, n_models in ((1, 2), (5, 4), (20, 10)):
        chosen = {f"model_{n}": {**MODELS["tiny_3d"], "title": f"{n}"} for n in range(n_models)}
        project = make_project(folder / f"dry_run_{n_datasets}", chosen, n_folds=5)
        description = yaml.safe_load((ROOT / "config/datasets/hippocampus.yaml").read_text())
        names = [f"set_{number}" for number in range(n_datasets)]
        for number, name in enumerate(names):
            path = project.folder / "config/datasets" / f"{name}.yaml"
            path.write_text(yaml.safe_dump({**description, "id": 100 + number}))
        project.configure(datasets=names, raw_folders=dict.fromkeys(names, "raw"))
        mine = ours(project, "--dry-run", "--quiet", "all")
        n_trainings = n_datasets * n_models * 5
        rows.append(row(f"dry run of {n_trainings} trainings", "-", mine, None))
    return rows


def prepare_peer(project, folder: Path, processes: int | None) -> Cost:
    """Convert, plan and preprocess with nnU-Net's commands, with their own choice of processes."""
    cost = peer(folder)
    task = folder / "Task04_Hippocampus"
    shutil.copytree(project.raw, task)
    shutil.copy(ROOT / "resources/Task04_Hippocampus/dataset.json", task)
    count = [] if processes is None else ["-np", str(processes)]
    convert = PROGRAMS / "nnUNetv2_convert_MSD_dataset"
    cost.run(folder, convert, "-i", task, "-overwrite_id", "4", *count)
    (folder / "nnUNet_raw/Dataset004_Hippocampus").rename(folder / "nnUNet_raw" / DATASET)
    plan = PROGRAMS / "nnUNetv2_plan_and_preprocess"
    count += [] if processes is None else ["-npfp", str(processes)]
    cost.run(folder, plan, "-d", "4", "-c", "2d", "3d_fullres", *count)
    return cost


def peer(folder: Path) -> Cost:
    """Return a cost whose commands are nnU-Net's, in folders of their own."""
    cost = Cost()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        cost.environment[name] = str(folder / name)
    cost.environment["nnUNet_extTrainer"] = str(ROOT / "workflow/scripts/segflow/models/trainers")
    return cost


def models(epochs: int) -> dict[str, dict]:
    """Return the demonstration's two models with fewer epochs."""
    chosen = {}
    for name in ("unet_2d_quick", "unet_3d_quick"):
        model = yaml.safe_load((ROOT / "config/models" / f"{name}.yaml").read_text())
        model["training"]["epochs"] = epochs
        chosen[f"bench_{name[5:7]}"] = model
    return chosen
