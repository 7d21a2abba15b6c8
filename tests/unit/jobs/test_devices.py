import json
import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest

from segflow.jobs.devices import (
    choose_devices,
    count_gpus,
    find_pool,
    full_name,
    leased_devices,
    read_leases,
    read_listing,
)

LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c89852c-d268)
  MIG 3g.20gb     Device  0: (UUID: MIG-ee39af22)
  MIG 3g.20gb     Device  1: (UUID: MIG-GPU-5c89852c-d268/2/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5ca1ab1e-0001)
"""
# Holds a lease for a while and prints its devices, what CUDA sees, and from when to when.
JOB = """
import os, sys, time
from segflow.jobs.devices import leased_devices

n_gpus, share, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with leased_devices(n_gpus, share) as devices:
    began = time.monotonic()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(devices)
    time.sleep(seconds)
    print(",".join(devices), began, time.monotonic())
"""
# The same with a worker that outlives its killed parent.
PARENT = """
import os, time
from segflow.jobs.devices import leased_devices

with leased_devices() as devices:
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine with three devices, no driver, and leases of its own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "workflow" / "scripts"))
    monkeypatch.setenv("SEGFLOW_GPU_LEASES", str(tmp_path / "leases"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("NVIDIA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def driver(machine):
    """A program that lists devices as the driver's does."""
    program = machine / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nprint({LISTING!r})\n")
    program.chmod(0o755)


def start(n_gpus=1, share=1, seconds=0.3, script=JOB, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(n_gpus), str(share), str(seconds)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(jobs):
    """Return the devices, the beginning and the end of each job."""
    results = []
    for job in jobs:
        text, errors = job.communicate()
        assert job.returncode == 0, errors
        devices, began, ended = text.splitlines()[-1].split()
        results.append((devices.split(","), float(began), float(ended)))
    return results


def at_once(results, device=None):
    """Return the largest number of jobs that held the device, or any, at the same time."""
    spans = [(began, end) for names, began, end in results if device is None or device in names]
    return max((sum(b <= began < e for b, e in spans) for began, _ in spans), default=0)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("", 0),
        (" ", 0),
        ("-1", 0),
        ("NoDevFiles", 0),
        ("0", 1),
        ("0,1", 2),
        ("0, 1,", 2),
        ("0,-1,1", 1),  # CUDA stops at the first that is none
        ("GPU-8932f937", 1),
        ("GPU-abc,MIG-def", 2),
    ],
)
def test_the_visible_devices_count(monkeypatch, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == expected


def test_otherwise_the_device_files_count(monkeypatch, tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "sda0"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(
        "segflow.jobs.devices.Path", lambda folder: tmp_path / Path(folder).name / ".."
    )
    (tmp_path / "dev").mkdir()
    assert count_gpus() == 2


@pytest.mark.parametrize(
    ("visible", "count"), [("GPU-1abc-1d", 1), ("GPU-aa-1b,GPU-cc", 2), ("0x", 0), ("0,-1,1", 1)]
)
def test_an_identifier_may_look_like_the_end(monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == count


def test_a_listing_gives_the_instances_of_a_divided_gpu():
    divided = ["MIG-ee39af22", "MIG-GPU-5c89852c-d268/2/0"]
    assert read_listing(LISTING) == [divided, ["GPU-5ca1ab1e-0001"]]
    assert read_listing("No devices found.\n") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0", "MIG-ee39af22"),
        ("1", "GPU-5ca1ab1e-0001"),
        ("2", "2"),
        ("GPU-5ca1", "GPU-5ca1ab1e-0001"),
        ("GPU-5c89852c-d268", "GPU-5c89852c-d268"),
        ("MIG-", "MIG-"),
        ("MIG-ee", "MIG-ee39af22"),
    ],
)
def test_a_device_has_one_name(name, expected):
    assert full_name(name, read_listing(LISTING)) == expected


@pytest.mark.parametrize(
    ("cuda", "nvidia", "expected"),
    [
        ("1,GPU-5ca1", None, ["GPU-5ca1ab1e-0001"]),
        ("MIG-ee39af22", "all", ["MIG-ee39af22"]),
        ("", "all", []),
        (None, None, ["MIG-ee39af22", "MIG-GPU-5c89852c-d268/2/0", "GPU-5ca1ab1e-0001"]),
        (None, "GPU-5ca1ab1e-0001", ["GPU-5ca1ab1e-0001"]),
        (None, "1", ["MIG-ee39af22", "MIG-GPU-5c89852c-d268/2/0", "GPU-5ca1ab1e-0001"]),
    ],
)
def test_the_pool_is_what_was_given(monkeypatch, driver, cuda, nvidia, expected):
    for name, value in (("CUDA_VISIBLE_DEVICES", cuda), ("NVIDIA_VISIBLE_DEVICES", nvidia)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert find_pool() == expected


def test_without_a_driver_the_pool_has_the_names_that_were_given(monkeypatch):
    assert find_pool() == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-1,3")
    assert find_pool() == ["3", "GPU-1"]


HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("used", "n_gpus", "share", "expected"),
    [
        pytest.param({}, 1, 1, ["a"], id="first"),
        pytest.param({"a": 1}, 1, 1, ["b"], id="next"),
        pytest.param({"a": HALF}, 1, 1, ["b"], id="a whole device"),
        pytest.param({"b": HALF}, 1, 2, ["b"], id="sharing jobs gather"),
        pytest.param({"a": HALF, "b": HALF}, 1, 3, ["a"], id="shares of different size"),
        pytest.param({"a": Fraction(2, 3)}, 1, 2, ["b"], id="no room"),
        pytest.param({"a": 1}, 2, 1, [], id="all or none"),
        pytest.param({}, 2, 1, ["a", "b"], id="several"),
    ],
)
def test_devices_are_chosen_whole_or_to_their_brim(used, n_gpus, share, expected):
    assert choose_devices(["a", "b"], used, n_gpus, share) == expected


def test_eight_jobs_on_three_devices_never_meet():
    results = finish([start() for _ in range(8)])
    assert {name for names, _, _ in results for name in names} == {"0", "1", "2"}
    for device in "012":
        assert at_once(results, device) == 1


def test_jobs_work_side_by_side_and_wait_with_a_message():
    jobs = [start(seconds=3) for _ in range(4)]
    outputs = [job.communicate() for job in jobs]
    results = [text.splitlines()[-1].split() for text, _ in outputs]
    assert at_once([([names], float(b), float(e)) for names, b, e in results]) == 3
    waited = [errors for _, errors in outputs if errors]
    assert len(waited) == 1
    assert "waiting for a GPU; leased: " in waited[0]
    holders = {int(pid) for pid in re.findall(rf"process (\d+) of user {os.getuid()}", waited[0])}
    assert len(holders & {job.pid for job in jobs}) == 3


def test_jobs_that_share_fill_a_device_and_no_more():
    results = finish([start(share=2, seconds=2, CUDA_VISIBLE_DEVICES="7") for _ in range(4)])
    assert {tuple(names) for names, _, _ in results} == {("7",)}
    assert at_once(results, "7") == 2


def test_a_job_of_several_devices_gets_them_together():
    results = finish([start(n_gpus=2) for _ in range(3)])
    assert all(len(names) == 2 for names, _, _ in results)
    assert at_once(results) == 1


def test_more_devices_than_there_are_is_an_error():
    with pytest.raises(RuntimeError, match=r"4 GPUs are needed, found 3 \(0, 1, 2\); set n_gpus"):
        leased_devices(4).__enter__()


def test_a_killed_job_gives_its_device_back(monkeypatch, machine):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    parent = start(script=PARENT)
    assert parent.stdout.readline() == "GPU: 0\n"
    worker = int(parent.stdout.readline())
    try:
        assert len(read_leases(machine / "leases")) == 1
        parent.kill()
        parent.wait()
        began = time.monotonic()
        with leased_devices() as devices:
            assert devices == ["0"]
        assert time.monotonic() - began < 5
    finally:
        os.kill(worker, signal.SIGKILL)
        parent.communicate()
    assert list((machine / "leases").iterdir()) == []


def test_a_machine_without_gpus_leases_none(monkeypatch, machine):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with leased_devices() as devices:
        assert devices == []
    assert not (machine / "leases").exists()


def test_each_job_of_a_batch_system_has_devices_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    with leased_devices():
        (other,) = finish([start(SLURM_JOB_ID="12")])
        assert other[0] == ["0"]
        same = start(seconds=0)
        assert "waiting" in same.stderr.readline()
    finish([same])


def test_the_folder_is_open_to_all_users(machine):
    mask = os.umask(0o077)
    try:
        with leased_devices():
            (path,) = (machine / "leases").iterdir()
            assert path.stat().st_mode & 0o777 == 0o644
            assert json.loads(path.read_text())["devices"] == ["0"]
    finally:
        os.umask(mask)
    assert (machine / "leases").stat().st_mode & 0o7777 == 0o1777


def test_two_names_of_one_device_are_one_lease(monkeypatch, driver):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with leased_devices() as devices:
        assert devices == ["GPU-5ca1ab1e-0001"]
        other = start(seconds=0, CUDA_VISIBLE_DEVICES="GPU-5ca1ab1e")
        assert "GPU-5ca1ab1e-0001 by process" in other.stderr.readline()
    finish([other])
