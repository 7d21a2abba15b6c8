import math

import pytest

from segflow.models.scores import epoch_scores, moving_average

NAN = float("nan")


def test_the_iou_follows_from_the_dice():
    # Dice 2/3 is IoU 1/2, Dice 0.5 is IoU 1/3.
    assert epoch_scores([[2 / 3, 0.5], [1.0, NAN]], "iou") == pytest.approx([5 / 12, 1.0])
    assert epoch_scores([[2 / 3, 0.5], [1.0, NAN]], "dice") == pytest.approx([7 / 12, 1.0])


def test_an_epoch_without_any_label_has_no_score_and_changes_no_average():
    scores = epoch_scores([[NAN, NAN], [0.5], [NAN], [1.0]], "dice")
    assert math.isnan(scores[0])
    assert moving_average(scores) == pytest.approx(0.9 * 0.5 + 0.1)
    assert math.isnan(moving_average([NAN]))
