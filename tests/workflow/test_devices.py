"""Devices and folds that several jobs want at once, and a fold that several devices train."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from segflow.files.content import read_json, write_json
from segflow.jobs.devices import leased_devices
from segflow.jobs.folder_leases import held

pytestmark = pytest.mark.slow
FOLDER = "results/nnUNet_results/Dataset004_hippocampus/SegflowTrainer__tiny_3d__3d_fullres/fold_0"
# Trains a fold in two processes on the CPU. nnU-Net takes it for granted that each has a GPU.
RANKS = """
import os
from pathlib import Path

from segflow.files.content import read_json
from segflow.jobs.interruption import Interrupted
from segflow.models import training
from segflow.models.checkpoints import find_start
from segflow.models.nnunet import use_folders
from segflow.jobs.distributed import run_ranks

NAME = "Dataset004_hippocampus"


def train_on_cpu(*arguments):
    from nnunetv2.run import run_training
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    get_trainer, wrap = run_training.get_trainer_from_args, module.DDP

    def get_cpu_trainer(*given, device):
        trainer = get_trainer(*given, device=device)
        trainer.device, trainer.grad_scaler = device, None
        return trainer

    run_training.get_trainer_from_args = get_cpu_trainer
    module.DDP = lambda network, device_ids: wrap(network)
    training.run_trainer(*arguments)


if __name__ == "__main__":
    results = Path("results")
    use_folders(results)
    os.environ["nnUNet_n_proc_DA"] = "0"
    plans = read_json(results / "hippocampus/tiny_3d/plans.json")
    folder = training.fold_folder(results, NAME, plans, 0)
    start = find_start(folder, {"seed": "1"})
    print("start:", start and start.name, flush=True)
    arguments = (NAME, plans, 0, {"seed": "1"}, {}, {}, start)
    try:
        run_ranks(2, "gloo", train_on_cpu, arguments)
        print("interruption: None", flush=True)
    except Interrupted as reason:
        print("interruption:", reason, flush=True)
"""


@pytest.fixture
def project(prepared, tmp_path):
    """Return a copy that a test may change."""
    project = prepared.copy(tmp_path / "project")
    project.configure(models=["tiny_3d"], ensembles={})
    return project


def test_trainings_wait_for_devices_of_their_own(project, monkeypatch, tmp_path):
    """Snakemake believes in two devices; another job has leased both."""
    monkeypatch.setenv("SEGFLOW_GPU_LEASES", str(tmp_path / "leases"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    logs = [project.folder / f"logs/hippocampus/tiny_3d/train_fold/{fold}.log" for fold in (0, 1)]
    command = [sys.executable, "-m", "snakemake", "train", "--cores", "2", "--resources", "gpu=2"]
    with leased_devices(2):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        run = subprocess.Popen(
            command,
            cwd=project.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        message = f"waiting for a GPU; leased: 0 1 by process {os.getpid()} of"
        while run.poll() is None and not all(p.exists() and message in p.read_text() for p in logs):
            time.sleep(0.1)
    text = run.communicate()[0]
    assert run.returncode == 0, text
    devices = [re.findall(r"^GPU: (.+)$", path.read_text(), re.MULTILINE) for path in logs]
    assert sorted(devices) == [["0"], ["1"]]
    assert list((tmp_path / "leases").iterdir()) == []


def test_a_fold_that_is_in_use_is_left_alone(project):
    folder = project.folder / FOLDER
    folder.mkdir(parents=True)
    with held(folder):
        text = project.snakemake("train", "--config", "select={folds: [0]}", check=False)
    assert f"fold_0.lease: the folder is in use by process {os.getpid()} on " in text
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="several GPUs of one fold need Linux")
def test_processes_that_share_a_batch_stop_and_go_on_together(project):
    path = project.results / "nnUNet_preprocessed/Dataset004_hippocampus/tiny_3d.json"
    plans = read_json(path)
    plans["segflow"]["training"] |= {"iterations_per_epoch": 4}
    plans["segflow"]["deep_supervision"] = False  # outputs of lower resolution get no gradient
    write_json(path, plans)
    script = project.folder / "ranks.py"
    script.write_text(RANKS)

    def start():
        return subprocess.Popen(
            [sys.executable, script],
            cwd=project.folder,
            env={**os.environ, "PYTHONPATH": str(project.folder / "workflow/scripts")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    process = start()
    progress = project.folder / FOLDER / "progress.csv"
    while process.poll() is None and not progress.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    text = process.communicate()[0]
    assert "interruption: stopped by SIGTERM" in text, text
    state = torch.load(project.folder / FOLDER / "checkpoint_latest.pth", weights_only=False)
    first, second = state["segflow"]["ranks"]
    assert not torch.equal(first["random"]["torch"], second["random"]["torch"])

    process = start()
    text = process.communicate()[0]
    assert "start: checkpoint_latest.pth" in text, text
    assert "interruption: None" in text, text
    assert len(progress.read_text().splitlines()) == 3
    final = torch.load(project.folder / FOLDER / "checkpoint_final.pth", weights_only=False)
    assert not any(name.startswith("module.") for name in final["network_weights"])
