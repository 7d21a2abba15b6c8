"""Region-based training: labels that overlap, from raw files to metrics."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from project import MODELS, make_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    models = {"tiny_2d": MODELS["tiny_2d"]}
    project = make_project(tmp_path_factory.mktemp("regions") / "project", models, 4, 1)
    regions = {"labels": {"background": 0, "whole": [1, 2], "posterior": [2]}}
    regions["regions_class_order"] = [1, 2]
    regions["evaluated_regions"] = {"anterior": [1]}
    regions["surface_tolerance_mm"] = {"whole": 1, "posterior": 1, "anterior": 2}
    project.edit("config/datasets/hippocampus.yaml", lambda dataset: dataset.update(regions))
    project.configure(folds=[0])
    project.snakemake("report")
    return project


def test_metrics_are_those_of_regions(project):
    folder = project.results / "hippocampus/tiny_2d"
    metrics = pd.read_csv(folder / "metrics.csv")
    assert set(metrics["label"]) == {"whole", "posterior", "anterior"}
    row = metrics[(metrics["stage"] == "raw") & (metrics["label"] == "whole")].iloc[0]
    reference, prediction = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(path / f"{row['case']}.nii.gz"))) > 0
        for path in (
            project.results / "nnUNet_raw/Dataset004_hippocampus/labelsTr",
            folder / "predictions/val/raw",
        )
    )
    assert row["tp"] == (reference & prediction).sum()
    assert row["fp"] == (~reference & prediction).sum()
    assert row["reference_ml"] == pytest.approx(reference.sum() / 1000)


def test_a_region_that_is_only_evaluated_has_no_part_in_the_mean_over_labels(project):
    metrics = pd.read_csv(project.results / "hippocampus/tiny_2d/metrics.csv")
    learned = metrics[metrics["label"] != "anterior"].groupby(["split", "stage", "case"])["dice"]
    summary = pd.read_csv(project.results / "hippocampus/summary.csv", keep_default_na=False)
    chosen = (summary["label"] == "all") & (summary["metric"] == "dice")
    found = summary[chosen & (summary["fold"] == "all")].set_index(["split", "stage"])["mean"]
    for key, mean in learned.mean().groupby(["split", "stage"]).mean().items():
        assert float(found[key]) == pytest.approx(mean, abs=1e-5)
    choice = (project.results / "hippocampus/tiny_2d/postprocessing.json").read_text()
    assert "anterior" not in choice


def test_label_maps_hold_declared_values_only(project):
    for path in (project.results / "hippocampus/tiny_2d/predictions").rglob("*.nii.gz"):
        assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))) <= {0, 1, 2}


def test_regions_without_an_order_are_refused(project, tmp_path):
    copy = project.copy(tmp_path / "project")
    name = "config/datasets/hippocampus.yaml"
    copy.edit(name, lambda dataset: dataset.pop("regions_class_order"))
    text = copy.snakemake("--dry-run", check=False)
    assert f"{name}: regions_class_order: needs 2 values" in text
