"""What must hold on a GPU. A check is a function that takes a `Bench` and yields `Row`s."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from experiment import CONFIGURATION, NNUNET_NAME, Bench, Experiment
from segflow.files.content import file_sha256, read_json
from segflow.images.probabilities import read_probabilities
from segflow.jobs.devices import read_leases

MANY_EPOCHS = 10_000
LARGEST_DIFFERENCE = 0.02  # float16 on the GPU, float32 on the CPU
EQUAL_SHARE = 0.999


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``peer`` is the same measured of what it is compared with; ``ratio`` is larger than one where we
    are better.
    """

    check: str
    value: float | str
    unit: str = ""
    peer: float | str = ""
    ratio: float | str = ""
    ok: bool = True


def check_resuming(bench: Bench) -> Iterator[Row]:
    """A training with loader workers and mixed precision is stopped, goes on and ends complete."""
    experiment = bench.experiment("resuming")
    with experiment.training(0) as job:
        job.wait_for(lambda: job.n_epochs >= 1)
        job.process.terminate()
        job.process.wait(60)
        said, n_survivors = job.said, job.survivors()
        n_before = job.n_epochs
    stopped = "stopped by SIGTERM; the checkpoint is written" in said
    yield Row("stopped by SIGTERM after", n_before, "epochs", ok=stopped)
    yield Row("processes left after SIGTERM", n_survivors, ok=n_survivors == 0)
    workers = re.search(r"loading: (\d+) worker", said)
    n_workers = int(workers[1]) if workers else 0
    yield Row("loader workers", n_workers, ok=bench.rehearsal or n_workers > 0)
    with experiment.training(0) as job:
        job.finish()
        said, n_epochs = job.said, job.n_epochs
    whole = n_epochs == _n_epochs(experiment) and "training goes on from here" in said
    yield Row("resumed to the end", n_epochs, "epochs", ok=whole)
    fold = experiment.trained / "fold_0"
    hashes = read_json(experiment.manifest(0))["checkpoints"]
    equal = [file_sha256(fold / f"checkpoint_{name}.pth") == hashes[name] for name in hashes]
    yield Row("checkpoints with the hash of training.json", sum(equal), ok=sum(equal) == 2)
    scaler = _checkpoint(fold)["grad_scaler_state"]
    scale = scaler["scale"] if scaler else 0
    yield Row("mixed precision: scale of the gradients", scale, ok=bench.rehearsal or scale > 0)


def check_leases(bench: Bench) -> Iterator[Row]:
    """The lease names the device, another training waits, `make status` shows it."""
    experiment = bench.experiment("leases")
    experiment.lengthen(MANY_EPOCHS)
    experiment.record_start(0)
    with experiment.training(0) as job:
        job.wait_for(lambda: job.n_epochs >= 1)
        leased = [name for lease in read_leases(experiment.leases) for name in lease["devices"]]
        yield Row("leased device", " ".join(leased), peer=bench.gpu, ok=leased == [bench.gpu])
        start = time.perf_counter()
        text = experiment.status()
        seconds = time.perf_counter() - start
        pattern = rf"{experiment.model} fold 0 +running +\d+/{MANY_EPOCHS} .*{re.escape(bench.gpu)}"
        shown = bool(re.search(pattern, text))
        if not shown:
            print(text)
        yield Row("make status shows the training", seconds, "s", ok=shown)
        message = f"waiting for a GPU; leased: {bench.gpu} by process {job.process.pid} "
        with experiment.training(1) as other:
            other.wait_for(lambda: "waiting for a GPU" in other.said)
            yield Row("trainings that wait for the device", 1, ok=message in other.said)
    n_left = len(read_leases(experiment.leases))
    yield Row("leases left after SIGKILL", n_left, ok=n_left == 0)


def check_sharing(bench: Bench) -> Iterator[Row]:
    """Two trainings share the device and both end complete."""
    experiment = bench.experiment("sharing")
    threads = max(1, os.cpu_count() // 2)
    with ExitStack() as stack:
        jobs = [
            stack.enter_context(experiment.training(fold, "--gpu-share", "2", threads=threads))
            for fold in (0, 1)
        ]
        jobs[0].wait_for(lambda: len(read_leases(experiment.leases)) == 2)
        devices = {name for one in read_leases(experiment.leases) for name in one["devices"]}
        yield Row("devices of two trainings", len(devices), ok=devices == {bench.gpu})
        for job in jobs:
            job.finish()
    folds = [experiment.trained / f"fold_{fold}" for fold in (0, 1)]
    times = [_epoch_times(fold) for fold in folds]
    together = min(each[-1][1] for each in times) - max(each[0][0] for each in times)
    yield Row("both trained at the same time for", together, "s", ok=together > 0)
    rate = sum(_rate(experiment, fold) for fold in folds)
    alone = _rate(bench.trained, bench.trained.trained / "fold_0")
    yield Row("two trainings beside one", rate, "iterations/s", alone, rate / alone)


def check_prediction(bench: Bench) -> Iterator[Row]:
    """The device predicts what the CPU predicts."""
    experiment = bench.trained
    ours, cpu = experiment.predict(experiment.device), experiment.predict("cpu")
    largest, n_equal, n_voxels = 0.0, 0, 0
    paths = sorted(cpu.glob("*.b2nd"))
    for path in paths:
        one, other = read_probabilities(ours / path.name), read_probabilities(path)
        largest = max(largest, float(np.abs(one - other).max()))
        n_equal += int((one.argmax(0) == other.argmax(0)).sum())
        n_voxels += one[0].size
    yield Row("cases predicted on the device and on the CPU", len(paths), ok=len(paths) > 0)
    ok = largest <= LARGEST_DIFFERENCE
    yield Row("largest difference of a probability", largest, peer=LARGEST_DIFFERENCE, ok=ok)
    share = n_equal / n_voxels
    yield Row("voxels of the same label", share, peer=EQUAL_SHARE, ok=share >= EQUAL_SHARE)


def check_training_speed(bench: Bench) -> Iterator[Row]:
    """Iterations per second beside nnU-Net's trainer, each with its own choice of workers."""
    experiment = bench.trained
    experiment.call("train", experiment.model, "cpu" if bench.rehearsal else "cuda")
    name = f"nnUNetTrainer__{experiment.model}__{CONFIGURATION}"
    peer = experiment.results / "nnUNet_results" / NNUNET_NAME / name / "fold_0"
    ours, theirs = (_rate(experiment, fold) for fold in (experiment.trained / "fold_0", peer))
    yield Row("training beside nnUNetTrainer", ours, "iterations/s", theirs, ours / theirs)


def check_prediction_speed(bench: Bench) -> Iterator[Row]:
    """Seconds a case beside nnU-Net's predictor case by case, which writes nothing."""
    experiment = bench.trained
    said = experiment.call("predict", experiment.model, "cpu" if bench.rehearsal else "cuda")
    ours, theirs = map(float, said.split())
    yield Row("prediction beside nnUNetPredictor", ours, "s/case", theirs, theirs / ours)


def check_export(bench: Bench) -> Iterator[Row]:
    """Seconds from the logits of a large case to its label map, beside nnU-Net's export."""
    where = ["cpu", "20", "40", "40"] if bench.rehearsal else ["cuda"]
    said = bench.trained.call("export", *where)
    ours, theirs, equal = map(float, said.split())
    yield Row("export of a large case beside nnU-Net's", ours, "s/case", theirs, theirs / ours)
    yield Row("voxels of the same label", equal, peer=EQUAL_SHARE, ok=equal >= EQUAL_SHARE)


CHECKS = {
    "resuming": check_resuming,
    "leases": check_leases,
    "sharing": check_sharing,
    "prediction": check_prediction,
    "training_speed": check_training_speed,
    "prediction_speed": check_prediction_speed,
    "export": check_export,
}


def _training(experiment: Experiment) -> dict:
    plans = read_json(experiment.results / f"hippocampus/{experiment.model}/plans.json")
    return plans["segflow"]["training"]


def _n_epochs(experiment: Experiment) -> int:
    return _training(experiment)["epochs"]


def _checkpoint(fold: Path) -> dict:
    return torch.load(fold / "checkpoint_final.pth", map_location="cpu", weights_only=False)


def _epoch_times(fold: Path) -> list[tuple[float, float]]:
    """Return when each epoch of a training began and ended, as nnU-Net logs it."""
    log = _checkpoint(fold)["logging"]
    return list(zip(log["epoch_start_timestamps"], log["epoch_end_timestamps"], strict=True))


def _rate(experiment: Experiment, fold: Path) -> float:
    """Return the iterations per second of a training, without the first epoch, which warms up."""
    seconds = median(end - start for start, end in _epoch_times(fold)[1:])
    return _training(experiment)["iterations_per_epoch"] / seconds
