import math
import signal
import time

import pytest

from segflow.jobs.time_limits import parse_time_left, seconds_left, warned_before_limit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:07\n", 7),
        ("59:00", 3540),
        ("2:00:05", 7205),
        ("1-02:00:00", 93600),
        ("UNLIMITED", math.inf),
        ("", math.inf),
    ],
)
def test_lengths_of_time_are_read_as_slurm_writes_them(text, seconds):
    assert parse_time_left(text) == seconds


@pytest.fixture
def signals(monkeypatch):
    """Collect the times at which SIGUSR1 arrives."""
    times = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: times.append(time.monotonic()))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    yield times
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Put a program of SLURM's name on the path that counts down, first from 4 seconds."""
    program = tmp_path / "squeue"
    end = int(time.time()) + 4
    program.write_text(f'#!/bin/sh\n[ "$3" = 7 ] && echo 0:0$(({end} - $(date +%s)))\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


def test_the_signal_comes_shortly_before_the_end(signals, squeue, capsys):
    start = time.monotonic()
    with warned_before_limit():
        while not signals and time.monotonic() < start + 10:
            time.sleep(0.05)
    assert len(signals) == 1
    assert 1 < signals[0] - start < 5
    assert "SLURM ends this job in 0 min" in capsys.readouterr().out


def test_what_ends_in_time_is_left_alone(signals, squeue):
    with warned_before_limit():
        pass
    time.sleep(4)
    assert signals == []


def test_what_slurm_last_said_holds_while_it_is_away(signals, squeue):
    start = time.monotonic()
    with warned_before_limit():
        squeue.write_text("#!/bin/sh\nexit 1\n")
        while not signals and time.monotonic() < start + 10:
            time.sleep(0.05)
    assert len(signals) == 1


def test_an_unknown_limit_is_told_and_no_error(signals, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with warned_before_limit():
        pass
    assert "squeue: the time limit of this job is not known" in capsys.readouterr().out


def test_without_slurm_there_is_no_limit(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert seconds_left() == math.inf
