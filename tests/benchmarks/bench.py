"""Side by side with nnU-Net's own commands: seconds and memory of the same work in one run.

Run by `make bench`, or by hand with the names of the parts to run: convert, prepare, experiment,
dry_run. Conversion, which nnU-Net leaves to its users, is compared with plain loops.
Prints ratios (peer over ours: larger is better) and writes ``results/benchmarks.csv``.
"""

import csv
import json
import math
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

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
DATASET = "Dataset004_hippocampus"
COLUMNS = ["work", "peer", "ours_s", "peer_s", "ratio", "ours_mb", "peer_mb"]
N_FOLDS = 2
EPOCHS = 1
N_CT = 6
CT_SHAPE = (100, 512, 512)  # in the file: KiTS stores the slices first
CT_AFFINE = [[0, 0, -0.8, 0], [0, -0.8, 0, 0], [-3, 0, 0, 0], [0, 0, 0, 1]]  # in mm
CT_HEADERS = {"linked": "", "written": "abdomen of a patient"}  # free text is not taken over
CT_MB = N_CT * math.prod(CT_SHAPE) * 3 / 1e6  # of voxels: int16 images, uint8 label maps


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


def make_ct(folder: str) -> None:
    """Make CTs and label maps in the layout of KiTS 2019, in one folder for each kind of header."""
    import nibabel
    import numpy as np

    from conversion import describe

    Path(folder).mkdir(parents=True)
    Path(folder, "dataset.json").write_text(json.dumps(describe("kits19")))
    z, y, x = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in CT_SHAPE)]
    radius = np.sqrt((z / 0.7) ** 2 + ((y - 0.2) / 0.16) ** 2 + ((np.abs(x) - 0.33) / 0.16) ** 2)
    labels = np.add(radius < 1, radius < 0.4, dtype=np.uint8)  # two kidneys, each with a tumour
    body = np.where((x / 0.85) ** 2 + (y / 0.6) ** 2 < 1, 40, -1000) + 100 * (labels > 0)
    for number in range(N_CT):
        noise = np.random.default_rng(number).standard_normal(CT_SHAPE, np.float32)
        image = np.where(x**2 + y**2 < 1, body + 18 * noise, -1024).round().astype(np.int16)
        for name, description in CT_HEADERS.items():
            case = Path(folder, name, "data", f"case_{number:05d}")
            case.mkdir(parents=True)
            for file, voxels in (("imaging", image), ("segmentation", labels)):
                stored = nibabel.Nifti1Image(voxels, CT_AFFINE)
                stored.header.set_xyzt_units("mm")
                stored.header["descrip"] = description
                nibabel.save(stored, case / f"{file}.nii.gz")


def convert_ct(raw: str, folder: str, workers: str) -> None:
    """Convert the CTs as the workflow's script does."""
    from conversion import RULE
    from convert_dataset import main as convert_dataset

    convert_dataset(
        raw=Path(raw),
        dataset=json.loads(Path(raw).with_name("dataset.json").read_text()),
        rule=RULE,
        pairs=None,
        part="train",
        state="",
        folder=Path(folder, "converted"),
        workers=int(workers),
        cases=Path(folder, "train.csv"),
        problems=Path(folder, "problems.csv"),
        sources=Path(folder, "sources.json"),
    )


def loop_simpleitk(raw: str, folder: str) -> None:
    """Read and write each file once, without any check."""
    import SimpleITK as sitk

    Path(folder).mkdir()
    for path in sorted(Path(raw).rglob("*.nii.gz")):
        image = sitk.ReadImage(str(path))
        sitk.WriteImage(image, f"{folder}/{path.parent.name}_{path.name}", useCompression=True)


def loop_nibabel(raw: str, folder: str) -> None:
    """Read and write each file once, without any check."""
    import nibabel
    import numpy as np

    Path(folder).mkdir()
    for path in sorted(Path(raw).rglob("*.nii.gz")):
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)
        copied = nibabel.Nifti1Image(voxels, image.affine, image.header)
        nibabel.save(copied, f"{folder}/{path.parent.name}_{path.name}")


def alone(function: str, *arguments: str | Path | int) -> Cost:
    """Run a function of this file in a process of its own."""
    cost = Cost()
    cost.environment["PYTHONPATH"] = str(ROOT / "workflow/scripts")
    code = f"import sys, bench; bench.{function}(*sys.argv[1:])"
    cost.run(HERE, sys.executable, "-c", code, *arguments)
    return cost


def ct_rate(cost: Cost) -> str:
    """Return how many voxels of all CTs and label maps were handled."""
    return f"{CT_MB / cost.seconds:.0f} MB/s"


def bench_convert(folder: Path) -> list[dict]:
    """Convert CTs: files that can be linked, files that are written anew, and one changed case."""
    alone("make_ct", folder)
    rows = []
    for kind in CT_HEADERS:
        loops = {
            f"plain loop of {name}, 1 process": alone(
                f"loop_{name.lower()}", folder / kind, folder / f"{kind}_{name}"
            )
            for name in ("SimpleITK", "nibabel")
        }
        for workers in sorted({os.cpu_count(), 1}, reverse=True):
            mine = alone("convert_ct", folder / kind, folder / f"{kind}_{workers}", workers)
            work = f"{N_CT} CT converted, files {kind}, workers: {workers}; {ct_rate(mine)}"
            rows += [
                row(work, f"{name}; {ct_rate(loops[name])}", mine, loops[name]) for name in loops
            ]
    project = make_project(folder / "ours")
    raw = folder / "linked"
    project.configure(datasets=["kits19"], raw_folders={"kits19": str(raw)})
    rows.append(row(f"{N_CT} CT, snakemake convert", "-", ours(project, "convert"), None))
    image = raw / "data/case_00000/imaging.nii.gz"
    image.unlink()  # it has a second name among the results
    shutil.copy(folder / "written/data/case_00000/imaging.nii.gz", image)
    start = time.time()
    mine = ours(project, "convert")
    records = project.results.glob("nnUNet_raw/*/imagesTr/.ledger/*.json")
    n_new = sum(path.stat().st_mtime >= start for path in records)
    work = f"snakemake convert after one image changed: {n_new} of {N_CT} CT converted anew"
    return [*rows, row(work, "-", mine, None)]


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
        for part in parts or ["convert", "prepare", "experiment", "dry_run"]:
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
