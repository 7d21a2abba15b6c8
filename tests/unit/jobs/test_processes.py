import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segflow.jobs.folder_leases import process_start

COMMAND = """
import os, sys, time
from segflow.jobs.processes import end_cleanly

end_cleanly()
worker = os.fork()
if worker == 0:
    time.sleep(60)
    os._exit(0)
try:
    print(worker, flush=True)
    time.sleep(60)
finally:
    print("cleaned", flush=True)
"""


# A job that handles cases, all but one of which are done at once.
POOL = """
import os, time
from segflow.jobs.workers import map_cases

def work(number):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(60 * (number == 1))

list(map_cases(work, [1, 2], 2, "cases"))
"""


@pytest.fixture
def run(monkeypatch):
    """Start Python with a text; it is killed in the end."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "workflow" / "scripts"))
    started = []

    def start(text):
        command = [sys.executable, "-c", text]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def command(run):
    """A running command and its worker, which has had time to prepare itself."""
    process = run(COMMAND)
    worker = int(process.stdout.readline())
    time.sleep(0.5)
    return process, worker


def ends(pid):
    """Wait until a process is gone; say whether that was soon."""
    deadline = time.monotonic() + 10
    while process_start(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return process_start(pid) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_command_as_an_error_does(command, number):
    process, worker = command
    process.send_signal(number)
    assert process.stdout.readline() == "cleaned\n"
    assert process.wait() == 128 + number
    if sys.platform == "linux":
        assert ends(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of this")
def test_a_killed_command_takes_its_workers_along(command):
    process, worker = command
    process.kill()
    assert ends(worker)


def test_a_worker_leaves_the_end_to_its_parent(command):
    _, worker = command
    for number in (signal.SIGINT, signal.SIGUSR1):
        os.kill(worker, number)
    time.sleep(0.2)
    assert process_start(worker)
    os.kill(worker, signal.SIGTERM)
    assert ends(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of this")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_of_a_job_outlives_it(run, number):
    process = run(POOL)
    workers = {int(process.stdout.readline()) for _ in range(2)}
    process.send_signal(number)
    process.wait()
    assert all(map(ends, workers))
