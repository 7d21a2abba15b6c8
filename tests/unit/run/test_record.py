import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from segflow.run.record import (
    ENDED,
    FAILED,
    FINISHED,
    FOLDER,
    STARTED,
    Job,
    read_starts,
    write_event,
    write_start,
)

CONFIG = {"datasets": ["hippocampus"], "seed": 1}
JOB = Job("train_fold", {"model": "m", "fold": "0"}, "results/out.json", Path("out.log"), True)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(name):
    return replace(JOB, output=f"results/{name}")


def write(path, seconds_ago):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def state(*events, signs=(), **changes):
    """Return the state of a job after events, each with the seconds since it happened."""
    record = write_start(FOLDER, CONFIG, [replace(JOB, **changes)])
    with record.open("a") as file:
        for event, seconds_ago in events:
            file.write(json.dumps([event, 0, time.time() - seconds_ago]) + "\n")
    return read_starts(FOLDER)[0].state(0, [Path(sign) for sign in signs])


def test_a_job_that_has_not_started_waits_whatever_files_there_are():
    write(JOB.output, 10)
    write(JOB.log, 10)
    assert state() == "waiting"


def test_a_job_that_is_not_needed_is_done():
    assert state(needed=False) == "done"


def test_the_last_event_counts():
    assert state((STARTED, 9), (FINISHED, 8)) == "done"
    assert state((STARTED, 9), (FAILED, 8)) == "failed"
    assert state((STARTED, 900), (FAILED, 800), (STARTED, 700)) == "queued"


def test_a_started_job_is_queued_until_it_writes_its_log():
    write(JOB.log, 1000)  # of an attempt before
    assert state((STARTED, 500)) == "queued"
    write(JOB.log, 400)
    assert state((STARTED, 500)) == "running"


def test_a_started_job_without_a_sign_of_life_is_silent():
    write(JOB.log, 4000)
    assert state((STARTED, 5000)) == "silent"
    assert state((STARTED, 5000), signs=["not_there.lease"]) == "silent"
    write("fold_0.lease", 5)
    assert state((STARTED, 5000), signs=["fold_0.lease"]) == "running"


def test_what_was_running_when_the_start_ended_is_a_failure_unless_its_output_is_there():
    write(JOB.log, 1)
    assert state((STARTED, 5), (ENDED, 1)) == "failed"
    write(JOB.output, 10)  # of a run before
    assert state((STARTED, 5), (ENDED, 1)) == "failed"
    write(JOB.output, 2)
    assert state((STARTED, 5), (ENDED, 1)) == "done"


def start_in_another_process(config, *names):
    """Record a start of a Snakemake that is gone without a word."""
    code = (
        "from pathlib import Path; from segflow.run.record import *; "
        f"write_start(FOLDER, {config!r}, [Job('r', {{}}, f'results/{{n}}', Path('l'), True) "
        f"for n in {names!r}])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def outputs():
    return [[job.output for job in start.jobs] for start in read_starts(FOLDER)]


def test_starts_of_one_run_add_up_and_a_later_one_that_knows_all_replaces_them():
    start_in_another_process(CONFIG, "a", "b")
    start_in_another_process({**CONFIG, "select": {"folds": [1]}}, "b")
    assert outputs() == [["results/b"], ["results/a", "results/b"]]
    write_start(FOLDER, CONFIG, [job("a"), job("b"), job("c")])
    assert outputs() == [["results/a", "results/b", "results/c"]]


def test_another_run_begins_anew():
    start_in_another_process(CONFIG, "a")
    write_start(FOLDER, {**CONFIG, "seed": 2}, [job("b")])
    assert outputs() == [["results/b"]]


def test_the_record_of_a_living_start_stays():
    write_start(FOLDER, CONFIG, [job("a")])
    start_in_another_process({**CONFIG, "seed": 2}, "a")
    assert len(list(FOLDER.iterdir())) == 2
    assert outputs() == [["results/a"]]


def test_torn_records_and_lines_are_passed_over():
    record = write_start(FOLDER, CONFIG, [job("a")])
    write_event(record, FINISHED, 0)
    record.write_text(record.read_text() + '["fail')
    (FOLDER / "torn.jsonl").write_text('{"config": {')
    (start,) = read_starts(FOLDER)
    assert start.state(0, []) == "done"
