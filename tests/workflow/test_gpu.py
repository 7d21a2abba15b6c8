"""The checks for a machine with a GPU can be run: the cheapest of them, on the CPU."""

from pathlib import Path

import pytest
import torch

import bundle
import checks
import experiment
import run_checks
from project import ROOT

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.slow
@without_gpu
def test_a_check_can_be_rehearsed(tmp_path):
    bundle.gather_project(tmp_path / "project")
    gpu = experiment.fake_gpu(tmp_path / "work/bin")
    paths = [str(Path(experiment.__file__).parent)]
    bench = experiment.Bench(tmp_path / "project", tmp_path / "work", paths, True, gpu)
    rows = list(checks.check_leases(bench))
    assert rows
    assert [row for row in rows if not row.ok] == []


@without_gpu
def test_without_a_gpu_nothing_is_checked(capsys):
    run_checks.main([])
    assert capsys.readouterr().out == "make gpu: PyTorch finds no CUDA device here; skipped\n"


def test_the_lock_has_all_wheels():
    lock = (ROOT / "envs/requirements.txt").read_text()
    assert [name for name in bundle.WHEELS if f"\n{name}==" not in lock] == []


def test_a_check_that_breaks_off_is_a_row(capsys):
    def check_nothing(bench):
        yield checks.Row("before", 1)
        raise RuntimeError("no device\nat all")

    rows = list(run_checks.rows_of(check_nothing, None, checks.Row))
    assert [(row.value, row.ok) for row in rows] == [(1, True), ("RuntimeError: no device", False)]
