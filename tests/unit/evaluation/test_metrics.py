import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)

from segflow.evaluation.lesions import lesion_metrics
from segflow.evaluation.metrics import METRICS, columns, joint_histogram, overlap

NAN, INF = math.nan, math.inf


@pytest.fixture
def pair():
    """Return a reference and a prediction with three labels, of which half the voxels agree."""
    generator = np.random.default_rng(0)
    reference = generator.integers(0, 4, (4, 5, 6)).astype(np.uint8)
    guess = generator.integers(0, 4, (4, 5, 6)).astype(np.uint8)
    return reference, np.where(generator.random((4, 5, 6)) < 0.5, reference, guess)


def test_histogram_of_a_drawn_example():
    reference = np.array([[0, 0, 1], [1, 2, 2]])
    prediction = np.array([[0, 1, 1], [1, 2, 0]])
    expected = [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    np.testing.assert_array_equal(joint_histogram(reference, prediction, 3), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64])
def test_histogram_agrees_with_scikit_learn(pair, dtype):
    reference, prediction = (array.astype(dtype) for array in pair)
    expected = confusion_matrix(reference.ravel(), prediction.ravel(), labels=range(5))
    np.testing.assert_array_equal(joint_histogram(reference, prediction, 5), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 119, 120, 1000])
def test_histogram_does_not_depend_on_how_voxels_are_divided(pair, size, monkeypatch):
    expected = joint_histogram(*pair, 4)
    monkeypatch.setattr("segflow.evaluation.metrics.CHUNK", size)
    np.testing.assert_array_equal(joint_histogram(*pair, 4), expected)


def test_histogram_of_more_voxels_than_are_counted_at_a_time():
    reference = np.random.default_rng(0).integers(0, 2, (3, 700, 700), np.uint8).repeat(2, axis=1)
    prediction = np.roll(reference, 1, 2)
    expected = np.bincount((2 * reference + prediction).ravel(), minlength=4).reshape(2, 2)
    np.testing.assert_array_equal(joint_histogram(reference, prediction, 2), expected)


def test_histogram_holds_many_labels_of_a_small_type():
    label_map = np.arange(256, dtype=np.uint8)  # 255 * 256 would not fit into the type
    np.testing.assert_array_equal(joint_histogram(label_map, label_map, 256), np.eye(256))


def test_histogram_of_no_voxels_is_zero():
    nothing = np.zeros((0, 3), np.uint8)
    np.testing.assert_array_equal(joint_histogram(nothing, nothing, 2), np.zeros((2, 2)))


def test_histogram_refuses_what_it_cannot_count():
    ones = np.ones((2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"reference of shape \(2, 2\), prediction \(2,\)"):
        joint_histogram(ones, ones[0], 2)
    with pytest.raises(ValueError, match="the reference holds label 3, allowed are 0 to 2"):
        joint_histogram(3 * ones, ones, 3)
    with pytest.raises(ValueError, match="the prediction holds label 3, allowed are 0 to 2"):
        joint_histogram(ones, 3 * ones, 3)
    with pytest.raises(ValueError, match="the prediction holds label -1, allowed are 0 to 2"):
        joint_histogram(ones, -ones.astype(np.int8), 3)
    with pytest.raises(ValueError, match="the reference holds float32 values, a label map holds"):
        joint_histogram(ones.astype(np.float32), ones, 3)


DRAWN = [[1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]]
SHARED = {
    "dice": 6 / 9,
    "iou": 3 / 6,
    "precision": 3 / 5,
    "recall": 3 / 4,
    "f1": 6 / 9,
    "specificity": 4 / 6,
    "accuracy": 7 / 10,
    "relative_volume_difference": 1 / 4,
    "tp": 3,
    "fp": 2,
    "fn": 1,
    "tn": 4,
}


def test_overlap_of_a_drawn_example():
    volumes = {"reference_ml": 0.024, "prediction_ml": 0.030, "volume_difference_ml": 0.006}
    found = overlap(joint_histogram(*map(np.array, DRAWN), 2), [1], 0.006)
    assert found == pytest.approx(SHARED | volumes)


def test_sizes_of_pictures_are_areas():
    areas = {"reference_mm2": 2.0, "prediction_mm2": 2.5, "area_difference_mm2": 0.5}
    found = overlap(joint_histogram(*map(np.array, DRAWN), 2), [1], 0.5, flat=True)
    assert found == pytest.approx(SHARED | areas)


@pytest.mark.parametrize("flat", [False, True])
def test_the_table_has_a_column_for_every_value(pair, flat):
    found = overlap(joint_histogram(*pair, 4), [1], 1.0, flat)
    others = ["hd", "hd95", "assd", "masd", "nsd"]
    lesions = lesion_metrics(0, 0, 0)
    assert sorted(columns(flat)) == sorted([*found, *others, *lesions])


@pytest.mark.parametrize("members", [[1], [3], [2, 3], [1, 2, 3]])
def test_overlap_agrees_with_scikit_learn(pair, members):
    found = overlap(joint_histogram(*pair, 4), members, 1.0)
    masks = [np.isin(array, members).ravel() for array in pair]
    assert found["dice"] == found["f1"] == pytest.approx(f1_score(*masks))
    assert found["iou"] == pytest.approx(jaccard_score(*masks))
    assert found["precision"] == pytest.approx(precision_score(*masks))
    assert found["recall"] == pytest.approx(recall_score(*masks))
    assert found["specificity"] == pytest.approx(recall_score(*masks, pos_label=False))
    assert found["accuracy"] == pytest.approx(accuracy_score(*masks))


def test_exchanging_the_maps_exchanges_precision_and_recall(pair):
    one = overlap(joint_histogram(*pair, 4), [1, 3], 1.0)
    other = overlap(joint_histogram(*pair[::-1], 4), [1, 3], 1.0)
    exchanged = {"precision": "recall", "fp": "fn", "reference_ml": "prediction_ml"}
    exchanged |= {there: here for here, there in exchanged.items()}
    for name in ("dice", "iou", "f1", "accuracy", "volume_difference_ml", "tp", "tn", *exchanged):
        assert one[name] == other[exchanged.get(name, name)], name


@pytest.mark.parametrize("metric", METRICS.values())
def test_every_metric_is_better_in_one_direction(metric):
    assert metric.better in ("higher", "lower")
    assert metric.title
