import itertools

import numpy as np
import pandas as pd
import pytest

from segflow.evaluation.bootstrap import mean_intervals
from segflow.evaluation.detection import (
    LESION_COLUMNS,
    LESIONS,
    STRUCTURES,
    VOXEL_COUNTS,
    lesion_detection,
    proportion_intervals,
    structure_detection,
)
from segflow.evaluation.summaries import arrange

NAN = float("nan")


def table(rows, names, **about):
    about = {"predictor": "p", "split": "test", "stage": "raw", "fold": "all"} | about
    return pd.DataFrame(
        [
            {**about, "case": str(case), "label": label} | dict(zip(names, row, strict=True))
            for case, row in enumerate(rows)
            for label, row in row.items()
        ]
    )


def wilson(successes, trials):
    """Return the ends of Wilson's interval as textbooks write it."""
    z = 1.959963984540054
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials)
    half *= np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return [middle - half, middle + half]


def test_lesions_are_counted_over_all_cases():
    # Found, missed, made up; label b has no lesions.
    counts = [(2, 1, 0), (0, 0, 3), (1, 0, 0), (0, 2, 1), (0, 0, 0), (3, 0, 0)]
    rows = [{"a": row, "b": (NAN, NAN, NAN)} for row in counts]
    metrics = table(rows, LESION_COLUMNS)
    groups = {case: case for case in metrics["case"]}
    found = lesion_detection(arrange(metrics, LESION_COLUMNS), groups, seed=1)
    assert found.columns.tolist() == LESIONS
    assert found["label"].tolist() == ["a"]
    found = found.iloc[0]
    assert found[["n_cases", "n_groups", "n_reference", "n_prediction"]].tolist() == [6, 6, 9, 10]
    assert (found["n_found"], found["sensitivity"], found["precision"]) == (6, 6 / 9, 0.6)
    assert found["false_positives_per_case"] == 4 / 6
    ends = mean_intervals(np.array([[0.0], [3], [0], [1], [0], [0]]), np.arange(6), seed=1)
    assert found["false_positives_per_case_high"] == ends[1, 0]
    assert found["false_positives_per_case_low"] == max(ends[0, 0], 0)
    assert np.isnan(found["sensitivity_low"])  # four cases with lesions
    assert 0 < found["precision_low"] < 0.6 < found["precision_high"] < 1


def test_without_lesions_there_is_a_header_only():
    metrics = table([{"a": (NAN, NAN, NAN)}] * 3, LESION_COLUMNS)
    groups = {case: case for case in metrics["case"]}
    found = lesion_detection(arrange(metrics, LESION_COLUMNS), groups, seed=1)
    assert found.empty
    assert found.columns.tolist() == LESIONS


def test_presence_and_absence_of_a_structure_by_hand():
    # Voxels found, made up, missed.
    found, missed, made_up, right = (5, 1, 2), (0, 0, 3), (0, 4, 0), (0, 0, 0)
    elsewhere = (0, 6, 4)  # there is a prediction, though it misses the reference
    first = [found] * 5 + [elsewhere] + [missed] * 2 + [made_up] + [right] * 7
    rows = [{"a": row, "b": found} for row in first]
    metrics = table(rows, VOXEL_COUNTS)
    groups = {case: case for case in metrics["case"]}
    table_ = structure_detection(arrange(metrics, VOXEL_COUNTS), groups)
    assert table_.columns.tolist() == STRUCTURES
    one, other = (table_[table_["label"] == label].iloc[0] for label in "ab")
    assert (one["n_present"], one["n_found"], one["sensitivity"]) == (8, 6, 0.75)
    assert (one["n_absent"], one["n_left_out"], one["specificity"]) == (8, 7, 7 / 8)
    for rate, counts in (("sensitivity", (6, 8)), ("specificity", (7, 8))):
        ends = one[[f"{rate}_low", f"{rate}_high"]].tolist()
        assert ends == pytest.approx(wilson(*counts))
    assert (other["n_absent"], other["sensitivity"]) == (0, 1.0)
    assert np.isnan(other[["specificity", "specificity_low", "specificity_high"]].tolist()).all()


def intervals(successes, trials):
    sides = (np.array(side, float)[:, None] for side in (successes, trials))
    return proportion_intervals(*sides)[:, 0].tolist()


def test_groups_that_agree_within_count_as_one_trial_each():
    """Ten trials of a group that are all alike tell what one does, less what is not known of it."""
    alike = intervals([10, 10, 0, 10, 0, 10, 10, 10], [10] * 8)
    single = intervals([1, 1, 0, 1, 0, 1, 1, 1], [1] * 8)
    assert single == pytest.approx(wilson(6, 8))
    assert alike[0] < single[0]
    assert alike[1] > single[1]
    assert intervals([4] * 6, [4] * 6) == pytest.approx(wilson(6, 6))
    assert intervals([0] * 6, [4] * 6) == pytest.approx(wilson(0, 6))


def test_groups_without_a_trial_do_not_count_and_few_have_no_interval():
    trials, successes = [1, 1, 0, 1, 1, 1, 0], [1, 0, 0, 1, 1, 1, 0]
    assert intervals(successes, trials) == pytest.approx(wilson(4, 5))
    assert np.isnan(intervals(successes[:6], [1, 0, 0, 1, 1, 1])).all()


def test_intervals_hold_their_level():
    generator = np.random.default_rng(0)
    held = {}
    for n_groups, share, alike in itertools.product((5, 10, 20), (0.5, 0.8, 0.95), (0.1, 0.4)):
        shape = (n_groups, 1000)
        trials = generator.geometric(0.25, shape).astype(float)
        odds = 1 / alike - 1
        chances = generator.beta(share * odds, (1 - share) * odds, shape)
        successes = generator.binomial(trials.astype(int), chances).astype(float)
        low, high = proportion_intervals(successes, trials)
        held[n_groups, share, alike] = np.mean((low <= share) & (share <= high))
    assert min(held.values()) > 0.91, held
    assert np.mean(list(held.values())) == pytest.approx(0.96, abs=0.02)
