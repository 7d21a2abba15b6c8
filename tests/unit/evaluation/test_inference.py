import numpy as np
import pandas as pd
import pytest

from segflow.evaluation.inference import choose, compare_settings, on_frontier, propose, summarise


def measured(**settings):
    """Return rows of four cases in two folds: of each setting seconds, losses and equal shares."""
    rows = [
        {
            "model": "m",
            "fold": place // 2,
            "case": f"c{place}",
            "setting": name,
            "seconds": seconds,
            "dice": 0.9 - lost[place] / 100,
            "equal": equal,
            "peak_mb": 100.0 + place,
            "device": "x86_64",
        }
        for name, (seconds, lost, equal) in settings.items()
        for place in range(4)
    ]
    return pd.DataFrame(rows)


NNUNET = (8.0, [0, 0, 0, 0], 1.0)


def test_losses_are_points_below_the_reference():
    rows = measured(nnunet=NNUNET, rough=(1.0, [1, 2, 3, -2], 0.99))
    found = compare_settings(rows, "nnunet")
    rough = found[found["setting"] == "rough"]
    assert rough["lost"].tolist() == pytest.approx([1, 2, 3, -2])
    assert rough["usual_seconds"].tolist() == [8.0] * 4


def test_the_fastest_that_loses_no_more_is_fast_and_one_that_changes_nothing_exact():
    rows = measured(
        nnunet=NNUNET,
        rough=(1.0, [1, 1, 1, 1], 0.99),
        good=(2.0, [0.1, 0.3, 0.2, 0.1], 0.999),
        same=(4.0, [0, 0, 0, 0], 0.99995),
    )
    found = compare_settings(rows, "nnunet")
    assert choose(found, 0.2) == {"fast": "good", "exact": "same"}
    assert choose(found, 1.0) == {"fast": "rough", "exact": "same"}
    assert choose(found, 0.0) == {"fast": "same", "exact": "same"}


def test_what_is_proposed_is_measured_on_folds_that_had_no_part_in_it():
    # Fold 0 would choose the rough setting, which loses 4 points on fold 1.
    rows = measured(nnunet=NNUNET, rough=(1.0, [0, 0, 4, 4], 0.9))
    found = compare_settings(rows, "nnunet")
    fast = propose(found, 0.2)["fast"]
    assert fast["setting"] == "nnunet"  # on the mean it loses 2 points
    # Fold 0 gets nnU-Net's settings, which fold 1 chooses; fold 1 gets the rough one.
    assert fast["speed"] == pytest.approx(4 * 8 / (2 * 8 + 2 * 1))
    assert fast["lost"] == pytest.approx((0 + 0 + 4 + 4) / 4)


def test_with_one_fold_nothing_is_promised():
    rows = compare_settings(measured(nnunet=NNUNET), "nnunet")
    assert propose(rows[rows["fold"] == 0], 0.2)["fast"] == {
        "setting": "nnunet",
        "speed": None,
        "lost": None,
    }


def test_a_summary_has_a_row_for_each_setting():
    rows = measured(nnunet=NNUNET, rough=(1.0, [1, 2, 3, -2], 0.99))
    groups = {f"c{place}": f"p{place}" for place in range(4)}
    found = summarise(compare_settings(rows, "nnunet"), groups, 0.2, seed=1).set_index("setting")
    rough = found.loc["rough"]
    assert rough["n"] == 4
    assert rough["speed"] == pytest.approx(8)
    assert rough["seconds"] == 1
    assert rough["lost"] == pytest.approx(1)
    assert rough["peak_mb"] == 103
    assert np.isnan(rough["low"])  # of fewer than five groups there is no interval
    assert found["frontier"].tolist() == [True, True]
    assert found.loc["nnunet", "proposed"] == "fast and exact"


def test_the_frontier_has_what_nothing_beats():
    seconds, dice = pd.Series([1, 2, 3, 3, 4.0]), pd.Series([0.5, 0.7, 0.6, 0.8, 0.8])
    assert on_frontier(seconds, dice) == [True, True, False, True, False]
