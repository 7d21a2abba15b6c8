"""What is said of a run, beside what Snakemake says."""

import html
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import show_status
from browser import browsing, find_browser
from project import MODELS
from segflow.files.content import replacing


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


@pytest.mark.slow
def test_a_page_of_a_finished_run_says_the_same_and_stays(finished):
    text = status(finished, "--page")
    assert "results/status.html" in text
    page = (finished.results / "status.html").read_text()
    for line in status(finished).splitlines()[2:-2]:
        assert html.escape(line.rstrip()) in re.sub("<[^>]*>", "", page)
    assert 'http-equiv="refresh"' not in page
    (finished.results / "status.html").unlink()


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")
def test_a_page_of_a_run_loads_itself_again(project, tmp_path, monkeypatch):
    """The page is written twice, as if the run went on; nobody serves it."""
    monkeypatch.chdir(project.folder)
    record = next(Path(".snakemake/segflow").glob("*.jsonl"))
    record.write_text("\n".join(record.read_text().splitlines()[:3]) + "\n")  # so it has not ended
    path = project.results / "status.html"
    run, starts = show_status._look()
    show_status.write_page(run, starts, path, 1.0)
    with browsing(tmp_path / "profile") as page:
        page.open(path)
        first = page.run("document.querySelector('p').textContent")
        assert "loads itself again" in first
        assert "train_fold" in page.run("document.querySelector('pre').textContent")
        text = path.read_text().replace("Written at", "Written again at")
        with replacing(path) as new:
            new.write_text(text)
        page.wait("document.querySelector('p')?.textContent.startsWith('Written again')")
        assert page.complaints == []
        outside = [url for url in page.requests if not url.startswith(("file:", "data:"))]
        assert outside == []
