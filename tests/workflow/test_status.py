"""What is said of a run, beside what Snakemake says."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from project import MODELS


def status(project, *options: str) -> str:
    command = [sys.executable, "-m", "show_status", *options]
    environment = {"PYTHONPATH": str(project.folder / "workflow/scripts")}
    return subprocess.run(
        command, cwd=project.folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


def counts(text: str) -> dict[str, int]:
    """Return the last number of each line that begins with the name of a rule."""
    return {name: int(n) for name, n in re.findall(r"^(\w+_\w+) .*?(\d+)$", text, re.MULTILINE)}


@pytest.mark.slow
def test_the_jobs_are_those_of_the_start(fresh):
    planned = fresh.snakemake("--dry-run", "plan").split("Job stats:")[1].split("total")[0]
    fresh.snakemake("plan", "--config", "select={models: [tiny_2d]}")
    fresh.snakemake("plan", "--config", "select={models: [tiny_3d]}")
    text = status(fresh)
    assert counts(text) == counts(planned)
    assert re.match(r"as started on 20\S+ \S+: 1 data set, 2 models, 2 folds", text)
    assert re.search(r"^all +(\d+) +\1$", text, re.MULTILINE)


@pytest.mark.slow
def test_a_finished_run_is_done(finished):
    text = status(finished)
    assert re.search(r"^all +(\d+) +\1$", text, re.MULTILINE)
    for model in MODELS:
        assert re.search(rf"^hippocampus {model} fold 1 +done +2/2 +0\.\d\d\d ", text, re.MULTILINE)


@pytest.mark.slow
def test_a_training_is_seen_while_it_goes_on_and_after_it_was_killed(project):
    training = {"epochs": 10_000, "iterations_per_epoch": 1}
    project.edit("config/models/tiny_2d.yaml", lambda model: model["training"].update(training))
    target = "results/hippocampus/tiny_2d/fold_0/training.json"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", target]
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 300
        while not re.search(r"tiny_2d fold 0 +running +\d+/10000 .* min", status(project)):
            assert process.poll() is None
            assert time.monotonic() < end
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    text = status(project)
    assert re.search(r"tiny_2d fold 0 +failed +\d+/10000 ", text)
    assert "logs/hippocampus/tiny_2d/train_fold/0.log" in text
