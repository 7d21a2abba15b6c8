import numpy as np
import pandas as pd
import pytest

from segflow.evaluation.bootstrap import mean_intervals
from segflow.evaluation.calibration import measure_calibration
from segflow.evaluation.reliability import SUMMARY, summarise_calibration


def tables(sizes):
    """Return measures and bins of cases of these sizes: p is 0.9, of every other case all is it."""
    about = {"predictor": "p", "split": "val", "fold": "0", "label": "a", "domain": "near"}
    measures, bins = [], []
    for case, n in enumerate(sizes):
        counts = np.zeros((2, 11), int)
        counts[case % 2, 9] = n
        one, rows = measure_calibration(counts)
        own = {**about, "case": str(case)}
        measures.append({**own, **one})
        bins += [{**own, **row} for row in rows]
    return pd.DataFrame(measures), pd.DataFrame(bins)


def test_every_case_counts_the_same_however_large_it_is():
    measures, bins = tables([10, 1000, 500, 20])
    groups = {str(case): str(case) for case in range(4)}
    summary, pooled = summarise_calibration(measures, bins, groups, seed=1)
    assert summary.columns.tolist() == SUMMARY
    row = summary.iloc[0]
    assert (row["n_cases"], row["n_undefined"], row["n_groups"]) == (4, 0, 4)
    assert row["brier"] == pytest.approx((0.81 + 0.01) / 2)
    assert row["case_ece"] == pytest.approx((0.9 + 0.1) / 2)
    assert row["ece"] == pytest.approx(0.4)  # half is there where 0.9 was said
    assert np.isnan(row["brier_low"])  # four groups
    assert pooled.iloc[0, -3:].tolist() == pytest.approx([1, 0.9, 0.5])


def test_intervals_draw_groups_and_empty_cases_are_counted_apart():
    measures, bins = tables([10, 10, 30, 40, 10, 10, 10, 0])
    groups = {str(case): str(case // 2) for case in range(8)} | {"6": "x", "0": "y"}
    row = summarise_calibration(measures, bins, groups, seed=1)[0].iloc[0]
    assert (row["n_cases"], row["n_undefined"], row["n_groups"]) == (8, 1, 5)
    of_case = np.array([groups[str(case)] for case in range(7)])
    ends = mean_intervals(measures[["brier"]].to_numpy()[:7], of_case, seed=1)[:, 0]
    assert [row["brier_low"], row["brier_high"]] == pytest.approx(np.clip(ends, 0, 1).tolist())


def test_nothing_to_summarise():
    measures, bins = tables([0, 0])
    bins = pd.DataFrame(columns=[*measures, "bin", "probability"])
    summary, pooled = summarise_calibration(measures, bins, {"0": "0", "1": "1"}, seed=1)
    assert summary["n_undefined"].tolist() == [2]
    assert np.isnan(summary["brier"]).all()
    assert len(pooled) == 0
    empty = summarise_calibration(measures[:0], bins, {}, seed=1)
    assert [len(table) for table in empty] == [0, 0]
