import itertools

import numpy as np
import pandas as pd
import pytest

from segflow.evaluation.froc import COLUMNS, CURVE, POINTS, froc

ABOUT = {"predictor": "p", "split": "val", "label": "a"}


def frames(cases):
    """Return candidates and references of cases, each a number of lesions and (score, found)."""
    candidates = [
        {**ABOUT, "case": case, "score": score, "found": found}
        for case, (_, rows) in cases.items()
        for score, found in rows
    ]
    references = [{**ABOUT, "case": case, "n_reference": n} for case, (n, _) in cases.items()]
    columns = [*ABOUT, "case", "score", "found"]
    return pd.DataFrame(candidates, columns=columns), pd.DataFrame(references)


def test_operating_points_by_hand():
    cases = {
        "1": (2, [(0.9, 1), (0.4, 1), (0.3, 0)]),
        "2": (1, [(0.8, 0), (0.7, 1)]),
        "3": (1, []),
        "4": (0, [(0.4, 0), (0.2, 0)]),
    }
    points, curve = froc(*frames(cases), {case: case for case in cases}, seed=0)
    assert points.columns.tolist() == COLUMNS
    assert curve.columns.tolist() == CURVE
    # The two scores of 0.4 come together.
    assert curve["threshold"].tolist() == [0.9, 0.8, 0.7, 0.4, 0.3, 0.2]
    assert curve["false_positives_per_case"].tolist() == [0, 0.25, 0.25, 0.5, 0.75, 1]
    assert curve["sensitivity"].tolist() == [0.25, 0.25, 0.5, 0.75, 0.75, 0.75]
    assert points["false_positives_per_case"].tolist() == [*POINTS, "mean"]
    sensitivity = [0.25, 0.5, 0.75, 0.75, 0.75, 0.75, 0.75]
    assert points["sensitivity"].tolist() == pytest.approx([*sensitivity, np.mean(sensitivity)])
    assert points["threshold"].tolist()[:4] == [0.9, 0.7, 0.4, 0.2]
    assert points["n_reference"].tolist() == [4] * 8
    assert points["n_candidates"].tolist() == [7] * 8
    assert points["sensitivity_low"].isna().all()  # three groups with a lesion


def test_a_point_that_no_threshold_reaches_has_nothing():
    """Equal scores cannot be told apart: two false positives in two cases are one a case."""
    cases = {"1": (1, [(1.0, 1), (1.0, 0)]), "2": (1, [(1.0, 1), (1.0, 0)])}
    points, _ = froc(*frames(cases), {"1": "1", "2": "2"}, seed=0)
    found = dict(zip(points["false_positives_per_case"], points["sensitivity"], strict=True))
    assert (found[0.5], found[1.0]) == (0, 1)


def plain_sensitivity(cases, drawn, point):
    """Return the sensitivity at a point by trying all thresholds, for cases with repetition."""
    n_lesions = sum(cases[case][0] for case in drawn)
    rows = [row for case in drawn for row in cases[case][1]]
    best = 0.0
    for threshold in {score for score, _ in rows}:
        kept = [found for score, found in rows if score >= threshold]
        if kept.count(0) <= point * len(drawn):
            best = max(best, sum(kept) / n_lesions)
    return best


def test_intervals_draw_groups():
    generator = np.random.default_rng(3)
    cases = {}
    for case in range(12):
        n = int(generator.integers(1, 4))
        rows = [
            (float(score), int(number < n - 1))
            for number, score in enumerate(generator.integers(1, 9, n + 2) / 8)
        ]
        cases[str(case)] = (n, rows)
    groups = {case: f"g{int(case) // 2}" for case in cases}
    points, _ = froc(*frames(cases), groups, seed=5)
    members = [[str(2 * group), str(2 * group + 1)] for group in range(6)]
    drawn = np.random.default_rng([5, 6]).integers(6, size=(9999, 6))[:9999]
    chosen = [list(itertools.chain(*(members[number] for number in one))) for one in drawn[:1500]]
    for place, point in enumerate(POINTS[:5]):
        row = points.iloc[place]
        assert row["sensitivity"] == pytest.approx(plain_sensitivity(cases, list(cases), point))
        values = [plain_sensitivity(cases, one, point) for one in chosen]
        low, high = np.quantile(values, [0.025, 0.975])
        assert row["sensitivity_low"] == pytest.approx(low, abs=0.06)
        assert row["sensitivity_high"] == pytest.approx(high, abs=0.06)


def test_cases_without_lesions_have_no_sensitivity():
    points, curve = froc(*frames({"1": (0, [(0.5, 0)])}), {"1": "1"}, seed=0)
    assert points["sensitivity"].isna().all()
    assert len(curve) == 0


def test_lesions_without_a_candidate_are_missed():
    points, curve = froc(*frames({"1": (2, []), "2": (1, [])}), {"1": "1", "2": "2"}, seed=0)
    assert points["sensitivity"].tolist() == [0] * 8
    assert len(curve) == 0
    nothing = froc(*(table[:0] for table in frames({"1": (1, [(1, 1)])})), {}, seed=0)
    assert [len(table) for table in nothing] == [0, 0]
