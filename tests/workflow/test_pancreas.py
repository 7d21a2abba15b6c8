"""Study S1 on a made set, in which the subtypes can be seen, and in which they cannot."""

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from pancreas import SPACING_MM, TRAINING, VALIDATION, draw_case, make_told_pancreas
from project import make_project
from segflow.predictors.feature_classifiers import classify
from segflow.predictors.lesion_features import measure_lesion

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


def test_a_head_tells_shuffled_subtypes_by_chance(tmp_path):
    folder = run_study(tmp_path / "project", shuffled=True)
    assert macro_f1(folder, "headed")["value"] < 0.5
    assert macro_f1(folder, "headed")["low"] < 1 / 3


def test_features_tell_shuffled_subtypes_by_chance():
    """In one draw, looks may go with shuffled subtypes (AUCs of 0.4 to 0.65); in several, not."""
    subtypes = np.repeat([0, 1, 2], np.add(TRAINING, VALIDATION))
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        features = []
        for look in rng.permutation(subtypes):
            image, labels = draw_case(look, rng)
            features.append(
                [*measure_lesion(labels == 2, [image.astype(float)], SPACING_MM).values()]
            )
        table, told = np.array(features), np.zeros((len(subtypes), 3))
        for train, val in StratifiedKFold(3, shuffle=True, random_state=seed).split(
            table, subtypes
        ):
            arguments = table[train], subtypes[train], table[val], 3, "logistic_regression", seed
            told[val] = classify(*arguments)
        found.append(roc_auc_score(subtypes, told, multi_class="ovr"))
    assert 0.4 < np.mean(found) < 0.6
