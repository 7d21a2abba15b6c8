"""The training of fold 0 of a prepared project, by its command line: whole, or interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from project import Project


def folder_of(project: Project, model: str = "long", configuration: str = "3d_fullres") -> Path:
    """Return nnU-Net's folder of fold 0."""
    name = f"SegflowTrainer__{model}__{configuration}"
    return project.results / "nnUNet_results/Dataset004_hippocampus" / name / "fold_0"


def start(project: Project, *options: str, model: str = "long") -> subprocess.Popen:
    """Start a training."""
    results = Path("results/hippocampus")
    preprocessed = (project.folder / results / "preprocessed").glob("*/train.csv")
    configuration = yaml.safe_load((project.folder / f"config/models/{model}.yaml").read_text())
    (table,) = (
        path for path in preprocessed if path.parent.name.endswith(configuration["configuration"])
    )
    command = [sys.executable, "-m", "train_fold", "--nnunet-name", "Dataset004_hippocampus"]
    command += ["--plans", results / model / "plans.json", "--results", "results", "--fold", "0"]
    command += ["--splits", results / "splits.json", "--threads", "1", "--device", "cpu"]
    command += ["--preprocessed", table, "--manifest", "training.json"]
    command += ["--progress", "progress.csv", *options]
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(project.folder / "workflow/scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train(project: Project, *options: str, model: str = "long") -> str:
    """Train to the end and return what is printed."""
    process = start(project, *options, model=model)
    text = process.communicate()[0]
    assert process.returncode == 0, text
    return text


def interrupt(project: Project, number: signal.Signals, n_epochs: int, folder: Path, **of) -> str:
    """Send a signal in the epoch after `n_epochs` and return what is printed."""
    process = start(project, **of)
    progress = folder / "progress.csv"
    while process.poll() is None and not (
        progress.exists() and len(progress.read_text().splitlines()) > n_epochs
    ):
        time.sleep(0.05)
    process.send_signal(number)
    text = process.communicate()[0]
    assert process.returncode != 0, text
    return text


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights at the end of a training."""
    return torch.load(folder / "checkpoint_final.pth", weights_only=False)["network_weights"]
