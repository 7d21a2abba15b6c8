"""Study S1 on a made set, in which the subtypes can be seen, and in which they cannot."""

import pandas as pd
import pytest
import yaml

from pancreas import TRAINING, VALIDATION, make_told_pancreas
from project import make_project

pytestmark = pytest.mark.long
COMMON = {
    "configuration": "3d_fullres",
    "threads": 1,
    "overrides": {"batch_size": 4, "base_features": 8, "patch_size": [16, 48, 48]},
    "training": {
        "schedule": "quick",
        "epochs": 30,
        "iterations_per_epoch": 10,
        "validation_iterations_per_epoch": 3,
        "augmentation": "none",
    },
    "prediction": {"mirroring": False},
}
MODELS = {
    "plain": {**COMMON, "title": "U-Net"},
    "headed": {
        **COMMON,
        "title": "U-Net with a head",
        "head": {"structure": ["lesion"], "begin": 0.2, "weight": 1.0},
    },
}


def run_study(folder, **made):
    """Run models with and without a head on a made set, and return the folder of its tables."""
    project = make_project(folder, MODELS)
    make_told_pancreas(project.folder / "pancreas", **made)
    expected = {"train": sum(TRAINING), "val": sum(VALIDATION)}
    project.edit("config/datasets/pancreas.yaml", lambda data: data.update(expected_cases=expected))
    study = yaml.safe_load((project.folder / "config/studies/s1_pancreas.yaml").read_text())
    project.configure(
        datasets=["pancreas"],
        raw_folders={"pancreas": "pancreas"},
        n_folds=3,
        ensembles={},
        feature_classifiers={
            name: {**wanted, "predictor": "plain"}
            for name, wanted in study["feature_classifiers"].items()
        },
    )
    project.snakemake("evaluate")
    return project.results / "pancreas"


def macro_f1(folder, predictor):
    table = pd.read_csv(folder / "classification_summary.csv")
    chosen = table[(table["predictor"] == predictor) & (table["split"] == "val")]
    return chosen[(chosen["class"] == "macro") & (chosen["metric"] == "f1")].iloc[0]


def test_a_head_tells_subtypes_that_can_be_seen(tmp_path):
    folder = run_study(tmp_path / "project")
    assert macro_f1(folder, "headed")["value"] > 0.8
    assert macro_f1(folder, "headed")["low"] > macro_f1(folder, "class_prior")["value"]
    summary = pd.read_csv(folder / "summary.csv")
    assert {"pancreas", "lesion", "whole_pancreas"} <= set(summary["label"])
    told = pd.read_csv(folder / "headed/classification.csv")
    test = told[told["split"] == "test"]
    assert len(test) == 3
    assert test["class"].isna().all()


def test_subtypes_that_are_shuffled_are_told_by_chance(tmp_path):
    folder = run_study(tmp_path / "project", shuffled=True)
    for predictor in ("headed", "logistic_regression", "gradient_boosting"):
        assert macro_f1(folder, predictor)["value"] < 0.5
        assert macro_f1(folder, predictor)["low"] < 1 / 3
