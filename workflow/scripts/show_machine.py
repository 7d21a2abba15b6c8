"""Show what this machine has and lacks, and what the run will take (`make doctor`)."""

import argparse
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from segflow.files.cases import read_cases
from segflow.jobs.devices import count_gpus
from segflow.run.configuration import PROJECT, Run
from segflow.run.forecast import forecast

PACKAGES = ("snakemake", "nnunetv2", "torch", "monai", "numpy", "SimpleITK")
SHARED = Path("/dev/shm")
LEAST_SHARED_GB = 1.0  # batches travel through it; containers often have 64 MB
LEAST_MEMORY_GB = 8.0
LEAST_DISK_GB = 10.0


def machine_facts(results: Path) -> tuple[dict[str, str], list[str]]:
    """Return what the machine has, by what it is, and what is wrong with it."""
    memory = psutil.virtual_memory().total / 1e9
    folder = next(path for path in (results, *results.parents) if path.exists())
    free = shutil.disk_usage(folder).free / 1e9
    shared = shutil.disk_usage(SHARED).total / 1e9 if SHARED.exists() else None
    facts = {
        "Python": sys.version.split()[0],
        "cores": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
        "memory": f"{memory:.0f} GB",
        "free disk": f"{free:.0f} GB where results go ({folder})",
        "shared memory": f"{shared:.1f} GB" if shared is not None else "none of its own",
        "GPUs": str(count_gpus() or "none; trainings run on the CPU"),
        "SLURM": shutil.which("sbatch") or "none",
    }
    wrong = []
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is not installed; make environment installs it")
    if shared is not None and shared < LEAST_SHARED_GB:
        wrong.append(f"{SHARED} has {shared:.2f} GB; give the container more (--shm-size=8g)")
    if memory < LEAST_MEMORY_GB:
        wrong.append(f"{memory:.0f} GB of memory are little; large images may not fit")
    if free < LEAST_DISK_GB:
        wrong.append(f"{free:.0f} GB of disk are free; the environment and results need more")
    return facts, wrong


def main(arguments: list[str] | None = None) -> None:
    """Show what this machine has, and what the configured run will take."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--configfile", type=Path, default=PROJECT / "config/config.yaml")
    options = parser.parse_args(arguments)
    console = Console(markup=False, highlight=False)
    try:
        run = Run(yaml.safe_load(options.configfile.read_text()))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    results = Path(run.config["pathvars"]["results"]).absolute()
    facts, wrong = machine_facts(results)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table, "")
    costs = Table("data set", box=None, pad_edge=False, title=f"What {options.configfile} takes")
    for name in ("cases", "trainings", "GPU hours (A100)", "files", "disk without checkpoints"):
        costs.add_column(name, justify="right")
    for dataset in run.datasets:
        cases = results / dataset / "cases.csv"
        found = forecast(run, dataset, read_cases(cases) if cases.exists() else None)
        unknown = "known after `snakemake convert`"
        costs.add_row(
            dataset,
            unknown if found.cases is None else f"{found.cases:,}",
            str(found.trainings),
            "not measured" if found.hours is None else f"{found.hours:,.0f}",
            "" if found.files is None else f"{found.files:,}",
            "{:.2f} to {:.2f} GB".format(*found.gigabytes) if found.gigabytes else "",
        )
        free = shutil.disk_usage(next(p for p in (results, *results.parents) if p.exists())).free
        if found.gigabytes and found.gigabytes[1] > free / 1e9:
            wrong.append(f"{dataset} may take {found.gigabytes[1]:.0f} GB, more than are free")
        if found.hours and found.hours > 24 and not count_gpus():
            wrong.append(f"{dataset}: {found.hours:,.0f} hours of a GPU, and there is none here")
    console.print(costs, "")
    for text in wrong:
        console.print(f"Beware: {text}")
    if not wrong:
        console.print("Nothing is missing.")


if __name__ == "__main__":
    main()
