"""Whether cost grows no faster than the work: a simulation of very large runs, without training.

Run by `make scale`, or by hand with the names of the parts to run: dag, cases, storage. Writes
``results/scale.csv`` and fails if something grows faster than linearly.
"""

import csv
import json
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/helpers"))
sys.path.insert(0, str(Path(__file__).parents[2] / "workflow/scripts"))

import yaml
from measure import ROOT, Cost, run, run_step

from project import MODELS, make_project
from segflow.run.configuration import Run
from segflow.run.record import FOLDER, Job, write_start

COLUMNS = ["work", "n", "unit", "seconds", "cpu_s", "memory_mb", "files", "disk_mb"]
COLUMNS += ["bytes_per_voxel"]
DATASETS = (10, 33, 100)  # of 5 models and 5 folds
JOBS_PER_DATASET = 152  # of 5 models and 5 folds, as a dry run counts them
CASES = (2_000, 20_000)
# Growth of the cost over growth of the work: caches overflow, and machines are shared.
TOLERANCE = 1.5
SMALL_S = 3.0  # what takes less says nothing about growth
PROGRAMS = Path(sys.executable).parent
STEPS = (
    ("make_files", None),
    ("look_at_start", "look at the raw files, first start"),
    ("convert", "check and convert cases of 8 x 8 x 8 voxels"),
    ("convert", "check cases that are converted"),
    ("look_at_start", "look at the raw files, later starts"),
    ("touch", None),
    ("look_at_start", "look at the raw files, all of them touched"),
    ("gather_and_split", "gather cases and divide them into folds"),
    ("finish", "enter cases into a ledger and a manifest"),
    ("finish", "find cases in a ledger"),
    ("evaluate", "evaluate label maps of 8 x 8 x 8 voxels"),
    ("evaluate", "evaluate again"),
    ("invent_metrics", None),
    ("summarise", "summarise 2 predictors x 2 stages x 3 labels"),
    ("compare", "compare 2 predictors"),
)


def scale_dag(folder: Path) -> list[dict]:
    """Plan runs of 5 models and 5 folds for more and more data sets, and ask for their status."""
    models = {f"model_{n}": {**MODELS["tiny_3d"], "title": f"Model {n}"} for n in range(5)}
    description = yaml.safe_load((ROOT / "config/datasets/hippocampus.yaml").read_text())
    rows = []
    for n_datasets in DATASETS:
        project = make_project(folder / f"dag_{n_datasets}", models, n_folds=5)
        names = [f"set_{number}" for number in range(n_datasets)]
        for number, name in enumerate(names):
            path = project.folder / "config/datasets" / f"{name}.yaml"
            path.write_text(yaml.safe_dump({**description, "id": 100 + number}))
        project.configure(datasets=names, raw_folders=dict.fromkeys(names, "raw"))
        n_trainings = 25 * n_datasets
        command = [PROGRAMS / "snakemake", "--cores", "2", "--dry-run", "--quiet", "all"]
        cost = run(project.folder, *command)
        rows.append(row("dry run", n_trainings, "trainings", cost))
        record_jobs(project.folder, names)
        scripts = project.folder / "workflow/scripts"
        command = ["env", f"PYTHONPATH={scripts}", sys.executable, "-m", "show_status"]
        cost = run(project.folder, *command)
        n_jobs = int(cost.text.split("\nall")[1].split("\n")[0].split()[-1])
        rows.append(row("status", n_jobs, "jobs", cost))
    return rows


def record_jobs(folder: Path, names: list[str]) -> None:
    """Record a start of as many jobs as a run of these data sets has, none of which has begun."""
    config = yaml.safe_load((folder / "config/config.yaml").read_text())
    jobs = [
        Job(f"rule_{number}", {"dataset": name}, f"results/{name}/{number}", Path("none.log"), True)
        for name in names
        for number in range(JOBS_PER_DATASET)
    ]
    with chdir(folder):  # where the descriptions are
        write_start(folder / FOLDER, Run(config).config, jobs)


def scale_cases(folder: Path) -> list[dict]:
    """Do the bookkeeping of data sets of very many cases."""
    rows = []
    for n in CASES:
        target = folder / f"cases_{n}"
        for step, title in STEPS:
            if title is None:
                run(ROOT, sys.executable, ROOT / "tests/scale/bookkeeping.py", step, target, str(n))
            else:
                cost = run_step("bookkeeping.py", step, target, n)
                rows.append(row(title, n, "cases", cost))
        shutil.rmtree(target)
    return rows


def scale_storage(folder: Path) -> list[dict]:
    """Measure what a made-up CT takes, and what finished results take if there are some."""
    where = {"phantom": folder / "phantom"}
    if (ROOT / "results/run.json").exists():
        where["results"] = ROOT / "results"
    rows = []
    for what, path in where.items():
        script = ROOT / "tests/scale/storage.py"
        rows += json.loads(run(ROOT, sys.executable, script, what, path).text.splitlines()[-1])
    return rows


def row(work: str, n: int, unit: str, cost: Cost) -> dict:
    """Return one line of the table."""
    return {
        "work": work,
        "n": n,
        "unit": unit,
        "seconds": f"{cost.seconds:.2f}",
        "cpu_s": f"{cost.cpu_s:.2f}",
        "memory_mb": f"{cost.memory_mb:.0f}",
    }


def find_growth(rows: list[dict]) -> list[str]:
    """Return a line for each work whose processor time grows faster than its size.

    The growth from the second last to the last size counts: what a start costs is left out.
    """
    problems = []
    for work in dict.fromkeys(row["work"] for row in rows if "cpu_s" in row):
        points = [(row["n"], float(row["cpu_s"])) for row in rows if row["work"] == work]
        (n, seconds), (n_more, seconds_more) = points[-2:]
        if seconds_more > max(SMALL_S, TOLERANCE * seconds * n_more / n):
            problems.append(f"{work}: {seconds} s for {n}, but {seconds_more} s for {n_more}")
    return problems


PARTS = {"dag": scale_dag, "cases": scale_cases, "storage": scale_storage}


def main(names: list[str]) -> None:
    """Run the simulation, and print and write its table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names or PARTS:
            print(name, flush=True)
            (Path(folder) / name).mkdir()
            rows += PARTS[name](Path(folder) / name)
    path = ROOT / "results/scale.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for line in rows:
        print(json.dumps(line))
    if problems := find_growth(rows):
        sys.exit("faster than linear: " + "; ".join(problems))


if __name__ == "__main__":
    main(sys.argv[1:])
