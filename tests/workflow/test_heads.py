"""A model with a head, from a table with classes to the classes of test cases."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch

from project import TINY, make_project

pytestmark = pytest.mark.slow
CLASSES = ["plain", "bright"]
HEADED = {
    **TINY,
    "title": "Tiny 2D U-Net with a head",
    "configuration": "2d",
    "overrides": {"batch_size": 4, "base_features": 4},
    "head": {"hidden": 8, "begin": 0, "warm_up": 0, "least_voxels": 5},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = make_project(
        tmp_path_factory.mktemp("heads") / "project", {"headed": HEADED}, n_training=12, n_test=4
    )
    with (project.raw / "cases.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "image", "label", "class", "split"])
        for part, split in (("Tr", "train"), ("Ts", "test")):
            for number, path in enumerate(sorted((project.raw / f"images{part}").iterdir())):
                label = f"labels{part}/{path.name}"
                name = path.name.split(".")[0]
                row = [name, f"images{part}/{path.name}", label, CLASSES[number % 2], split]
                table.writerow(row)

    def with_classes(dataset):
        dataset.update(
            converter="table",
            channels=["MRI"],
            labels={"background": 0, "anterior": 1, "posterior": 2},
            classes=CLASSES,
            options={},
        )
        dataset.pop("patient", None)
        dataset.pop("expected_cases", None)

    project.edit("config/datasets/hippocampus.yaml", with_classes)
    project.snakemake("predict")
    return project


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


def test_nothing_is_left_to_be_done(finished):
    assert finished.planned("predict") == set()


def test_a_head_without_classes_is_refused(tmp_path):
    project = make_project(tmp_path / "project", {"headed": HEADED})
    text = project.snakemake("--dry-run", check=False)
    assert "config/models/headed.yaml: a head needs two classes or more, but" in text
