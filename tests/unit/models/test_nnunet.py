import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace

from segflow.jobs.workers import START_METHOD
from segflow.models.nnunet import TRAINERS, forked_pools, use_folders

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def test_nnunet_works_below_the_results(tmp_path, monkeypatch):
    for name in (*VARIABLES, "nnUNet_extTrainer"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.chdir(tmp_path)
    use_folders(Path("results"))
    for name in VARIABLES:
        assert Path(os.environ[name]) == tmp_path / "results" / name
        assert Path(os.environ[name]).is_dir()
    assert Path(os.environ["nnUNet_extTrainer"], "segflow_trainer.py").is_file()
    assert Path(os.environ["nnUNet_extTrainer"]) == TRAINERS


def test_pools_are_forked_only_within_the_block():
    module = SimpleNamespace(multiprocessing=multiprocessing)
    with forked_pools(module):
        assert module.multiprocessing.get_context("spawn").get_start_method() == START_METHOD
    assert module.multiprocessing is multiprocessing
