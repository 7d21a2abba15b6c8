import math

import numpy as np
import pytest
from nnunetv2.evaluation.evaluate_predictions import compute_metrics
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)

from segflow.metrics import (
    METRICS,
    Comparison,
    evaluate_case,
    evaluate_cases,
    joint_histogram,
    overlap,
)

LABELS = {"background": 0, "a": 1, "b": 2}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3}


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


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_histogram_agrees_with_scikit_learn(pair, dtype):
    reference, prediction = (array.astype(dtype) for array in pair)
    expected = confusion_matrix(reference.ravel(), prediction.ravel(), labels=range(5))
    np.testing.assert_array_equal(joint_histogram(reference, prediction, 5), expected)


def test_histogram_holds_many_labels_of_a_small_type():
    label_map = np.arange(256, dtype=np.uint8)  # 255 * 256 would not fit into the type
    np.testing.assert_array_equal(joint_histogram(label_map, label_map, 256), np.eye(256))


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


def test_overlap_of_a_drawn_example():
    reference = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    prediction = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    assert overlap(joint_histogram(reference, prediction, 2), [1], 0.006) == {
        "dice": pytest.approx(6 / 9),
        "iou": pytest.approx(3 / 6),
        "precision": pytest.approx(3 / 5),
        "recall": pytest.approx(3 / 4),
        "tp": 3,
        "fp": 2,
        "fn": 1,
        "tn": 4,
        "reference_ml": pytest.approx(0.024),
        "prediction_ml": pytest.approx(0.030),
    }


NAN = math.nan


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        ([0, 0], [0, 0], {"dice": NAN, "iou": NAN, "precision": NAN, "recall": NAN}),
        ([1, 0], [0, 0], {"dice": 0, "iou": 0, "precision": NAN, "recall": 0}),
        ([0, 0], [1, 0], {"dice": 0, "iou": 0, "precision": 0, "recall": NAN}),
        ([1, 0], [0, 1], {"dice": 0, "iou": 0, "precision": 0, "recall": 0}),
        ([1, 1], [1, 1], {"dice": 1, "iou": 1, "precision": 1, "recall": 1}),
    ],
)
def test_empty_masks(reference, prediction, expected):
    found = overlap(joint_histogram(np.array(reference), np.array(prediction), 2), [1], 1.0)
    assert {name: found[name] for name in METRICS} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("members", [[1], [3], [2, 3], [1, 2, 3]])
def test_overlap_agrees_with_scikit_learn(pair, members):
    found = overlap(joint_histogram(*pair, 4), members, 1.0)
    masks = [np.isin(array, members).ravel() for array in pair]
    assert found["dice"] == pytest.approx(f1_score(*masks))
    assert found["iou"] == pytest.approx(jaccard_score(*masks))
    assert found["precision"] == pytest.approx(precision_score(*masks))
    assert found["recall"] == pytest.approx(recall_score(*masks))


def test_metrics_agree_with_nnunet(pair, draw, tmp_path):
    paths = [draw(tmp_path / f"{n}.nii.gz", array) for n, array in enumerate(pair)]
    found = evaluate_case(*paths, REGIONS)
    keys = {"whole": (1, 2, 3), "core": (2, 3), "tip": 3}
    expected = compute_metrics(*map(str, paths), SimpleITKIO(), list(keys.values()))["metrics"]
    names = {"dice": "Dice", "iou": "IoU", "tp": "TP", "fp": "FP", "fn": "FN", "tn": "TN"}
    for region, key in keys.items():
        theirs = {mine: expected[key][name] for mine, name in names.items()}
        assert {name: found[region][name] for name in names} == pytest.approx(theirs)


def test_volumes_follow_the_spacing(draw, tmp_path):
    label_map = np.zeros((2, 3, 4), np.uint8)
    label_map[0, :, 0] = 2
    path = draw(tmp_path / "a.nii.gz", label_map)  # voxels of 3 x 2 x 1 mm
    found = evaluate_case(path, path, LABELS)
    assert found["b"]["reference_ml"] == pytest.approx(3 * 6 / 1000)
    assert found["a"]["reference_ml"] == 0
    assert math.isnan(found["a"]["dice"])


def test_a_missing_prediction_is_named(draw, tmp_path):
    reference = draw(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8))
    with pytest.raises(FileNotFoundError, match=r"b\.nii\.gz: the prediction of this case is miss"):
        evaluate_case(reference, tmp_path / "b.nii.gz", LABELS)


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ((2, 3, 5), {}, r"shape \(2 3 4 against 2 3 5\)"),
        ((2, 3, 4), {"spacing_mm": (3.0, 2.0, 1.5)}, r"spacing \(3 2 1 against 3 2 1\.5\)"),
        ((2, 3, 4), {"origin_mm": (10.0, 20.0, 31.0)}, r"origin \(10 20 30 against 10 20 31\)"),
        (
            (2, 3, 4),
            {"direction": (0, 1, 0, -1, 0, 0, 0, 0, 1)},
            r"direction \(1 0 0 0 1 0 0 0 1 a",
        ),
    ],
)
def test_another_grid_is_refused(draw, tmp_path, shape, changes, message):
    reference = draw(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8))
    prediction = draw(tmp_path / "b.nii.gz", np.ones(shape, np.uint8), **changes)
    where = r"b\.nii\.gz: differs from its reference .*a\.nii\.gz in"
    with pytest.raises(ValueError, match=f"{where} {message}"):
        evaluate_case(reference, prediction, LABELS)


def test_an_undeclared_label_is_refused(draw, tmp_path):
    reference = draw(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8))
    prediction = draw(tmp_path / "b.nii.gz", np.full((2, 3, 4), 3, np.uint8))
    with pytest.raises(ValueError, match=r"b\.nii\.gz: the prediction holds label 3, allowed"):
        evaluate_case(reference, prediction, LABELS)


def test_an_undeclared_label_between_declared_ones_is_refused(draw, tmp_path):
    ones = draw(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8))
    twos = draw(tmp_path / "b.nii.gz", np.full((2, 3, 4), 2, np.uint8))
    labels = {"background": 0, "a": 1, "b": 3}
    for pair in ((ones, twos), (twos, ones)):
        with pytest.raises(ValueError, match="it or its reference holds undeclared label 2"):
            evaluate_case(*pair, labels)


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_follow_the_order_of_the_comparisons(draw, tmp_path, workers):
    ones = draw(tmp_path / "ones.nii.gz", np.ones((2, 3, 4), np.uint8))
    twos = draw(tmp_path / "twos.nii.gz", np.full((2, 3, 4), 2, np.uint8))
    comparisons = [Comparison(ones, twos, {"case": "z"}), Comparison(ones, ones, {"case": "y"})]
    rows = evaluate_cases(comparisons, LABELS, workers)
    assert [(row["case"], row["label"]) for row in rows] == [
        ("z", "a"),
        ("z", "b"),
        ("y", "a"),
        ("y", "b"),
    ]
    assert [row["dice"] for row in rows] == pytest.approx([0, 0, 1, NAN], nan_ok=True)
