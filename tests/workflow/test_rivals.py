"""Networks of other libraries through the chain of nnU-Net's: trained, killed, exported, used."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import blosc2
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from project import TINY, make_project
from trainings import folder_of, interrupt, train, weights_in

pytestmark = pytest.mark.slow
LONG = {**TINY["training"], "epochs": 4, "iterations_per_epoch": 6, "optimizer": "adam"}
RIVALS = {
    # A whole-image protocol: one size, losses, a schedule with restarts, augmentation and mixing.
    "rival_2d": {
        **TINY,
        "title": "Encoder-decoder",
        "configuration": "2d",
        "planning": {"resize": [64, 48]},
        "overrides": {"batch_size": 2},
        "network": {"name": "encoder_decoder", "options": {"features": [4, 8, 8]}},
        "training": {
            **LONG,
            "schedule": "cosine_restarts",
            "restart_epochs": 2,
            "loss": [{"term": "bce", "weight": 0.3}, {"term": "weighted_dice", "weight": 0.7}],
            "clip": 1,
            "select_by": "iou",
            "augmentation": "everything",
        },
    },
    "rival_3d": {
        **TINY,
        "title": "SegResNet",
        "configuration": "3d_fullres",
        "network": {"name": "segresnet", "options": {"features": 8, "blocks": [1, 1]}},
        "training": {**LONG, "schedule": "plateau", "plateau_epochs": 1, "optimizer": "sgd"},
    },
}
AUGMENTATION = {
    "title": "Everything",
    "transforms": [
        {"transform": "RandFlip", "prob": 0.5, "spatial_axis": 0},
        {"transform": "RandAffine", "prob": 0.5, "rotate_range": 0.2, "padding_mode": "zeros"},
        {"transform": "Rand2DElastic", "prob": 0.5, "spacing": [9, 9], "magnitude_range": [1, 2]},
        {"transform": "RandGaussianNoise", "prob": 0.5},
    ],
    "mixing": {"method": "carvemix", "probability": 0.5},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("rivals") / "project", RIVALS)
    (project.folder / "config/augmentations").mkdir(exist_ok=True)
    path = project.folder / "config/augmentations/everything.yaml"
    path.write_text(yaml.safe_dump(AUGMENTATION))
    project.snakemake("preprocess", "split", "plan")
    return project


@pytest.fixture
def project(prepared, tmp_path):
    return prepared.copy(tmp_path / "project")


@pytest.mark.parametrize("model", RIVALS)
def test_a_killed_rival_ends_as_if_nothing_had_happened(project, tmp_path, model):
    undisturbed = project.copy(tmp_path / "undisturbed")
    configuration = RIVALS[model]["configuration"]
    folders = [folder_of(p, model, configuration) for p in (project, undisturbed)]
    train(undisturbed, model=model)
    interrupt(project, signal.SIGKILL, 2, folders[0], model=model)
    assert "training goes on from here" in train(project, model=model)
    found, expected = map(weights_in, folders)
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name
    columns = ["train_loss", "val_loss", "score", "score_average", "score_name", "learning_rate"]
    one, other = (pd.read_csv(folder / "progress.csv")[columns] for folder in folders)
    pd.testing.assert_frame_equal(one, other)


def test_a_loss_that_is_no_number_ends_the_training(project):
    change = {"learning_rate": 1e30, "schedule": "constant", "clip": 12}
    project.edit("config/models/rival_3d.yaml", lambda model: model["training"].update(change))
    project.snakemake("plan")
    text = project.snakemake(
        "train", "--config", "select={models: [rival_3d], folds: [0]}", check=False
    )
    line = next(line for line in text.splitlines() if "rival_3d fold 0: epoch 1" in line)
    assert "loss of iteration" in line or "weights are no finite numbers" in line
    if "loss of iteration" in line:
        assert "on patches of hippocampus_" in line
    assert "config/models/rival_3d.yaml" in line
    assert not list(folder_of(project, "rival_3d").glob("*.pth"))


def test_a_model_starts_from_the_weights_of_another(project):
    train(project, model="rival_3d")
    source = folder_of(project, "rival_3d") / "checkpoint_final.pth"
    weights = project.folder / "weights.pth"
    shutil.copy2(source, weights)

    def start_from(model):
        model["network"]["pretrained"] = "weights.pth"
        model["training"]["learning_rate"] = 1e-30

    project.edit("config/models/rival_3d.yaml", start_from)
    project.snakemake("plan")
    text = train(project, model="rival_3d")
    assert re.search(r"weights\.pth: \d+ weights taken, 0 as drawn: none", text)
    # With a learning rate of nothing they stay what they were.
    before = torch.load(weights, weights_only=False)["network_weights"]
    for name, value in weights_in(folder_of(project, "rival_3d")).items():
        torch.testing.assert_close(value, before[name], rtol=1e-3, atol=1e-5)


def label_map(path):
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.long
def test_an_exported_rival_segments_the_same_everywhere(project, tmp_path):
    """As a member of the run, as an archive, and by nnU-Net's own command."""
    project.configure(models=["rival_3d"], ensembles={})
    project.snakemake("predict")
    environment = {
        **os.environ,
        "nnUNet_extTrainer": str(project.folder / "workflow/scripts/segflow/models/trainers"),
        **{
            name: str(project.results / name)
            for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        },
    }
    trained = folder_of(project, "rival_3d").parent
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((project.raw / "imagesTs").glob("*.nii.gz")):
        shutil.copy2(path, images / f"{path.name.split('.')[0]}_0000.nii.gz")
    peer = [Path(sys.executable).parent / "nnUNetv2_predict_from_modelfolder", "-device", "cpu"]
    peer += ["-i", images, "-o", tmp_path / "peer", "-m", trained, "-f", "0", "1"]
    subprocess.run(
        [*peer, "--disable_tta"], check=True, capture_output=True, env=environment, cwd=tmp_path
    )
    archive = shutil.make_archive(
        str(tmp_path / "rival"), "zip", trained.parents[1], f"{trained.parent.name}/{trained.name}"
    )
    project.configure(
        new_images={"folder": "raw/imagesTs", "output": "segmented", "archive": archive}
    )
    project.snakemake("predict")
    own = project.results / "hippocampus/rival_3d/predictions/test/raw"
    segmented = sorted((project.folder / "segmented").glob("*.nii.gz"))
    assert len(segmented) == 2
    for path in segmented:
        # Archives average logits, as nnU-Net does, and models of a run probabilities.
        assert (label_map(path) == label_map(tmp_path / "peer" / path.name)).mean() > 0.999
        assert (label_map(path) == label_map(own / path.name)).mean() > 0.98


@pytest.mark.long
def test_label_maps_of_resized_images_lie_on_the_cases_own_grids(project):
    project.configure(models=["rival_2d"], ensembles={})
    project.snakemake("predict")
    plans = json.loads((project.results / "hippocampus/rival_2d/plans.json").read_text())
    assert plans["configurations"]["2d"]["patch_size"] == [64, 48]
    folder = project.results / "nnUNet_preprocessed/Dataset004_hippocampus"
    sizes = {blosc2.open(str(path)).shape[2:] for path in folder.glob("*_2d/*.b2nd")}
    assert sizes == {(64, 48)}
    for path in (project.results / "hippocampus/rival_2d/predictions/val/raw").glob("*.nii.gz"):
        reference = project.raw / "labelsTr" / path.name
        assert label_map(path).shape == label_map(reference).shape
