"""Images annotated in part and stored in many orientations, from raw files to metrics."""

import numpy as np
import pandas as pd
import pytest

from project import MODELS, make_project
from segflow.images.nifti import (
    describe_difference,
    read_grid,
    read_image,
    read_labels,
    write_image,
)
from segflow.images.orientation import orientation_of, reorient, reorient_grid
from segflow.models.preprocessing import load_preprocessed

pytestmark = pytest.mark.slow
IGNORED = 3
ORIENTATIONS = ("LPS", "RAS", "SRP", "AIL")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    models = {"tiny_2d": MODELS["tiny_2d"]}
    project = make_project(tmp_path_factory.mktemp("ignore") / "project", models, 4, 1)
    for kind in ("images", "labels"):
        for number, path in enumerate(sorted(project.raw.glob(f"{kind}T*/*.nii.gz"))):
            array, grid = read_image(path)
            array = array[0]
            if kind == "labels":
                array = array.astype(np.uint8)
                array[:, :, ::4] = IGNORED
            stored, target = orientation_of(grid), ORIENTATIONS[number % len(ORIENTATIONS)]
            path.unlink()
            turned = np.ascontiguousarray(reorient(array, stored, target))
            write_image(path, turned, reorient_grid(grid, target))
    labels = {"background": 0, "anterior": 1, "posterior": 2, "ignore": IGNORED}
    project.edit(
        "config/datasets/hippocampus.yaml",
        lambda dataset: dataset.update(labels=labels, reading={}),
    )
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


def test_predictions_lie_on_the_grids_of_the_files(project):
    paths = sorted((project.results / "hippocampus/tiny_2d/predictions").rglob("*.nii.gz"))
    found = set()
    for path in paths:
        raw = next(project.raw.glob(f"imagesT*/{path.name}"))
        assert describe_difference(read_grid(raw), read_grid(path))[0] == ""
        found.add(orientation_of(read_grid(path)))
    assert len(found) > 1


def test_networks_see_one_orientation(project):
    preprocessed = project.results / "nnUNet_preprocessed/Dataset004_hippocampus/nnUNetPlans_2d"
    for path in sorted(project.raw.glob("imagesTr/*.nii.gz")):
        array, grid = read_image(path)
        case = path.name.removesuffix(".nii.gz")
        data, properties = load_preprocessed(preprocessed, case)
        expected = reorient(array, orientation_of(grid), "RAS")
        assert properties["shape_before_cropping"] == expected.shape[1:]
        assert np.corrcoef(data.ravel(), expected.ravel())[0, 1] > 0.99
