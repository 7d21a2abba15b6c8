"""A network of all training cases: a member like any other, judged on test cases only."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from project import MODELS, make_project
from segflow.files.content import read_json

pytestmark = pytest.mark.slow
CHOSEN = {
    "divided": MODELS["tiny_2d"],
    "whole": {**MODELS["tiny_2d"], "title": "All cases", "fold": "all"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("final") / "project", CHOSEN, 4, 1)
    project.snakemake()
    return project


def test_one_network_learns_from_all_training_cases(project):
    folder = project.results / "hippocampus/whole"
    assert [path.name for path in folder.glob("fold_*")] == ["fold_all"]
    assert read_json(folder / "fold_all/training.json")["epochs"] == 2
    trained = "nnUNet_results/Dataset004_hippocampus/SegflowTrainer__whole__2d/fold_all"
    assert (project.results / trained / "checkpoint_final.pth").exists()
    assert project.planned() == set()


def test_it_is_judged_on_test_cases_only(project):
    for predictor, splits in {
        "divided": {"val", "test"},
        "whole": {"test"},
        "both": {"test"},
    }.items():
        metrics = pd.read_csv(project.results / "hippocampus" / predictor / "metrics.csv")
        assert set(metrics["split"]) == splits
    choice = read_json(project.results / "hippocampus/best.json")
    assert {one["predictor"] for one in choice["ranking"]} == {"divided"}
    comparisons = pd.read_csv(project.results / "hippocampus/comparisons.csv")
    assert set(comparisons["split"]) <= {"test"}
    assert read_json(project.results / "hippocampus/both/postprocessing.json")["steps"] == []


def test_new_images_are_segmented_by_all_its_networks(project):
    wanted = {"folder": "raw/imagesTs", "output": "out", "dataset": "hippocampus"}
    project.configure(new_images={**wanted, "predictor": "both"})
    project.snakemake("predict")
    [found] = (project.folder / "out").glob("*.nii.gz")
    folder = project.results / "hippocampus/both/predictions/test/postprocessed"
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(path)) for path in (found, folder / found.name)]
    np.testing.assert_array_equal(*arrays)
