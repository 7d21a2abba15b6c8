"""Classes of cases, from label maps to tables and figures, without a network that tells them."""

import csv

import numpy as np
import pandas as pd
import pytest

from project import MODELS, N_TEST, N_TRAINING, make_project

pytestmark = [pytest.mark.slow, pytest.mark.long]
CLASSES = ["small", "large"]
TOLD = ["trees", "regression", "told", "class_prior", "majority_class"]


@pytest.fixture
def classified(tmp_path):
    """Return a project whose cases have classes, as a table says, and two classifiers."""
    project = make_project(tmp_path / "project", {"tiny": MODELS["tiny_2d"]})
    rows = [
        {
            "case": path.name.removesuffix(".nii.gz"),
            "patient": path.name.removesuffix(".nii.gz"),
            "image": f"images{part}/{path.name}",
            "label": f"labels{part}/{path.name}",
            "split": {"Tr": "train", "Ts": "test"}[part],
            "class": CLASSES[number % 2],
        }
        for part in ("Tr", "Ts")
        for number, path in enumerate(sorted((project.raw / f"images{part}").iterdir()))
    ]
    with (project.raw / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    changes = {"converter": "table", "classes": CLASSES, "lesions": {"labels": ["anterior"]}}
    project.edit("config/datasets/hippocampus.yaml", lambda dataset: dataset.update(changes))
    methods = {"trees": "gradient_boosting", "regression": "logistic_regression"}
    project.configure(
        feature_classifiers={
            name: {"method": method, "predictor": "tiny"} for name, method in methods.items()
        },
        ensembles={"told": {"members": list(methods), "weights": [1, 3]}},
    )
    return project


def test_classifiers_are_measured_compared_and_drawn(classified):
    classified.snakemake()
    folder = classified.results / "hippocampus"
    report = (classified.results / "report.html").read_text()
    assert "Classes of cases" in report
    assert "Gradient boosting on features of" in report
    tables = {name: pd.read_csv(folder / name / "classification.csv") for name in TOLD}
    for table in tables.values():
        assert table["split"].value_counts().to_dict() == {"val": N_TRAINING, "test": N_TEST}
        np.testing.assert_allclose(table[["p_small", "p_large"]].sum(axis=1), 1)
    expected = (tables["trees"]["p_large"] + 3 * tables["regression"]["p_large"]) / 4
    np.testing.assert_allclose(tables["told"]["p_large"], expected)
    summary = pd.read_csv(folder / "classification_summary.csv")
    assert set(summary["predictor"]) == set(TOLD)
    right = (tables["told"]["p_large"] > 0.5) == (tables["told"]["class"] == "large")
    for split in ("val", "test"):
        row = summary.query(
            "predictor == 'told' and `class` == 'all' and metric == 'accuracy' and split == @split"
        )
        assert row["value"].item() == pytest.approx(right[tables["told"]["split"] == split].mean())
    assert len(pd.read_csv(folder / "classification_comparisons.csv")) == 2 * 10 * 4
    for name in ("curves", "confusion", "reliability", "cases"):
        assert (folder / f"classification_{name}.png").stat().st_size > 5000
    assert classified.planned() == set()
    # Another method is fitted to the same features.
    classified.edit(
        "config/config.yaml",
        lambda config: config["feature_classifiers"]["trees"].update(method="logistic_regression"),
    )
    planned = classified.planned()
    assert {"classify_by_features", "gather_classification", "summarise_classification"} <= planned
    assert not planned & {"train_fold", "measure_features", "classify_by_prior"}
