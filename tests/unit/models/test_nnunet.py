import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from segflow.jobs.workers import START_METHOD
from segflow.models.nnunet import RARELY_USED, TRAINERS, forked_pool, use_folders

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


def test_a_pool_is_forked_only_within_the_block():
    module = SimpleNamespace(multiprocessing=multiprocessing)
    with forked_pool(module):
        assert module.multiprocessing.get_context("spawn").get_start_method() == START_METHOD
    assert module.multiprocessing is multiprocessing


PREDICTION = """
import predict_fold
from segflow.models.nnunet import lean_imports, uncompiled
with lean_imports(), uncompiled():
    from nnunetv2.inference import predict_from_raw_data
    from segflow.models import trainer_search
"""
TRAINING = """
import train_fold
from segflow.models.nnunet import lean_imports
with lean_imports():
    from nnunetv2.run import run_training
    from segflow.models import trainer_search
"""
# What is loaded of `names` here, and in a worker that is spawned.
COUNTING = """
def loaded(names):
    return [name for name in names if name in sys.modules]
if __name__ == "__main__":
    print(loaded(names), multiprocessing.get_context("spawn").Pool(1).apply(loaded, [names]))
"""
LATER = """
if __name__ == "__main__":
    from nnunetv2.utilities.crossval_split import generate_crossval_split
    from nnunetv2.training.logging.nnunet_logger import sns, plt
    from batchgenerators.augmentations.utils import unique_labels
    from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ball
    from torch._dynamo import OptimizedModule
    import matplotlib.pyplot, numpy, torch
    print(len(generate_crossval_split(list("abcdefghij"), n_splits=5)), sns.__version__ > "0",
          plt.figure is matplotlib.pyplot.figure, unique_labels(numpy.array([2, 1, 2])),
          ball(1).sum(), isinstance(torch.compile(torch.nn.Linear(1, 1)), OptimizedModule))
"""


def run_script(text, folder):
    """Run Python's text from a file, which spawned workers import; return its lines."""
    (folder / "job.py").write_text(text)
    folders = {name: str(folder) for name in VARIABLES}
    environment = {**os.environ, **folders, "PYTHONPATH": str(TRAINERS.parents[2])}
    command = [sys.executable, folder / "job.py"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize("imports", [PREDICTION, TRAINING])
def test_what_nnunet_rarely_uses_is_loaded_only_when_it_is_used(imports, tmp_path):
    names = [*RARELY_USED, "pydicom", *["torch._dynamo"] * (imports is PREDICTION)]
    head = f"import multiprocessing, sys\nnames = {names}\n"
    printed = run_script(head + imports + COUNTING + LATER, tmp_path)
    assert printed == ["[] []", "5 True True [1 2] 7 True"]


def test_preprocessing_loads_no_more_than_it_uses(tmp_path):
    names = [name for name in RARELY_USED if name != "skimage.morphology"]
    head = f"import multiprocessing, sys\nnames = {[*names, 'pydicom']}\n"
    assert run_script(head + "import preprocess_cases" + COUNTING, tmp_path) == ["[] []"]
