"""The profile for SLURM, with the real SLURM: the queue, time limits, and a whole experiment."""

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from project import MODELS, ROOT, make_project
from slurm import Cluster, missing

PLUGIN = "snakemake_executor_plugin_slurm"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.skipif(importlib.util.find_spec(PLUGIN) is None, reason=f"no {PLUGIN}"),
]
# A first look after that many seconds; a job takes about ten, nearly all of it start-up.
PATIENCE = ["--slurm-init-seconds-before-status-checks", "12", "--latency-wait", "2"]
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

    def start(self, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm"]
        return subprocess.Popen(
            [*command, *PATIENCE, *options],
            cwd=self.folder,
            env=self.cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell that starts the tests in the background ignores interrupts for all of them.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *options: str, succeeds: bool = True) -> str:
        process = self.start(*options)
        text = process.communicate()[0]
        assert (process.returncode == 0) == succeeds, text[-6000:]
        return text

    def jobs(self, fold: int) -> list[dict[str, str]]:
        """Return what SLURM knows of the jobs of a fold, in the order of their start."""
        numbers = [path.suffixes[0][1:] for path in self.folder.glob(f"{fold}.*.job")]
        return [self.cluster.describe(number) for number in sorted(numbers, key=int)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    cluster.start()
    yield cluster
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
    process = queue.start("--config", "folds=4", "seconds=300")
    wait_until(lambda: len(queue.cluster.jobs("RUNNING")) == 2)
    wait_until(lambda: len(queue.cluster.jobs("PENDING")) == 2)
    process.send_signal(signal.SIGINT)
    text = process.communicate()[0]
    assert process.returncode != 0, text
    wait_until(lambda: not queue.cluster.jobs())


def test_an_experiment_runs_to_its_end_beside_a_training_of_many_jobs(tmp_path, cluster):
    models = {"tiny": MODELS["tiny_3d"], "endless": ENDLESS}
    project = make_project(tmp_path / "project", models)
    project.configure(folds=[0])
    metrics = "results/hippocampus/tiny/metrics.csv"
    process = Queue(project.folder, cluster).start(
        *(metrics, "results/hippocampus/endless/fold_0/training.json"),
        *("--set-resources", "train_fold:runtime=1440 if wildcards.model == 'tiny' else attempt"),
    )
    log = project.folder / "logs/hippocampus/endless/train_fold/0.log"
    wait_until(
        lambda: (
            process.poll() is not None
            or (
                (project.folder / metrics).exists()
                and log.exists()
                and "training goes on from here" in log.read_text()
            )
        ),
        seconds=900,
    )
    process.send_signal(signal.SIGINT)
    text = process.communicate()[0]
    assert "stopped by SIGUSR1; the checkpoint is written" in text
    assert "training goes on from here" in log.read_text()
    assert set(pd.read_csv(project.folder / metrics)["split"]) == {"val", "test"}
    assert project.planned(metrics) == set()


def wait_until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
