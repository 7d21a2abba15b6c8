"""The cascade: its second stage starts from the first one's predictions on the same folds."""

import re

import blosc2
import pandas as pd
import pytest

from project import TINY, make_project

pytestmark = [pytest.mark.slow, pytest.mark.long]
# A small network and a fine grid make nnU-Net plan a low-resolution stage for small images.
PLANNING = {"gpu_memory_gb": 0.1, "spacing_mm": [0.6, 0.6, 0.6]}
STAGE = {
    **TINY,
    "planning": PLANNING,
    "overrides": {"base_features": 4},
    "training": {**TINY["training"], "epochs": 1},
}
RESULTS = "results/für 'heute' & $HOME"  # what a shell would stumble over
MODELS = {
    "low": {**STAGE, "title": "Low resolution", "configuration": "3d_lowres"},
    "cascade": {
        **STAGE,
        "title": "Cascade",
        "configuration": "3d_cascade_fullres",
        "previous_model": "low",
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("cascade") / "größere Läufe", MODELS, 4, 1)
    project.results_name = RESULTS
    project.configure(models=["cascade"], ensembles={}, pathvars={"results": RESULTS})
    project.snakemake("evaluate")
    return project


def test_the_second_stage_waits_for_predictions_of_the_first(project):
    text = project.snakemake("--dry-run", "--forceall", "evaluate")
    [inputs] = re.findall(r"input: (.*)\n    output: .*/cascade/fold_0/training.json", text)
    assert f"{RESULTS}/hippocampus/cascade/previous_stage/train.csv" in inputs
    assert project.planned("evaluate") == set()


def test_the_previous_stage_lies_on_the_grid_of_the_preprocessed_images(project):
    base = project.results / "nnUNet_preprocessed/Dataset004_hippocampus"
    for folder in ("cascade_previous", "cascade_previous_test"):
        [data] = [path for path in base.glob("nnUNetPlans_*_3d_fullres") if path.is_dir()]
        data = data if folder == "cascade_previous" else data.with_name(f"{data.name}_test")
        paths = sorted((base / folder).glob("*.b2nd"))
        assert paths
        for path in paths:
            image = blosc2.open(str(data / path.name), mode="r")
            assert blosc2.open(str(path), mode="r").shape == image.shape[1:]


def test_both_stages_are_evaluated(project):
    for model in ("low", "cascade"):
        metrics = pd.read_csv(project.results / "hippocampus" / model / "metrics.csv")
        assert set(metrics["split"]) == {"val", "test"}


def test_new_images_go_through_both_stages(project):
    project.configure(
        new_images={
            "folder": "raw/imagesTs",
            "output": "segmented",
            "dataset": "hippocampus",
            "predictor": "cascade",
        }
    )
    project.snakemake("predict")
    [found] = (project.folder / "segmented").glob("*.nii.gz")
    folder = project.results / "hippocampus/cascade/predictions/test/postprocessed"
    assert found.read_bytes() == (folder / found.name).read_bytes()
