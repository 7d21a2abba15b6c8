"""Images that are annotated in part, from raw files to metrics and figures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from project import MODELS, make_project
from segflow.images.nifti import read_labels, write_image

pytestmark = pytest.mark.slow
IGNORED = 3


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    models = {"tiny_2d": MODELS["tiny_2d"]}
    project = make_project(tmp_path_factory.mktemp("ignore") / "project", models, 4, 1)
    for path in [*project.raw.glob("labelsTr/*.nii.gz"), *project.raw.glob("labelsTs/*.nii.gz")]:
        array, grid = read_labels(path)
        array = array.astype(np.uint8)
        array[:, :, ::4] = IGNORED
        path.unlink()
        write_image(path, array, replace(grid, shape=array.shape))
    labels = {"background": 0, "anterior": 1, "posterior": 2, "ignore": IGNORED}
    project.edit("config/datasets/hippocampus.yaml", lambda dataset: dataset.update(labels=labels))
    project.configure(folds=[0])
    project.snakemake("report")
    return project


def test_neither_metrics_nor_predictions_know_what_nobody_annotated(project):
    folder = project.results / "hippocampus/tiny_2d"
    metrics = pd.read_csv(folder / "metrics.csv")
    assert set(metrics["label"]) == {"anterior", "posterior"}
    row = metrics[(metrics["stage"] == "raw") & (metrics["label"] == "anterior")].iloc[0]
    truth, guess = (
        read_labels(path / f"{row['case']}.nii.gz")[0]
        for path in (
            project.results / "nnUNet_raw/Dataset004_hippocampus/labelsTr",
            folder / "predictions/val/raw",
        )
    )
    assert (truth == IGNORED).any()
    assert guess.max() < IGNORED
    known = truth != IGNORED
    assert row["tp"] == ((truth == 1) & (guess == 1) & known).sum()
    assert row["fp"] == ((truth != 1) & (guess == 1) & known).sum()
    assert row["tn"] == ((truth != 1) & (guess != 1) & known).sum()
