import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import brier_score_loss

from segflow.evaluation.calibration import (
    BINS,
    measure_calibration,
    near_label,
    surroundings,
)


def test_brier_score_and_error_by_hand():
    # Steps of 0.1: 4 voxels of 0.2, one of which is in the label; 2 of 0.9, both are.
    counts = np.zeros((2, 11), int)
    counts[0, 2], counts[1, 2], counts[1, 9] = 3, 1, 2
    measures, bins = measure_calibration(counts)
    assert (measures["n_voxels"], measures["n_positive"]) == (6, 3)
    assert measures["brier"] == pytest.approx((3 * 0.04 + 0.64 + 2 * 0.01) / 6)
    assert measures["ece"] == pytest.approx((4 * 0.05 + 2 * 0.1) / 6)
    assert [row["bin"] for row in bins] == [3, 13]  # 0.2 is the lower end of the fourth bin
    assert [row["probability"] for row in bins] == pytest.approx([0.2, 0.9])
    assert [(row["n_voxels"], row["n_positive"]) for row in bins] == [(4, 1), (2, 2)]


def test_agrees_with_plain_sums_over_voxels():
    generator = np.random.default_rng(0)
    p = generator.integers(0, 4096, 5000) / 4095
    y = generator.random(5000) < p**2
    counts = np.stack(
        [np.bincount(np.rint(p[y == there] * 4095).astype(int), minlength=4096) for there in (0, 1)]
    )
    measures, bins = measure_calibration(counts)
    assert measures["brier"] == pytest.approx(brier_score_loss(y, p))
    bin_of = np.minimum((p * BINS).astype(int), BINS - 1)
    error = sum(abs(p[bin_of == one].sum() - y[bin_of == one].sum()) for one in range(BINS)) / len(
        p
    )
    assert measures["ece"] == pytest.approx(error)
    assert sum(row["n_voxels"] for row in bins) == 5000


def test_certain_and_right_is_perfect_and_nothing_is_undefined():
    counts = np.zeros((2, 11), int)
    counts[0, 0], counts[1, 10] = 90, 10
    assert measure_calibration(counts)[0]["brier"] == measure_calibration(counts)[0]["ece"] == 0
    measures, bins = measure_calibration(np.zeros((2, 11), int))
    assert np.isnan([measures["brier"], measures["ece"]]).all()
    assert bins == []


@pytest.mark.parametrize("margin_mm", [1.0, 3.0, 5.5])
def test_tiles_see_what_is_near_beyond_their_borders(margin_mm):
    generator = np.random.default_rng(1)
    mask = generator.random((9, 20, 30)) < 0.002
    spacing_mm = (3.0, 2.0, 1.0)
    expected = distance_transform_edt(~mask, sampling=spacing_mm) <= margin_mm
    for z, y, x in np.ndindex(3, 2, 3):
        box = (slice(3 * z, 3 * z + 3), slice(10 * y, 10 * y + 10), slice(10 * x, 10 * x + 10))
        around, inside = surroundings(box, spacing_mm, margin_mm)
        found = near_label(mask[around], spacing_mm, margin_mm)[inside]
        np.testing.assert_array_equal(found, expected[box])


def test_a_distance_that_equals_the_margin_is_near():
    mask = np.zeros((1, 1, 12), bool)
    mask[..., 0] = True
    assert near_label(mask, (1.0, 1.0, 0.1), 0.7).sum() == 8
