import numpy as np
import pytest

from segflow.evaluation.candidates import candidate_columns, find_candidates, found_in_order
from segflow.evaluation.lesions import LesionRule, compare_lesions, match_lesions

RULE = LesionRule(labels=("tumour",), overlap="voxels", threshold=1, min_volume_mm3=0)


def candidates_of(reference, probabilities, threshold=0.1, score="mean", rule=RULE, **about):
    """Return the candidates of one row of voxels."""
    reference = np.array(reference, bool)[None, None]
    p = np.array(probabilities, float)
    places = np.flatnonzero(p >= threshold)
    return find_candidates(reference, places, p[places], 2.0, rule, score, **about)


ROW = [0.0, 0.2, 0.8, 0.8, 0.0, 0.3, 0.0, 0.9, 0.05]
TRUTH = [0, 0, 1, 1, 0, 0, 0, 0, 1]


def test_candidates_have_the_mean_or_the_largest_probability():
    found = candidates_of(TRUTH, ROW)
    assert [row["candidate"] for row in found] == [1, 2, 3]
    assert [row["volume_mm3"] for row in found] == [6, 2, 2]
    assert [row["score"] for row in found] == pytest.approx([0.6, 0.3, 0.9])
    assert [row["found"] for row in found] == [1, 0, 0]  # the last one only touches a lesion
    largest = candidates_of(TRUTH, ROW, score="max")
    assert [row["score"] for row in largest] == pytest.approx([0.8, 0.3, 0.9])


def test_small_candidates_and_lesions_are_none():
    rule = LesionRule(("tumour",), "voxels", 1, min_volume_mm3=4.0)
    assert [row["candidate"] for row in candidates_of(TRUTH, ROW, rule=rule)] == [1]
    assert candidates_of([0, 1, 0], [0, 1, 0], rule=rule) == []


def test_areas_of_pictures_and_volumes_of_slices():
    assert list(candidates_of(TRUTH, ROW, flat=True)[0]) == candidate_columns(True)
    assert candidates_of(TRUTH, ROW, thickness_mm=5.0)[0]["volume_mm3"] == 30


def test_empty_images():
    assert candidates_of([0, 0], [0, 0]) == []
    assert candidates_of([1, 0], [0, 0]) == []
    assert [row["found"] for row in candidates_of([0, 0], [0, 0.5])] == [0]


def test_a_better_score_takes_the_lesion_from_a_larger_overlap():
    # One lesion; the small candidate within it is surer than the large one.
    truth = [1, 1, 1, 1, 1, 0]
    found = candidates_of(truth, [0.4, 0.4, 0.4, 0.0, 0.9, 0.0])
    assert {row["score"]: row["found"] for row in found} == {0.4: 0, 0.9: 1}


@pytest.mark.parametrize("seed", range(30))
def test_above_every_threshold_as_many_are_found_as_a_matching_finds(seed):
    generator = np.random.default_rng(seed)
    n, m = generator.integers(1, 6), generator.integers(1, 8)
    shared = generator.integers(0, 4, (n, m)) * (generator.random((n, m)) < 0.5)
    sizes = shared.sum(1) + generator.integers(0, 3, n), shared.sum(0) + generator.integers(0, 3, m)
    pairs, counts = np.argwhere(shared), shared[shared > 0]
    scores = generator.integers(1, 5, m) / 4  # some are equal
    rule = LesionRule(("a",), "iou", 0.2, 0)
    found = found_in_order(pairs, counts, *sizes, scores, rule)
    for threshold in scores:
        kept = scores[pairs[:, 1]] >= threshold
        expected = len(match_lesions(pairs[kept], counts[kept], *sizes, rule))
        assert found[scores >= threshold].sum() == expected


def test_all_candidates_of_a_certain_map_are_its_lesions():
    """Where probabilities are 0 or 1, the end of the curve is what the evaluation counts."""
    generator = np.random.default_rng(0)
    truth, guess = (generator.random((4, 24, 24)) < 0.02 for _ in range(2))
    places = np.flatnonzero(guess)
    found = find_candidates(truth, places, np.ones(len(places)), 1.0, RULE, "mean")
    metrics, _ = compare_lesions(truth, guess, 1.0, RULE)
    assert sum(row["found"] for row in found) == metrics["lesion_tp"] > 0
    assert sum(not row["found"] for row in found) == metrics["lesion_fp"] > 0
