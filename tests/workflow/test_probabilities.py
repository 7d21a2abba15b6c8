"""Calibration and FROC: measured while probabilities are there, and nothing else done again."""

import numpy as np
import pandas as pd
import pytest

from project import N_TEST, N_TRAINING

pytestmark = pytest.mark.slow
MEASURED = {"evaluate_probabilities", "summarise_probabilities", "plot_probabilities"}


def test_probabilities_are_measured_before_they_are_discarded(project):
    wanted = {"calibration": {"margin_mm": 5}, "froc": {}, "lesions": {"labels": ["anterior"]}}
    project.edit("config/datasets/hippocampus.yaml", lambda dataset: dataset.update(wanted))
    planned = project.planned()
    assert planned >= MEASURED
    assert not planned & {"convert_dataset", "train_fold", "predict_fold", "ensemble_predictions"}
    project.configure(keep_probabilities=False)
    project.snakemake()
    folder = project.results / "hippocampus"
    assert not list(folder.rglob("*.b2nd"))
    for split, n_cases in (("val", N_TRAINING), ("test", N_TEST)):
        table = pd.read_csv(folder / f"both/calibration_{split}.csv")
        assert len(table) == n_cases * 2 * 2  # labels x domains
        assert table[["brier", "ece"]].to_numpy().max() <= 1
    summary = pd.read_csv(folder / "calibration.csv")
    assert set(summary["predictor"]) == {"tiny_2d", "tiny_3d", "both"}
    own = pd.read_csv(folder / "both/calibration_val.csv").query("label == 'anterior'")
    chosen = summary.query("predictor == 'both' and split == 'val' and label == 'anterior'")
    for domain in ("near", "image"):
        expected = own.loc[own["domain"] == domain, "brier"].mean()
        assert chosen.loc[chosen["domain"] == domain, "brier"].item() == pytest.approx(
            expected, rel=1e-4
        )
    metrics = pd.read_csv(folder / "both/metrics.csv")
    chosen = (metrics["label"] == "anterior") & (metrics["stage"] == "raw")
    lesions = metrics[chosen & (metrics["split"] == "val")]
    froc = pd.read_csv(folder / "froc.csv")
    row = froc[(froc["predictor"] == "both") & (froc["split"] == "val")].iloc[0]
    assert row["n_reference"] == lesions["lesion_tp"].sum() + lesions["lesion_fn"].sum()
    assert np.isin(froc["label"], ["anterior"]).all()
    for name in ("reliability.png", "froc.png"):
        assert (folder / name).stat().st_size > 5000
    assert project.planned() == set()
