"""Models that tell classes, from a table with classes to those of test cases and new images."""

import csv
import json

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from project import ROOT, TINY, make_project

pytestmark = pytest.mark.slow
CLASSES = ["plain", "bright"]
HEADED = {
    **TINY,
    "title": "Tiny 2D U-Net with a head",
    "configuration": "2d",
    "overrides": {"batch_size": 4, "base_features": 4},
    "head": {"hidden": 8, "begin": 0, "warm_up": 0, "least_voxels": 5},
}
PLAIN = {
    **TINY,
    "title": "DenseNet of whole images",
    "configuration": "2d",
    "planning": {"resize": [64, 64]},
    "overrides": {"batch_size": 4},
    "network": {"name": "densenet", "options": {"features": 4, "growth": 2, "blocks": [1, 1]}},
    "classifier": {},
}
CROPS = {
    **PLAIN,
    "title": "ResNet of what the other model sees",
    "configuration": "3d_fullres",
    "planning": {},
    "overrides": {"batch_size": 4, "patch_size": [64, 64, 64]},
    "network": {"name": "resnet", "options": {"features": [2, 2, 4, 4], "blocks": [1, 1, 1, 1]}},
    "classifier": {"structure": ["anterior"], "least_voxels": 5},
    "previous_model": "headed",
}
MODELS = {"headed": HEADED, "plain": PLAIN, "crops": CROPS}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = make_project(
        tmp_path_factory.mktemp("heads") / "project", MODELS, n_training=12, n_test=4
    )
    paths = [path for part in "rs" for path in sorted((project.raw / f"imagesT{part}").iterdir())]
    with_classes(project, {path.name: CLASSES[number % 2] for number, path in enumerate(paths)})
    project.configure(ensembles={"all": {"members": list(MODELS), "weights": [1, 2, 1]}})
    project.snakemake("predict", "evaluate")
    return project


def with_classes(project, classes):
    """Describe the data set by a table in which each image has a class."""
    with (project.raw / "cases.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "image", "label", "class", "split"])
        for part, split in (("Tr", "train"), ("Ts", "test")):
            for path in sorted((project.raw / f"images{part}").iterdir()):
                files = [f"images{part}/{path.name}", f"labels{part}/{path.name}"]
                table.writerow([path.name.split(".")[0], *files, classes[path.name], split])

    def change(dataset):
        dataset.update(
            converter="table",
            channels=["MRI"],
            labels={"background": 0, "anterior": 1, "posterior": 2},
            classes=CLASSES,
            options={},
        )
        dataset.pop("patient", None)
        dataset.pop("expected_cases", None)

    project.edit("config/datasets/hippocampus.yaml", change)


def test_a_row_of_progress_tells_of_the_head(finished):
    folder = finished.results / "hippocampus/headed/fold_0"
    progress = pd.read_csv(folder / "progress.csv")
    assert len(progress) == 2
    assert progress["class_loss"].between(0.2, 3).all()
    assert progress["entropy"].between(0, 1).all()
    assert {"recall_plain", "recall_bright"} <= set(progress.columns)
    assert isinstance(json.loads((folder / "training.json").read_text())["collapsed"], bool)


def test_cases_have_the_mean_of_what_their_windows_say(finished):
    tables = [
        pd.read_csv(finished.results / f"hippocampus/headed/classes/fold_{fold}_test.csv")
        for fold in (0, 1)
    ]
    found = pd.read_csv(finished.results / "hippocampus/headed/classification.csv")
    assert found["split"].value_counts().to_dict() == {"val": 12, "test": 4}
    test = found[found["split"] == "test"].set_index("case")
    for name in CLASSES:
        mean = np.mean([table.set_index("case")[f"p_{name}"] for table in tables], axis=0)
        np.testing.assert_allclose(test.loc[tables[0]["case"], f"p_{name}"], mean, atol=2e-6)
    np.testing.assert_allclose(found[[f"p_{name}" for name in CLASSES]].sum(axis=1), 1, atol=1e-5)


def test_the_checkpoint_holds_the_head(finished):
    (path,) = (finished.results / "nnUNet_results").glob("*/*headed*/fold_0/checkpoint_final.pth")
    names = torch.load(path, weights_only=False)["network_weights"]
    assert any(name.startswith("head.") for name in names)
    assert any(name.startswith("network.encoder.") for name in names)


@pytest.mark.parametrize("model", ["plain", "crops"])
def test_a_classifier_is_trained_like_any_model_and_segments_nothing(finished, model):
    folder = finished.results / "hippocampus" / model
    progress = pd.read_csv(folder / "fold_0/progress.csv")
    assert set(progress["score_name"]) == {"macro F1"}
    assert progress["score"].between(0, 1).all()
    assert {"class_loss", "entropy", "recall_bright"} <= set(progress.columns)
    assert (folder / "classification.csv").exists()
    assert not (folder / "predictions").exists()
    assert not list(finished.results.glob(f"nnUNet_preprocessed/*/{model}_previous/*_train*"))


def test_an_ensemble_averages_all_that_its_members_tell(finished):
    tables = {
        name: pd.read_csv(finished.results / f"hippocampus/{name}/classification.csv")
        for name in (*MODELS, "all")
    }
    weights = {"headed": 1, "plain": 2, "crops": 1}
    mean = sum(tables[name]["p_bright"] * weight for name, weight in weights.items()) / 4
    np.testing.assert_allclose(tables["all"]["p_bright"], mean, atol=2e-6)
    summary = pd.read_csv(finished.results / "hippocampus/classification_summary.csv")
    assert {*MODELS, "all", "class_prior"} <= set(summary["predictor"])


@pytest.mark.parametrize(("predictor", "maps"), [("headed", True), ("all", False)])
def test_new_images_get_the_classes_that_they_get_as_test_cases(finished, predictor, maps):
    output = finished.folder / f"out_{predictor}"
    new = {"folder": "raw/imagesTs", "output": output.name, "dataset": "hippocampus"}
    finished.configure(new_images={**new, "predictor": predictor})
    try:
        finished.snakemake("predict")
        assert finished.planned("predict") == set()
    finally:
        finished.edit("config/config.yaml", lambda config: config.pop("new_images"))
    found = pd.read_csv(output / "classes.csv").set_index("case")
    table = pd.read_csv(finished.results / f"hippocampus/{predictor}/classification.csv")
    expected = table[table["split"] == "test"].set_index("case")
    np.testing.assert_allclose(found["p_plain"], expected.loc[found.index, "p_plain"], atol=2e-6)
    assert len(found) == 4
    assert (output / "segmentations.csv").exists() == maps
    assert len(list(output.glob("*.nii.gz"))) == (4 if maps else 0)


@pytest.mark.parametrize(("predictor", "maps"), [("headed", True), ("all", False)])
def test_exported_predictors_tell_the_same_classes(finished, predictor, maps):
    finished.snakemake("export", "--config", f"select={{models: [{predictor}]}}")
    archive = f"results/hippocampus/{predictor}/predictor.zip"
    output = finished.folder / f"out_zip_{predictor}"
    new = {"folder": "raw/imagesTs", "output": output.name, "archive": archive}
    finished.configure(new_images=new)
    try:
        finished.snakemake("predict")
        assert finished.planned("predict") == set()
    finally:
        finished.edit("config/config.yaml", lambda config: config.pop("new_images"))
    found, expected = (
        pd.read_csv(folder / "classes.csv").set_index("case")
        for folder in (output, finished.folder / f"out_{predictor}")
    )
    pd.testing.assert_frame_equal(found, expected)
    assert len(list(output.glob("*.nii.gz"))) == (4 if maps else 0)


def test_nothing_is_left_to_be_done(finished):
    assert finished.planned("predict", "evaluate") == set()


def test_a_head_without_classes_is_refused(tmp_path):
    project = make_project(tmp_path / "project", {"headed": HEADED})
    text = project.snakemake("--dry-run", check=False)
    assert "config/models/headed.yaml: a head needs two classes or more, but" in text


def test_a_run_that_only_tells_classes_comes_to_its_report(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    project.configure(models=["plain"], ensembles={}, folds=[0])
    project.snakemake()
    page = (project.results / "report.html").read_text()
    assert "Classification of medical images: results" in page
    assert "DenseNet of whole images" in page
    assert "has the best macro AUC of 3 classifiers, baselines included" in page
    assert "Paired differences" not in page
    costs = pd.read_csv(project.results / "hippocampus/costs.csv")
    assert list(costs["predictor"]) == ["plain"]
    assert project.planned() == set()


@pytest.mark.long
def test_a_head_costs_the_segmentation_no_more_than_two_points_of_dice(tmp_path):
    """Halves of large and of small hippocampi are told apart beside their segmentation."""
    plain = yaml.safe_load((ROOT / "config/models/unet_2d_quick.yaml").read_text())
    headed = {**plain, "head": {"begin": 0.1, "warm_up": 0.2}}
    models = {"plain": plain, "headed": headed}
    project = make_project(tmp_path / "project", models, n_training=40, n_test=2)
    sizes = {
        path.name: int((nibabel.load(path).get_fdata() > 0).sum())
        for path in sorted(project.raw.glob("labels*/*.nii.gz"))
    }
    middle = sorted(sizes.values())[len(sizes) // 2]
    with_classes(project, {name: CLASSES[size >= middle] for name, size in sizes.items()})
    project.configure(folds=[0], ensembles={})
    project.snakemake("evaluate")
    dice = {}
    for model in models:
        table = pd.read_csv(project.results / f"hippocampus/{model}/metrics.csv")
        chosen = table[(table["split"] == "val") & (table["stage"] == "raw")]
        dice[model] = chosen["dice"].mean()
    assert dice["plain"] > 0.7
    assert dice["headed"] > dice["plain"] - 0.02
