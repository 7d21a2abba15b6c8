"""Training that is interrupted, resumed, stopped early, or asked for the impossible."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import trainings
from project import MODELS, make_project
from trainings import folder_of, start, train, weights_in

pytestmark = pytest.mark.slow
STORED = Path(__file__).with_name("training_of_nnunet.json")
PEER = """
import random, numpy, torch
from nnunetv2.run.run_training import get_trainer_from_args

torch.set_num_threads(1)
trainer = get_trainer_from_args(
    "Dataset004_hippocampus", "3d_fullres", 0, "nnUNetTrainer", "long", device=torch.device("cpu")
)
trainer.num_epochs, trainer.num_iterations_per_epoch = 1, 6
trainer.num_val_iterations_per_epoch = 1
torch.manual_seed(12345), numpy.random.seed(12345), random.seed(12345)
trainer.run_training()
"""


@pytest.fixture
def project(prepared, tmp_path):
    project = prepared.copy(tmp_path / "project")
    project.configure(models=["long"], ensembles={})
    return project


def change(project, **training) -> None:
    """Change settings of the training and plan it anew."""
    project.edit("config/models/long.yaml", lambda model: model["training"].update(training))
    project.snakemake("plan")


def interrupt(project, number: signal.Signals, n_epochs: int) -> str:
    return trainings.interrupt(project, number, n_epochs, folder_of(project))


def weights(project) -> dict[str, torch.Tensor]:
    return weights_in(folder_of(project))


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    project = prepared.copy(tmp_path_factory.mktemp("undisturbed") / "project")
    train(project)
    return project


def test_a_training_gives_what_it_always_gave(undisturbed):
    """Who changes these numbers changes results, and moves the procedure number of training."""
    stored = json.loads(STORED.read_text())
    table = pd.read_csv(folder_of(undisturbed) / "progress.csv")
    found = {name: table[name].tolist() for name in ("train_loss", "val_loss")}
    squares = (value.double().square().sum() for value in weights(undisturbed).values())
    found["squares"] = sum(squares).item()  # of all weights
    # Processors round differently, which four epochs magnify.
    assert found == {name: pytest.approx(stored[name], rel=5e-3) for name in found}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_an_interrupted_training_ends_as_if_nothing_had_happened(project, undisturbed, number):
    text = interrupt(project, number, n_epochs=2)
    assert f"stopped by {number.name}; the checkpoint is written, run again to go on" in text
    assert not (project.folder / "training.json").exists()
    assert "training goes on from here" in train(project)
    expected = weights(undisturbed)
    for name, value in weights(project).items():
        assert torch.equal(value, expected[name]), name
    columns = ["epoch", "train_loss", "val_loss", "score", "learning_rate"]
    one, other = (
        pd.read_csv(folder_of(p) / "progress.csv")[columns] for p in (project, undisturbed)
    )
    pd.testing.assert_frame_equal(one, other)


def test_a_killed_training_goes_on_from_its_last_checkpoint(project, undisturbed):
    interrupt(project, signal.SIGKILL, n_epochs=2)
    assert "training goes on from here" in train(project)
    expected = weights(undisturbed)
    assert all(torch.equal(value, expected[name]) for name, value in weights(project).items())


@pytest.fixture(scope="module")
def stopped(prepared, tmp_path_factory):
    """A project whose training was stopped after an epoch."""
    project = prepared.copy(tmp_path_factory.mktemp("stopped") / "project")
    interrupt(project, signal.SIGTERM, n_epochs=1)
    return project


@pytest.fixture
def halfway(stopped, tmp_path):
    return stopped.copy(tmp_path / "project")


def test_a_torn_checkpoint_is_never_used(halfway):
    project = halfway
    for path in (folder_of(project)).glob("checkpoint_*.pth"):
        path.write_bytes(path.read_bytes()[:1000])
    text = train(project)
    assert "not a usable checkpoint" in text
    assert "goes on" not in text


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "ingredient"),
    [
        ("long/plans.json", r'"learning_rate": [\d.]+', '"learning_rate": 0.001', "settings"),
        ("long/plans.json", r'"seed": \d+', '"seed": 7', "seed"),
        ("preprocessed/nnUNetPlans_3d_fullres/train.csv", r",\w{16}\n", ",0\n", "data"),
    ],
)
def test_a_changed_ingredient_starts_anew(halfway, file, pattern, replacement, ingredient):
    if ingredient == "data":
        name = "nnUNet_preprocessed/Dataset004_hippocampus/nnUNetPlans_3d_fullres/.ledger"
        for path in (halfway.results / name).glob("*.json"):
            path.write_text(re.sub(r'"key": "\w+"', '"key": "0"', path.read_text()))
    path = halfway.results / "hippocampus" / file
    path.write_text(re.sub(pattern, replacement, path.read_text()))
    process = start(halfway)
    said = ""
    while "training starts anew" not in said and process.poll() is None:
        said += process.stdout.readline()
    process.kill()
    process.communicate()
    assert f"made from other {ingredient}; training starts anew" in said


def test_a_finished_training_is_not_repeated(undisturbed, tmp_path):
    project = undisturbed.copy(tmp_path / "project")
    before = (folder_of(project) / "checkpoint_final.pth").stat().st_mtime_ns
    (project.folder / "training.json").unlink()
    assert "nothing to train" in train(project)
    assert (folder_of(project) / "checkpoint_final.pth").stat().st_mtime_ns == before
    manifest = json.loads((project.folder / "training.json").read_text())
    assert manifest["epochs"] == 4
    assert "goes on" not in train(project, "--fresh")
    assert (folder_of(project) / "checkpoint_final.pth").stat().st_mtime_ns != before


def test_a_training_that_does_not_improve_is_stopped_early(project):
    change(project, patience=2, learning_rate=1e-9, epochs=50)
    assert "stopped early: best epoch" in train(project)
    manifest = json.loads((project.folder / "training.json").read_text())
    assert manifest["epochs"] < 50
    assert manifest["epochs"] == manifest["best_epoch"] + 3


def test_a_gpu_that_is_not_there_is_an_error(project):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    project.configure(device="cuda")
    text = project.snakemake("train", "--config", "select={folds: [0]}", check=False)
    assert "device is 'cuda', but PyTorch finds none here; use auto or cpu" in text


def test_the_schedule_of_nnunet_is_nnunets_own(project):
    """The plain schedule gives the weights that nnU-Net's trainer gives from the same seed."""
    change(project, schedule="nnunet", epochs=1, augmentation="nnunet")
    train(project)
    script = project.folder / "peer.py"
    script.write_text(PEER)
    folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    environment = {name: str(project.results / name) for name in folders}
    environment = {**os.environ, **environment, "nnUNet_n_proc_DA": "0"}
    subprocess.run([sys.executable, script], env=environment, check=True, capture_output=True)
    peer = Path(str(folder_of(project)).replace("SegflowTrainer", "nnUNetTrainer"))
    expected = torch.load(peer / "checkpoint_final.pth", weights_only=False)["network_weights"]
    for name, value in weights(project).items():
        assert torch.equal(value, expected[name]), name


def test_planners_share_data_of_one_spacing(tmp_path):
    coarse = {"planner": "resenc_m", "spacing_mm": [2, 2, 2]}
    models = {
        "tiny_3d": MODELS["tiny_3d"],
        "residual": {**MODELS["tiny_3d"], "title": "R", "planning": {"planner": "resenc_m"}},
        "coarse": {**MODELS["tiny_3d"], "title": "Coarse", "planning": coarse},
    }
    project = make_project(tmp_path / "project", models, n_training=6, n_test=1)
    parts = [f"results/hippocampus/{name}/probabilities/fold_0_test.csv" for name in models]
    project.snakemake(*parts)
    folder = project.results / "nnUNet_preprocessed/Dataset004_hippocampus"
    names = {path.name for path in folder.iterdir() if path.name.endswith("3d_fullres")}
    shared, other = sorted(names, key=len)
    assert shared == "nnUNetPlans_3d_fullres"
    assert other.startswith("nnUNetPlans_")
    assert len(list(project.results.glob("hippocampus/*/fold_0/training.json"))) == 3
    plain, residual = (
        json.loads((project.results / f"hippocampus/plans/{name}.json").read_text())
        for name in ("nnUNetPlans", "nnUNetResEncUNetMPlans")
    )
    for name in ("2d", "3d_fullres"):  # what may differ is no matter of the images
        configurations = [plans["configurations"][name] for plans in (plain, residual)]
        for one in configurations:
            del one["architecture"], one["batch_size"], one["patch_size"]
        assert configurations[0] == configurations[1]
    del plain["configurations"], residual["configurations"]
    differing = {key for key in plain | residual if plain.get(key) != residual.get(key)}
    assert differing == {"plans_name", "experiment_planner_used"}
