"""A prepared experiment, and its jobs as the rules would start them, by command line."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil
import torch

from segflow.models.progress import read_progress
from segflow.run.record import FOLDER, STARTED, Job, write_event, write_start

ROOT = Path(__file__).parents[2]
DATASET, NNUNET_NAME = "hippocampus", "Dataset004_hippocampus"
CONFIGURATION = "3d_fullres"
PREPROCESSED = "nnUNetPlans_3d_fullres"
PATIENCE_SECONDS = 120  # in which anything that is waited for must have happened


@dataclass
class Running:
    """A job that was started."""

    process: subprocess.Popen
    log: Path
    progress: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def n_epochs(self) -> int:
        return len(read_progress(self.progress))

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Wait until something happens while the job runs."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not happened():
            if not self.is_alive or time.monotonic() > end:
                self.fail("runs on without it" if self.is_alive else "ended before")
            time.sleep(0.05)

    def finish(self) -> None:
        """Wait for the end, which must be a good one."""
        if self.process.wait(PATIENCE_SECONDS):
            self.fail("failed")

    def fail(self, what: str) -> None:
        raise RuntimeError(f"{self.log}: the job {what}; it said:\n{self.said[-3000:]}")

    def survivors(self) -> int:
        """Return how many of its processes live on, a moment after its end."""
        time.sleep(2)
        return sum(_is_of_group(process, self.process.pid) for process in psutil.process_iter())


def _is_of_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@dataclass
class Experiment:
    """A folder in which everything before training is done, for one model."""

    folder: Path
    model: str
    device: str
    environment: dict[str, str]

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def leases(self) -> Path:
        return Path(self.environment["SEGFLOW_GPU_LEASES"])

    @property
    def trained(self) -> Path:
        """nnU-Net's folder of the trained model."""
        name = f"SegflowTrainer__{self.model}__{CONFIGURATION}"
        return self.results / "nnUNet_results" / NNUNET_NAME / name

    def manifest(self, fold: int) -> Path:
        return self.results / DATASET / self.model / f"fold_{fold}/training.json"

    def lengthen(self, n_epochs: int) -> None:
        """Let trainings take so many epochs."""
        plans = self.results / "nnUNet_preprocessed" / NNUNET_NAME / f"{self.model}.json"
        copy = self.results / DATASET / self.model / "plans.json"
        for path in (plans, copy, self.folder / f"config/models/{self.model}.yaml"):
            path.write_text(re.sub(r'(\bepochs"?: )\d+', rf"\g<1>{n_epochs}", path.read_text()))

    @contextmanager
    def training(self, fold: int, *options: str, threads: int | None = None) -> Iterator[Running]:
        """Start the training of a fold; it is killed when the block is left."""
        made = self.manifest(fold).parent
        made.mkdir(parents=True, exist_ok=True)
        command = [*self._command("train_fold", fold), "--device", self.device]
        command += ["--threads", threads or os.cpu_count(), "--manifest", self.manifest(fold)]
        command += ["--splits", self._splits, "--progress", made / "progress.csv", *options]
        progress = self.trained / f"fold_{fold}/progress.csv"
        with self._started(command, self.job(fold).log, progress) as running:
            yield running

    def predict(self, device: str) -> Path:
        """Predict the validation cases of fold 0 on a device; return the folder."""
        target = self.results / DATASET / self.model / f"probabilities/{device}"
        command = [*self._command("predict_fold", 0), "--training", self.manifest(0)]
        command += ["--splits", self._splits, "--preprocessing", PREPROCESSED]
        command += ["--device", device, "--threads", os.cpu_count(), "--folder", target]
        command += ["--manifest", target.with_suffix(".csv")]
        with self._started(command, Path(f"logs/predict_{device}.log"), Path()) as running:
            running.finish()
        return target

    def call(self, function: str, *arguments: str | Path) -> str:
        """Call a function of `peers` in a process of its own; return its last line."""
        code = f"import sys, peers; peers.{function}(*sys.argv[1:])"
        with self._started(["-c", code, *arguments], Path(f"logs/{function}.log"), Path()) as call:
            call.finish()
            return call.said.strip().splitlines()[-1]

    def job(self, fold: int) -> Job:
        """Return the training of a fold as Snakemake's record names it."""
        return Job(
            "train_fold",
            {"dataset": DATASET, "model": self.model, "fold": str(fold)},
            str(self.manifest(fold).relative_to(self.folder)),
            Path(f"logs/{DATASET}/{self.model}/train_fold/{fold}.log"),
            needed=True,
        )

    def record_start(self, fold: int) -> None:
        """Record that the training of a fold was started, as Snakemake would."""
        config = json.loads((self.folder / "config.json").read_text())
        write_event(write_start(self.folder / FOLDER, config, [self.job(fold)]), STARTED, 0)

    def status(self) -> str:
        """Return what `make status` shows."""
        command = [sys.executable, "-m", "show_status"]
        run = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        return run.stdout + run.stderr

    @property
    def _splits(self) -> Path:
        return self.results / DATASET / "splits.json"

    def _command(self, script: str, fold: int) -> list:
        found = self.results / DATASET
        command = ["-m", script, "--plans", found / self.model / "plans.json"]
        command += ["--nnunet-name", NNUNET_NAME, "--results", "results", "--fold", fold]
        return [*command, "--preprocessed", found / "preprocessed" / PREPROCESSED / "train.csv"]

    @contextmanager
    def _started(self, command: list, log: Path, progress: Path) -> Iterator[Running]:
        """Start Python with its output in a log; nothing of it outlives the block."""
        path = self.folder / log
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process, path, progress)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass
class Bench:
    """What all checks share: the bundle's project, a folder to work in, and where to compute."""

    source: Path
    work: Path
    paths: list[str]
    rehearsal: bool
    gpu: str

    def experiment(self, name: str) -> Experiment:
        """Return an experiment of its own for a check."""
        folder = self.work / name
        shutil.copytree(self.source, folder)
        # The library looks for the configuration beside itself.
        shutil.copytree(ROOT / "workflow", folder / "workflow")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*self.paths, str(folder / "workflow/scripts")]),
            "SEGFLOW_GPU_LEASES": str(folder / "leases"),
            "nnUNet_compile": "false",
        }
        if self.rehearsal:
            environment["PATH"] = f"{self.work / 'bin'}{os.pathsep}{environment['PATH']}"
            environment["nnUNet_n_proc_DA"] = "0"  # as our training does on the CPU
        # Only `auto` leases a device and then does without it.
        device = "auto" if self.rehearsal else "cuda"
        return Experiment(folder, "tiny" if self.rehearsal else "full", device, environment)

    @cached_property
    def trained(self) -> Experiment:
        """An experiment whose fold 0 was trained alone and undisturbed."""
        experiment = self.experiment("trained")
        with experiment.training(0) as job:
            job.finish()
        return experiment


def find_gpu() -> str:
    """Return the name that the first device should have, by PyTorch and not by nvidia-smi."""
    return f"GPU-{torch.cuda.get_device_properties(0).uuid}"


def fake_gpu(folder: Path) -> str:
    """Put an nvidia-smi that lists one device into a folder, and return the device's name."""
    name = "GPU-00000000-0000-0000-0000-00000000cafe"
    folder.mkdir(parents=True)
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "GPU 0: Rehearsal (UUID: {name})"\n')
    program.chmod(0o755)
    return name
