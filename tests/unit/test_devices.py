from pathlib import Path

import pytest

from segflow.devices import count_gpus


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
    monkeypatch.setattr("segflow.devices.Path", lambda folder: tmp_path / Path(folder).name / "..")
    (tmp_path / "dev").mkdir()
    assert count_gpus() == 2


@pytest.mark.parametrize(
    ("visible", "count"), [("GPU-1abc-1d", 1), ("GPU-aa-1b,GPU-cc", 2), ("0x", 0), ("0,-1,1", 1)]
)
def test_an_identifier_may_look_like_the_end(monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == count
