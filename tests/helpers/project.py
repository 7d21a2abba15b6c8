"""Miniature experiments: a copy of the workflow with a few cases and tiny models of its own."""

import multiprocessing
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import yaml

ROOT = Path(__file__).parents[2]
HIPPOCAMPUS = ROOT / "resources" / "Task04_Hippocampus"
N_TRAINING, N_TEST = 8, 2
TINY = {
    "threads": 1,
    "prediction": {"mirroring": False},
    "training": {
        "schedule": "quick",
        "epochs": 2,
        "iterations_per_epoch": 2,
        "validation_iterations_per_epoch": 1,
        "augmentation": "none",
    },
}
MODELS = {
    "tiny_2d": {
        **TINY,
        "title": "Tiny 2D U-Net",
        "configuration": "2d",
        "overrides": {"batch_size": 2, "base_features": 4},
    },
    "tiny_3d": {
        **TINY,
        "title": "Tiny 3D U-Net",
        "configuration": "3d_fullres",
        "overrides": {"base_features": 4},
    },
}


LONG = {
    **TINY,
    "title": "A training long enough to be interrupted",
    "configuration": "3d_fullres",
    "overrides": {"base_features": 4},
    "training": {**TINY["training"], "epochs": 4, "iterations_per_epoch": 6},
}
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["snakemake.cli"])


def _run_snakemake(options: list[str], folder: Path, printed: str) -> None:
    """Be a Snakemake of its own: what it prints, where it works, its session."""
    file = os.open(printed, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(file, number)
    os.chdir(folder)
    from snakemake.cli import main

    main(options)


@dataclass
class Project:
    """A copy of the workflow with a small data set and small models of its own.

    The code is copied, so that tests may edit models, scripts and modules.
    """

    folder: Path
    results_name: str = "results"

    @property
    def results(self) -> Path:
        return self.folder / self.results_name

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    def snakemake(self, *options: str, check: bool = True) -> str:
        """Run the workflow and return what it prints.

        It runs in a process that is forked from one in which Snakemake is loaded already.
        """
        with NamedTemporaryFile("r") as printed:
            arguments = (["--cores", "2", *options], self.folder, printed.name)
            process = FORKING.Process(target=_run_snakemake, args=arguments)
            process.start()
            process.join()
            text = printed.read()
        assert (process.exitcode == 0) is check, text[-6000:]
        return text

    def planned(self, *options: str) -> set[str]:
        """Return the rules that a dry run would execute."""
        text = self.snakemake("--dry-run", *options)
        if "Nothing to be done" in text:
            return set()
        table = text.split("Job stats:")[1].split("total")[0].splitlines()
        return {line.split()[0] for line in table if line[-1:].isdigit()} - {"all"}

    def configure(self, **changes) -> None:
        """Change keys of the configuration."""
        self.edit("config/config.yaml", lambda config: config.update(changes))

    def edit(self, name: str, change) -> None:
        """Read a YAML file, let `change` work on it, and write it."""
        path = self.folder / name
        value = yaml.safe_load(path.read_text())
        change(value)
        path.write_text(yaml.safe_dump(value))

    def copy(self, target: Path) -> "Project":
        """Copy everything, results included, with the times of the files."""
        shutil.copytree(self.folder, target, symlinks=True)
        return Project(target)


def make_project(
    folder: Path,
    models: dict[str, dict] = MODELS,
    n_training: int = N_TRAINING,
    n_test: int = N_TEST,
    n_folds: int = 2,
) -> Project:
    """Make a project with hippocampus cases and `models`, all in one ensemble if several."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("rules", "workflow", "config", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("Snakefile", "CITATION.cff"):
        shutil.copy2(ROOT / name, folder)
    for part, count in (("Tr", n_training), ("Ts", n_test)):
        for kind in ("images", "labels"):
            (folder / "raw" / f"{kind}{part}").mkdir(parents=True)
            files = sorted((HIPPOCAMPUS / f"{kind}{part}").glob("*.nii.gz"))[:count]
            for path in files:
                shutil.copy2(path, folder / "raw" / f"{kind}{part}" / path.name)
    for name, model in models.items():
        (folder / "config/models" / f"{name}.yaml").write_text(yaml.safe_dump(model))
    config = {
        "datasets": ["hippocampus"],
        "models": list(models),
        "n_folds": n_folds,
        "raw_folders": {"hippocampus": "raw"},
    }
    if len(models) > 1:
        config["ensembles"] = {"both": {"members": list(models)}}
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    return Project(folder)
