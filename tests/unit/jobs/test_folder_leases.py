import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from segflow.jobs.folder_leases import held, process_start

HEARTBEAT, SILENCE = 0.1, 2.0
HOLDER = """
import sys, time
from pathlib import Path
from segflow.jobs.folder_leases import held

with held(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])):
    print("held", flush=True)
    sys.stdin.readline()
print("returned", flush=True)
"""
CONTENDER = """
import sys, time
from pathlib import Path
from segflow.jobs.folder_leases import held

try:
    with held(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])):
        began = time.monotonic()
        time.sleep(2)
        print(began, time.monotonic(), flush=True)
except RuntimeError as error:
    assert "in use" in str(error)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "fold_0"


@pytest.fixture
def start(folder):
    """Start processes that hold the lease; those that are left are killed at the end."""
    processes = []

    def start(script=HOLDER, wait=True):
        command = [sys.executable, "-c", script, folder, str(HEARTBEAT), str(SILENCE)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        if wait:
            assert process.stdout.readline() == "held\n", process.stderr.read()
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def library(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "workflow" / "scripts"))


def lease(folder):
    return folder.with_name(f"{folder.name}.lease")


def move_elsewhere(folder):
    """Let the lease say that its owner is on another host."""
    path = lease(folder)
    path.write_text(re.sub(r'"place": "[^"]*"', '"place": "elsewhere"', path.read_text()))


def take(folder):
    with held(folder, HEARTBEAT, SILENCE):
        assert json.loads(lease(folder).read_text())["pid"] == os.getpid()


def test_a_living_owner_is_named(folder, start):
    owner = start()
    expected = rf"fold_0.lease: the folder is in use by process {owner.pid} on \S+ since 20.*; wait"
    with pytest.raises(RuntimeError, match=expected):
        take(folder)
    assert not owner.communicate("\n")[1]
    take(folder)


def test_the_lease_is_returned_after_an_error(folder):
    def fail():
        with held(folder):
            assert lease(folder).exists()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not lease(folder).exists()


def test_the_folder_may_be_removed_meanwhile(folder):
    folder.mkdir()
    with held(folder, HEARTBEAT):
        shutil.rmtree(folder)
        time.sleep(3 * HEARTBEAT)
    assert list(folder.parent.iterdir()) == []


def test_a_killed_owner_is_followed_at_once(folder, start):
    owner = start()
    owner.kill()
    owner.wait()
    began = time.monotonic()
    take(folder)
    assert time.monotonic() - began < SILENCE


def test_a_number_that_another_process_got_is_no_sign_of_life(folder, start):
    owner = start()
    facts = json.loads(lease(folder).read_text())
    owner.kill()
    lease(folder).write_text(json.dumps({**facts, "pid": os.getpid()}))
    take(folder)


def test_a_dead_process_that_nobody_waited_for_does_not_run(start):
    owner = start()
    assert process_start(owner.pid) is not None
    owner.kill()
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
    assert process_start(owner.pid) is None


def test_an_owner_elsewhere_lives_while_it_gives_signs_of_life(folder, start, capsys):
    owner = start()
    move_elsewhere(folder)
    with pytest.raises(RuntimeError, match=f"in use by process {owner.pid} on .*seen just now"):
        take(folder)
    assert "watching for a sign of life for up to 2 s" in capsys.readouterr().err
    assert owner.poll() is None


def test_an_owner_elsewhere_is_followed_after_a_silence(folder, start):
    start().kill()
    move_elsewhere(folder)
    began = time.monotonic()
    take(folder)
    assert SILENCE <= time.monotonic() - began < SILENCE + 5


def test_an_owner_that_stood_still_ends_when_it_finds_another(folder, start):
    owner = start()
    owner.send_signal(signal.SIGSTOP)
    move_elsewhere(folder)
    with held(folder, HEARTBEAT, SILENCE):
        owner.send_signal(signal.SIGCONT)
        assert owner.wait() == 1
        assert "taken by another job; this one stops at once" in owner.stderr.read()
    assert not lease(folder).exists()


@pytest.mark.parametrize("seconds", [-1e6, 1e6])
def test_a_wrong_clock_changes_nothing(folder, start, seconds):
    owner = start()
    os.utime(lease(folder), (time.time() + seconds,) * 2)
    with pytest.raises(RuntimeError, match="in use"):
        take(folder)
    owner.kill()
    owner.wait()
    os.utime(lease(folder), (time.time() + seconds,) * 2)
    take(folder)


@pytest.mark.parametrize("text", ["", '{"host": "a"}'])
def test_a_torn_lease_is_followed_after_a_silence(folder, text):
    lease(folder).write_text(text)
    take(folder)


def test_of_many_that_follow_a_dead_owner_one_works_at_a_time(folder, start):
    owner = start()
    owner.kill()
    owner.wait()
    crowd = [start(CONTENDER, wait=False) for _ in range(8)]
    outputs = [process.communicate() for process in crowd]
    assert all(process.returncode == 0 for process in crowd), outputs
    lines = [text.splitlines()[-1] for text, _ in outputs if text]
    times = sorted(tuple(map(float, line.split())) for line in lines if line[0].isdigit())
    assert times
    assert all(end <= began for (_, end), (began, _) in pairwise(times))
