"""The profile for SLURM, with the real SLURM: the queue, time limits, and a whole experiment."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from project import MODELS, ROOT, make_project
from slurm import Cluster, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
# A first look after that many seconds, then after 15 and 25 more; a job takes ten or more.
PATIENCE = ["--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "2"]
QUEUE = """
rule all:
    input: expand("{fold}.txt", fold=range(config["folds"]))
    localrule: True

rule train_fold:
    output: "{fold}.txt"
    threads: 2
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 600 * attempt,
    shell: "python work.py {wildcards.fold} {config[seconds]} && touch {output}"
"""
WORK = """
import os, sys, time
from pathlib import Path

fold, seconds = sys.argv[1:]
job = os.environ["SLURM_JOB_ID"]
Path(f"{fold}.{job}.job").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
time.sleep(float(seconds))
sys.exit(Path(f"broken_{fold}").exists())
"""
ENDLESS = {**MODELS["tiny_3d"], "training": {**MODELS["tiny_3d"]["training"], "epochs": 100_000}}


@dataclass
class Queue:
    """A workflow of jobs that sleep, under the profile."""

    folder: Path
    cluster: Cluster

    @contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen]:
        """Start Snakemake for the length of a block; what it prints is in `output`."""
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm"]
        # Not a pipe: it would fill and stop Snakemake while nobody reads.
        with self.output.open("w") as file:
            process = subprocess.Popen(
                [*command, *PATIENCE, *options],
                cwd=self.folder,
                env=self.cluster.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                # A shell that starts the tests in the background lets all ignore interrupts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def output(self) -> Path:
        return self.folder / "output.txt"

    def run(self, *options: str, succeeds: bool = True) -> str:
        with self.running(*options) as process:
            process.wait()
        text = self.output.read_text()
        assert (process.returncode == 0) == succeeds, text[-6000:]
        return text

    def jobs(self, fold: int) -> list[dict[str, str]]:
        """Return what SLURM knows of the jobs of a fold, in the order of their start."""
        numbers = [path.suffixes[0][1:] for path in self.folder.glob(f"{fold}.*.job")]
        return [self.cluster.describe(number) for number in sorted(numbers, key=int)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def queue(tmp_path, cluster) -> Queue:
    (tmp_path / "Snakefile").write_text(QUEUE)
    (tmp_path / "work.py").write_text(WORK)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    return Queue(tmp_path, cluster)


def test_gpu_jobs_take_turns_and_one_failure_leaves_the_others(queue):
    (queue.folder / "broken_1").touch()
    options = ["--resources", "runtime=900", "--retries", "1"]
    options += ["--config", "folds=3", "seconds=2"]
    queue.run(*options, succeeds=False)
    jobs = {fold: queue.jobs(fold) for fold in range(3)}
    assert [len(jobs[fold]) for fold in range(3)] == [1, 2, 1]
    assert [(queue.folder / f"{fold}.txt").exists() for fold in range(3)] == [True, False, True]

    spans: dict[str, list[tuple[str, str]]] = {"n1": [], "n2": []}
    for job in (job for of_fold in jobs.values() for job in of_fold):
        spans[job["NodeList"]].append((job["StartTime"], job["EndTime"]))
    for of_node in spans.values():  # a node has one GPU, so one job at a time
        assert all(one[1] <= other[0] for one, other in pairwise(sorted(of_node)))
    one, other = (min(of_node) for of_node in spans.values())
    assert max(one[0], other[0]) < min(one[1], other[1])
    devices = {path.read_text() for path in queue.folder.glob("*.job")}
    assert devices == {"0"}

    first, second = jobs[1]
    assert (first["NumCPUs"], first["NumNodes"]) == ("2", "1")
    assert first["TresPerJob"] == "gres:gpu:1"
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("1000M", "2000M")
    # Time grows up to the limit that is set.
    assert (first["TimeLimit"], second["TimeLimit"]) == ("10:00:00", "15:00:00")

    (queue.folder / "broken_1").unlink()
    text = queue.run(*options)
    assert re.search(r"train_fold +1\n", text)
    assert [len(queue.jobs(fold)) for fold in range(3)] == [1, 3, 1]


def test_an_interrupt_empties_the_queue(queue):
    with queue.running("--config", "folds=4", "seconds=300") as process:
        wait_until(lambda: len(queue.cluster.jobs("RUNNING")) == 2)
        wait_until(lambda: len(queue.cluster.jobs("PENDING")) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait() != 0
    wait_until(lambda: not queue.cluster.jobs())


def test_an_experiment_runs_to_its_end_beside_a_training_of_many_jobs(tmp_path, cluster):
    models = {"tiny": MODELS["tiny_3d"], "endless": ENDLESS}
    project = make_project(tmp_path / "project", models)
    project.configure(folds=[0])
    # As on a login node that allows it; each job of SLURM costs ten seconds and more.
    project.snakemake("preprocess", "split", "plan")
    queue = Queue(project.folder, cluster)
    metrics = project.results / "hippocampus/tiny/metrics.csv"
    target = str(metrics.relative_to(project.folder))
    log = project.folder / "logs/hippocampus/endless/train_fold/0.log"
    options = [target, "results/hippocampus/endless/fold_0/training.json", "--retries", "8"]
    limit = "train_fold:runtime=1440 if wildcards.model == 'tiny' else attempt"
    with queue.running(*options, "--set-resources", limit) as process:
        seen = set()
        # The table may be there before Snakemake knows; an interrupt would remove it then.
        while not (
            "(Rule: evaluate_predictor)" in queue.output.read_text()
            and "training goes on from here" in seen
        ):
            assert process.poll() is None, queue.output.read_text()[-6000:]
            text = log.read_text() if log.exists() else ""
            seen |= {line.split(": ")[-1] for line in text.splitlines()}
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.wait()
    # The training ends itself before its job is ended, and the next job goes on.
    assert "stopped by SIGUSR1; the checkpoint is written, run again to go on" in seen
    assert set(pd.read_csv(metrics)["split"]) == {"val", "test"}
    assert project.planned(target) == set()


def wait_until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
