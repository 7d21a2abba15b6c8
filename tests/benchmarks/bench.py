"""Side by side with nnU-Net's own commands: seconds and memory of the same work in one run.

Run by `make bench`, or by hand with the names of the parts to run: prepare, experiment, dry_run.
Prints ratios (peer over ours: larger is better) and writes ``results/benchmarks.csv``.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from project import MODELS, ROOT, make_project

PROGRAMS = Path(sys.executable).parent
DATASET = "Dataset004_hippocampus"
COLUMNS = ["work", "peer", "ours_s", "peer_s", "ratio", "ours_mb", "peer_mb"]
N_FOLDS = 2
EPOCHS = 1


@dataclass
class Cost:
    """Seconds of some commands, and memory in MB of their largest process."""

    seconds: float = 0.0
    megabytes: float = 0.0
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(self, folder: Path, *command: str | Path) -> None:
        """Run a command and add its cost."""
        print("  $", Path(command[0]).name, *command[1:], flush=True)
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds += time.perf_counter() - start
        self.megabytes = max(self.megabytes, usage.ru_maxrss / 1024)
        if process.returncode:
            raise RuntimeError(f"{command[0]} failed\n{output[-4000:]}")


def ours(project, *targets: str) -> Cost:
    """Run targets of the workflow."""
    cost = Cost()
    cost.run(project.folder, PROGRAMS / "snakemake", "--cores", str(os.cpu_count()), *targets)
    return cost


def peer(folder: Path) -> Cost:
    """Return a cost whose commands are nnU-Net's, in folders of their own."""
    cost = Cost()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        cost.environment[name] = str(folder / name)
    cost.environment["nnUNet_extTrainer"] = str(ROOT / "workflow/scripts/segflow/trainers")
    return cost


def models(epochs: int) -> dict[str, dict]:
    """Return the demonstration's two models with fewer epochs."""
    chosen = {}
    for name in ("unet_2d_quick", "unet_3d_quick"):
        model = yaml.safe_load((ROOT / "config/models" / f"{name}.yaml").read_text())
        model["training"]["epochs"] = epochs
        chosen[f"bench_{name[5:7]}"] = model
    return chosen


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


def bench_experiment(folder: Path) -> dict:
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
    return row(work, "shell script of nnU-Net's commands", mine, theirs)


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


def row(work: str, name: str, mine: Cost, theirs: Cost | None) -> dict:
    """Return one line of the table."""
    return {
        "work": work,
        "peer": name,
        "ours_s": f"{mine.seconds:.1f}",
        "peer_s": f"{theirs.seconds:.1f}" if theirs else "",
        "ratio": f"{theirs.seconds / mine.seconds:.2f}" if theirs else "",
        "ours_mb": f"{mine.megabytes:.0f}",
        "peer_mb": f"{theirs.megabytes:.0f}" if theirs else "",
    }


def main(parts: list[str]) -> None:
    """Run the benchmarks and print and write their table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for part in parts or ["prepare", "experiment", "dry_run"]:
            print(part, flush=True)
            found = globals()[f"bench_{part}"](Path(folder) / part)
            rows += found if isinstance(found, list) else [found]
    path = ROOT / "results/benchmarks.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for line in rows:
        print(json.dumps(line))


if __name__ == "__main__":
    main(sys.argv[1:])
