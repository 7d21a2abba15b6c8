import numpy as np
import pandas as pd
import pytest

from segflow.evaluation.agreement import spread, volume_agreement
from segflow.evaluation.bootstrap import mean_intervals
from segflow.evaluation.summaries import arrange


def table(pairs, names=("reference_ml", "prediction_ml"), **about):
    about = {
        "predictor": "p",
        "split": "test",
        "stage": "raw",
        "fold": "all",
        "label": "a",
        **about,
    }
    return pd.DataFrame(
        [
            {**about, "case": str(case)} | dict(zip(names, pair, strict=True))
            for case, pair in enumerate(pairs)
        ]
    )


def agreement_of(metrics, groups=None):
    groups = groups or {case: case for case in metrics["case"]}
    names = ["reference_ml", "prediction_ml", "reference_mm2", "prediction_mm2"]
    return volume_agreement(arrange(metrics, names), groups, seed=1)


def test_bias_and_limits_by_hand():
    # Differences 1, -2, 4, 0, 2: mean 1, squares about it 0 + 9 + 9 + 1 + 1 = 20, variance 5.
    pairs = [(10.0, 11.0), (10.0, 8.0), (20.0, 24.0), (0.0, 0.0), (5.0, 7.0)]
    found = agreement_of(table(pairs)).iloc[0]
    assert (found["n"], found["n_groups"], found["unit"]) == (5, 5, "mL")
    assert (found["bias"], found["mean_reference"]) == (1.0, 9.0)
    assert found["sd"] == pytest.approx(np.sqrt(5))
    assert found["limit_low"] == pytest.approx(1 - 1.96 * np.sqrt(5))
    assert found["limit_high"] == pytest.approx(1 + 1.96 * np.sqrt(5))
    ends = mean_intervals(np.array([[1.0], [-2], [4], [0], [2]]), np.arange(5), seed=1)[:, 0]
    assert found[["ci_low", "ci_high"]].tolist() == pytest.approx(ends.tolist())


def test_each_predictor_stage_and_label_has_its_own_row():
    parts = [
        table([(1.0, 1.0 + bias), (2.0, 2.0 + bias)], predictor=predictor, stage=stage, label=label)
        for bias, (predictor, stage, label) in enumerate(
            [(p, s, x) for p in "pq" for s in ("raw", "postprocessed") for x in "ab"]
        )
    ]
    found = agreement_of(pd.concat(parts)).set_index(["predictor", "stage", "label"])["bias"]
    assert found["p", "raw", "b"] == 1
    assert found["q", "postprocessed", "a"] == 6
    assert len(found) == 8


def test_pictures_have_areas():
    metrics = table([(30.0, 20.0), (10.0, 10.0)], ("reference_mm2", "prediction_mm2"))
    found = agreement_of(metrics).iloc[0]
    assert (found["unit"], found["bias"]) == ("mm²", -5.0)


def test_the_spread_of_groups_of_several_cases_by_hand():
    # Groups {1, 3} and {5}: mean 3; within 2 / 1; between 2 (2 - 3)² + (5 - 3)² = 6, of one degree;
    # sizes 3 - 5 / 3 = 4 / 3. So 2 + (6 - 2) / (4 / 3) = 5.
    values = np.array([[1.0], [3.0], [5.0]])
    assert spread(values, np.array(["x", "x", "y"]))[0] == pytest.approx(np.sqrt(5))
    assert spread(values, np.array(["x", "y", "z"]))[0] == pytest.approx(2.0)
    assert np.isnan(spread(values, np.array(["x", "x", "x"]))).all()


def test_the_spread_of_made_groups_is_that_of_single_cases():
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(3000), generator.integers(1, 6, 3000))
    values = 2.0 * generator.normal(size=3000)[groups] + generator.normal(size=len(groups))
    assert spread(values[:, None], groups)[0] == pytest.approx(np.sqrt(5), rel=0.03)
