import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from segflow.evaluation.boundaries import boundary_iou, boundary_width_mm, centre_line_dice
from segflow.evaluation.metrics import columns
from segflow.evaluation.one_case import Settings, evaluate_case

LABELS = {"background": 0, "a": 1}


def square(rows, columns, shape=(1, 12, 12)):
    mask = np.zeros(shape, bool)
    mask[:, rows, columns] = True
    return mask


def test_the_boundary_of_squares_by_hand():
    # Of 6 x 6 pixels the outer 20 are boundary; shifted by one, two rows of five are in both.
    one, other = square(slice(2, 8), slice(2, 8)), square(slice(2, 8), slice(3, 9))
    rims = [mask[0] & ~binary_erosion(mask[0]) for mask in (one, other)]
    assert [rim.sum() for rim in rims] == [20, 20]
    assert (rims[0] & rims[1]).sum() == 10
    assert boundary_iou(one, other, (5.0, 1, 1), 1.0, (1, 2)) == 10 / 30
    assert boundary_iou(one, one, (5.0, 1, 1), 1.0, (1, 2)) == 1.0
    wide = boundary_iou(one, other, (5.0, 1, 1), 99.0, (1, 2))
    assert wide == (one & other).sum() / (one | other).sum()  # the IoU


def test_the_boundary_has_a_width_in_mm_and_the_border_of_the_image_is_one():
    mask = np.ones((4, 6, 6), bool)
    core = np.zeros_like(mask)
    core[1:3, 2:4, 2:4] = True  # further than 2 mm from the outside, 3 mm along z
    found = boundary_iou(mask, mask & ~core, (2.999, 1.0, 1.0), 2.0)
    reached = mask.copy()
    reached[:, 2:4, 2:4] = False  # no slice is within 2 mm of the end along z
    hollow = mask & ~core
    # Of the hollow one, what is within 2 mm of the outside or of the hole.
    inner = np.zeros_like(mask)
    for z, y, x in np.argwhere(hollow):
        outside = min(y + 1, x + 1, 6 - y, 6 - x)
        hole = np.argwhere(core)
        to_hole = np.sqrt((((hole - (z, y, x)) * (2.999, 1, 1)) ** 2).sum(1)).min()
        inner[z, y, x] = min(outside, 2.999 * min(z + 1, 4 - z), to_hole) <= 2
    assert found == (reached & inner).sum() / (reached | inner).sum()


def test_the_width_is_a_share_of_the_diagonal_and_a_voxel_at_least():
    assert boundary_width_mm((30, 40, 120), (10.0, 10, 10), (0, 1, 2)) == pytest.approx(26)
    assert boundary_width_mm((30, 40, 120), (5.0, 1, 1), (0, 1, 2)) == 5.0
    assert boundary_width_mm((1, 30, 40), (9.0, 10, 10), (1, 2)) == pytest.approx(10)
    assert boundary_width_mm((30, 40, 120), (1.0, 1, 1), (0, 1, 2), 4) == 4


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2)])
def test_centre_lines_by_hand(axes):
    """Lines of one voxel are their own skeletons."""
    reference, prediction = (np.zeros((1 if len(axes) == 2 else 5, 9, 20), bool) for _ in "ab")
    reference[0, 4, 2:12] = True
    prediction[0, 4, 6:14] = True  # six of the ten, and two more
    sensitivity, precision = 6 / 10, 6 / 8
    expected = 2 * precision * sensitivity / (precision + sensitivity)
    assert centre_line_dice(reference, prediction, axes) == pytest.approx(expected)


def test_a_tube_that_is_too_thick_keeps_its_centre_line():
    reference, prediction = (np.zeros((11, 11, 40), bool) for _ in "ab")
    reference[4:7, 4:7, 2:38] = True
    prediction[3:8, 3:8, 2:38] = True
    assert centre_line_dice(reference, prediction) == 1.0
    # The shells are 3 x 3 x 36 - 34 and 5 x 5 x 36 - 9 x 34 voxels, and share the ends, 2 x 9.
    assert boundary_iou(reference, prediction, (1.0, 1, 1), 1.0) == 18 / (290 + 594 - 18)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2)])
def test_empty_masks(axes):
    some, empty = np.ones((1, 3, 3), bool), np.zeros((1, 3, 3), bool)
    for one, other, expected in ((some, empty, 0), (empty, some, 0), (empty, empty, math.nan)):
        found = [boundary_iou(one, other, (1.0, 1, 1), 1, axes), centre_line_dice(one, other, axes)]
        assert found == pytest.approx([expected] * 2, nan_ok=True)


def test_they_are_measured_where_they_are_asked_for(draw, tmp_path):
    truth = np.zeros((6, 9, 20), np.uint8)
    truth[2:5, 2:5, 2:18] = 1
    guess = np.roll(truth, 1, axis=1)
    paths = [draw(tmp_path / f"{n}.nii.gz", a) for n, a in enumerate((truth, guess))]
    asked = Settings(LABELS, options=("boundary_iou", "cldice"), boundary_mm=3.0)
    found = evaluate_case(*paths, asked)[0]["a"]
    assert found["boundary_iou"] == boundary_iou(truth > 0, guess > 0, (3.0, 2.0, 1.0), 3.0)
    assert found["cldice"] == centre_line_dice(truth > 0, guess > 0)
    assert not {"boundary_iou", "cldice"} & evaluate_case(*paths, Settings(LABELS))[0]["a"].keys()
    assert {"boundary_iou", "cldice"} <= {*columns(False, asked.options)}
    assert not {"boundary_iou", "cldice"} & {*columns(False)}
