import json
from dataclasses import asdict

import numpy as np
import pytest
from nnunetv2.postprocessing.remove_connected_components import (
    remove_all_but_largest_component_from_segmentation,
)
from scipy import ndimage

from segflow.images import read_labels
from segflow.postprocessing import (
    Scores,
    Step,
    apply_step,
    apply_steps,
    candidate_steps,
    postprocess_cases,
    read_steps,
    search,
)

PLAIN = {"background": 0, "a": 1, "b": 2}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3}
ONE = {"background": 0, "organ": 1}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (PLAIN, [("foreground", (1, 2)), ("a", (1,)), ("b", (2,))]),
        (REGIONS, [("foreground", (1, 2, 3)), ("core", (2, 3)), ("tip", (3,))]),
        (ONE, [("foreground", (1,))]),
    ],
)
def test_candidates_are_foreground_and_every_other_set_of_labels(labels, expected):
    assert [(step.name, step.labels) for step in candidate_steps(labels)] == expected


DRAWN = np.array(
    [
        [
            [1, 1, 0, 0, 2],
            [1, 0, 0, 0, 2],
            [0, 2, 0, 0, 0],
            [0, 0, 0, 1, 0],
        ]
    ],
    np.uint8,
)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((1,), [[1, 1, 0, 0, 2], [1, 0, 0, 0, 2], [0, 2, 0, 0, 0], [0, 0, 0, 0, 0]]),
        ((2,), [[1, 1, 0, 0, 2], [1, 0, 0, 0, 2], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]),
        # The lower 2 touches the corner of a 1, so together they make the largest component.
        ((1, 2), [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 0, 0, 0]]),
        ((3,), DRAWN[0]),
    ],
)
def test_a_step_keeps_the_largest_component(labels, expected):
    before = DRAWN.copy()
    found = apply_step(DRAWN, Step("step", labels))
    np.testing.assert_array_equal(found[0], expected)
    assert found.dtype == DRAWN.dtype
    np.testing.assert_array_equal(DRAWN, before)


def test_equally_large_components_are_all_kept():
    label_map = np.array([[[1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 2, 1]]], np.uint8)
    found = apply_step(label_map, Step("step", (1, 2)))
    assert found.tolist() == [[[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 2, 1]]]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("labels", [(1,), (2, 3), (1, 2, 3)])
def test_steps_agree_with_scipy_and_nnunet(seed, labels):
    label_map = np.random.default_rng(seed).choice(4, (6, 9, 8), p=[0.9, 0.04, 0.03, 0.03])
    mask = np.isin(label_map, labels)
    components, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = ndimage.sum_labels(mask, components, range(1, count + 1))
    found = apply_step(label_map, Step("step", labels))
    small = np.isin(components, 1 + np.flatnonzero(sizes < sizes.max()))
    np.testing.assert_array_equal(found, np.where(small, 0, label_map))
    theirs = remove_all_but_largest_component_from_segmentation(label_map, labels)
    np.testing.assert_array_equal(found, theirs)


@pytest.mark.parametrize("fill", [0, 1])
def test_nothing_to_remove(fill):
    label_map = np.full((2, 3, 4), fill, np.uint8)
    np.testing.assert_array_equal(apply_step(label_map, Step("step", (1,))), label_map)


def test_steps_are_applied_in_their_order():
    label_map = np.array([[[1, 1, 2, 0, 2, 2, 2, 2]]], np.uint8)
    foreground, second = Step("foreground", (1, 2)), Step("b", (2,))
    assert apply_steps(label_map, [foreground, second]).tolist() == [[[0, 0, 0, 0, 2, 2, 2, 2]]]
    assert apply_steps(label_map, [second, foreground]).tolist() == [[[0, 0, 0, 0, 2, 2, 2, 2]]]
    assert apply_steps(label_map, [second]).tolist() == [[[1, 1, 0, 0, 2, 2, 2, 2]]]
    assert apply_steps(label_map, []) is label_map


def given_scores(labels, cases, known):
    """Return scores that are known beforehand, of shape (case, label) for each chain."""
    scores = Scores({}, dict.fromkeys(cases), labels, 1)
    scores.known = {chain: np.array(values, float) for chain, values in known.items()}
    return scores


def adopted(labels, known):
    found = search(given_scores(labels, "x", known), {"x": 0})
    return [step["name"] for step in found["steps"]], found["trials"]


def test_a_step_that_lowers_one_label_is_refused_though_the_mean_rises():
    same = [[0.5, 0.5]]
    known = {(): same, (0,): [[0.9, 0.4]], (1,): [[0.6, 0.5]], (1, 2): [[0.6, 0.5]], (2,): same}
    names, trials = adopted(PLAIN, known)
    assert names == ["a"]
    assert [trial["adopted"] for trial in trials] == [False, True, False]
    assert trials[0]["change_of_dice"] == pytest.approx([0.4, -0.1])


def test_a_step_that_changes_nothing_is_refused():
    known = {(): [[0.5, 0.5]], (0,): [[0.5, 0.5]], (1,): [[0.5, 0.5]], (2,): [[0.5, 0.5]]}
    assert adopted(PLAIN, known)[0] == []


def test_steps_build_on_what_was_adopted():
    known = {(): [[0.5, 0.5]], (0,): [[0.6, 0.5]], (0, 1): [[0.6, 0.4]], (0, 2): [[0.6, 0.7]]}
    known |= {(1,): [[0.5, 0.4]], (2,): [[0.5, 0.5]]}
    names, trials = adopted(PLAIN, known)
    assert names == ["foreground", "b"]
    assert [trial["step"] for trial in trials] == ["foreground", "a", "b"]


def test_undefined_scores_do_not_count():
    known = {(): [[0.4], [np.nan], [0.6]], (0,): [[0.7], [np.nan], [np.nan]]}
    scores = given_scores(ONE, "xyz", known)
    found = search(scores, dict.fromkeys("xyz", 0))
    assert found["gain"]["in_sample"] == pytest.approx(0.7 - 0.5)


def test_a_single_fold_has_no_cross_fitted_gain():
    scores = given_scores(ONE, "xy", {(): [[0.5], [0.5]], (0,): [[0.8], [0.8]]})
    found = search(scores, {"x": 3, "y": 3})
    assert found["gain"] == {"in_sample": pytest.approx(0.3), "cross_fitted": None}


def test_gain_is_measured_where_it_was_not_chosen():
    # The step helps c1 and c2 (fold 0) and harms c3 and c4 (fold 1). On all cases it is adopted:
    # (0.4 + 0.4 - 0.1 - 0.1) / 4 = 0.15. Fold 0 is measured with what fold 1 chooses, nothing: 0.
    # Fold 1 is measured with what fold 0 chooses, the step: -0.1. Together: -0.05.
    known = {(): [[0.5], [0.5], [0.5], [0.5]], (0,): [[0.9], [0.9], [0.4], [0.4]]}
    scores = given_scores(ONE, ["c1", "c2", "c3", "c4"], known)
    found = search(scores, {"c1": 0, "c2": 0, "c3": 1, "c4": 1})
    assert [step["name"] for step in found["steps"]] == ["foreground"]
    assert found["gain"] == pytest.approx({"in_sample": 0.15, "cross_fitted": -0.05})


def test_folds_count_by_their_number_of_cases():
    known = {(): [[0.5], [0.5], [0.5]], (0,): [[0.8], [0.8], [0.4]]}
    scores = given_scores(ONE, "xyz", known)
    found = search(scores, {"x": 0, "y": 0, "z": 1})
    assert found["gain"]["cross_fitted"] == pytest.approx((2 * 0 + 1 * -0.1) / 3)


@pytest.fixture
def folder(draw, tmp_path):
    """Return a folder of two predictions, each with an island, and of their references."""
    reference = np.zeros((1, 4, 6), np.uint8)
    reference[0, 1:3, 1:4] = 1
    for number, case in enumerate("xy"):
        prediction = reference.copy()
        prediction[0, 3 * number, 5] = 1
        draw(tmp_path / "references" / f"{case}.nii.gz", reference)
        draw(tmp_path / "raw" / f"{case}.nii.gz", prediction)
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_search_reads_label_maps(folder, workers):
    references, predictions = (
        {case: folder / kind / f"{case}.nii.gz" for case in "xy"} for kind in ("references", "raw")
    )
    found = search(Scores(references, predictions, ONE, workers), {"x": 0, "y": 1})
    assert found["steps"] == [asdict(Step("foreground", (1,)))]
    assert found["n_cases"] == 2
    gain = 1 - 12 / 13  # of six voxels and one island
    assert found["gain"] == pytest.approx({"in_sample": gain, "cross_fitted": gain})


def test_steps_survive_json():
    steps = [Step("foreground", (1, 2)), Step("b", (2,))]
    choice = json.loads(json.dumps({"steps": [asdict(step) for step in steps]}))
    assert read_steps(choice) == steps


def test_label_maps_are_postprocessed_once(folder):
    choice = {"steps": [asdict(Step("foreground", (1,)))]}
    keys = postprocess_cases({"x": "1", "y": "2"}, folder / "raw", folder / "new", choice, 1)
    assert keys.keys() == {"x", "y"}
    paths = [folder / "new" / f"{case}.nii.gz" for case in "xy"]
    for path in paths:
        found, grid = read_labels(path)
        reference, reference_grid = read_labels(folder / "references" / path.name)
        np.testing.assert_array_equal(found, reference)
        assert grid == reference_grid

    before = [path.stat().st_ino for path in paths]
    again = postprocess_cases({"x": "1", "y": "3"}, folder / "raw", folder / "new", choice, 1)
    after = [path.stat().st_ino for path in paths]
    assert (again["x"], after[0]) == (keys["x"], before[0])
    assert again["y"] != keys["y"]
    assert after[1] != before[1]

    other = postprocess_cases({"x": "1"}, folder / "raw", folder / "new", {"steps": []}, 1)
    assert other["x"] != keys["x"]
    assert read_labels(paths[0])[0].sum() == 7
    assert not paths[1].exists()


def test_dense_masks_of_odd_size_are_no_problem():
    """Isolated voxels in every other place, and one block of 3 x 3."""
    label_map = np.zeros((1, 65, 65), np.uint8)
    label_map[0, 4::2, ::2] = 1
    label_map[0, :3, :3] = 1
    kept = apply_step(label_map, Step("foreground", (1,)))
    assert kept.sum() == kept[0, :3, :3].sum() == 9
