import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import generate_binary_structure
from scipy.ndimage import label as scipy_label

from segflow.evaluation.lesions import (
    LesionRule,
    compare_lesions,
    label_lesions,
    lesion_columns,
    lesion_metrics,
    match_lesions,
    overlap_of,
)

NAN = math.nan
RULE = LesionRule(labels=("tumour",), overlap="iou", threshold=0.1, min_volume_mm3=0)


def line(text):
    """Return a mask of one row, in which anything but a point is foreground."""
    return np.array([[[sign != "." for sign in text]]])


def match(pairs, shared, reference_sizes, prediction_sizes, **changes):
    found = match_lesions(
        np.array(pairs),
        *map(np.array, (shared, reference_sizes, prediction_sizes)),
        replace(RULE, **changes),
    )
    return [tuple(pair) for pair in found.tolist()]


def test_as_many_as_can_be_are_matched():
    # IoU 4/8, 2/7 and 2/10: the second pair shares lesions with the first and the third.
    assert match([[0, 0], [0, 1], [1, 1]], [4, 2, 2], [6, 9], [6, 3]) == [(0, 0), (1, 1)]
    # IoU 2/10, 3/6 and 2/7: the middle one is the largest, and would keep two lesions alone.
    assert match([[0, 0], [0, 1], [1, 1]], [2, 3, 2], [6, 6], [6, 3]) == [(0, 0), (1, 1)]
    # Three rows that want the same two columns.
    pairs = [[0, 0], [1, 0], [1, 1], [2, 1]]
    assert match(pairs, [2, 3, 2, 3], [9, 9, 9], [9, 9]) == [(1, 0), (2, 1)]


def test_of_as_many_those_of_the_largest_overlap_are_matched():
    pairs = [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert match(pairs, [2, 3, 3, 2], [6, 6], [6, 6]) == [(0, 1), (1, 0)]
    assert match(pairs, [3, 2, 2, 3], [6, 6], [6, 6]) == [(0, 0), (1, 1)]


def test_overlaps_that_tie_lose_no_match():
    """One reference lesion lies in both predictions, the other in one of them."""
    sizes = [5, 2, 10], [5, 2]
    pairs, shared = [[0, 0], [1, 1], [2, 0]], [2, 2, 2]
    rule = {"overlap": "voxels", "threshold": 1}
    assert len(match(pairs, shared, *sizes, **rule)) == 2
    both = [[0, 0], [1, 0], [0, 1]], [2, 2, 2], [5, 5], [5, 5]
    assert match(*both, **rule) == [(0, 1), (1, 0)]


def most_matches(allowed):
    """Return the largest number of pairs without a common end, by trying all."""
    return max(
        sum(allowed[row][column] for row, column in enumerate(order) if column < len(allowed[0]))
        for order in itertools.permutations(range(max(len(allowed), len(allowed[0]))), len(allowed))
    )


@pytest.mark.parametrize("overlap", ["iou", "dice", "voxels"])
@pytest.mark.parametrize("seed", range(20))
def test_the_number_of_matches_is_the_largest_in_any_order(overlap, seed):
    generator = np.random.default_rng(seed)
    n, m = generator.integers(1, 6, 2)
    shared = generator.integers(0, 4, (n, m)) * (generator.random((n, m)) < 0.5)
    sizes = shared.sum(1) + generator.integers(0, 3, n), shared.sum(0) + generator.integers(0, 3, m)
    threshold = {"iou": 0.2, "dice": 0.3, "voxels": 2}[overlap]
    pairs = np.argwhere(shared)
    rule = replace(RULE, overlap=overlap, threshold=threshold)
    counts = shared[shared > 0]
    scores = np.zeros((n, m))
    scores[shared > 0] = overlap_of(overlap, counts, sizes[0][pairs[:, 0]], sizes[1][pairs[:, 1]])
    expected = most_matches((scores >= threshold) & (shared > 0))
    for order in (np.arange(len(pairs)), generator.permutation(len(pairs))):
        found = match_lesions(pairs[order], counts[order], *sizes, rule)
        assert len(found) == expected
        assert all(len({*side}) == expected for side in found.T.tolist())
        turned = match_lesions(pairs[order][:, ::-1], counts[order], *sizes[::-1], rule)
        assert len(turned) == expected
    # Other numbers of the same lesions.
    names = generator.permutation(n), generator.permutation(m)
    renamed = np.column_stack([name[side] for name, side in zip(names, pairs.T, strict=True)])
    others = [size[np.argsort(name)] for size, name in zip(sizes, names, strict=True)]
    assert len(match_lesions(renamed, counts, *others, rule)) == expected


def test_the_order_of_the_pairs_does_not_matter():
    pairs, shared = [[0, 0], [0, 1], [1, 0], [1, 1]], [2, 2, 2, 2]
    for order in itertools.permutations(range(4)):
        chosen = [pairs[number] for number in order]
        assert match(chosen, shared, [4, 4], [4, 4]) == [(0, 0), (1, 1)]


@pytest.mark.parametrize(("overlap", "value"), [("iou", 2 / 8), ("dice", 4 / 10), ("voxels", 2)])
def test_the_threshold_itself_is_a_match(overlap, value):
    counts = 2, np.array([6]), np.array([4])
    assert overlap_of(overlap, *counts) == pytest.approx(value)
    for threshold, expected in ((value, [(0, 0)]), (value + 0.01, [])):
        assert match([[0, 0]], [2], [6], [4], overlap=overlap, threshold=threshold) == expected


def test_nothing_to_match():
    assert match(np.empty((0, 2), int), [], [], [3]) == []
    assert match([[0, 0]], [0], [3], [3]) == []


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0, 0, 0), (0, 0, 0, NAN, NAN, NAN)),
        ((0, 0, 2), (0, 2, 0, 0, NAN, 0)),
        ((0, 3, 0), (0, 0, 3, NAN, 0, 0)),
        ((2, 3, 4), (2, 2, 1, 2 / 4, 2 / 3, 4 / 7)),
    ],
)
def test_detection_metrics(numbers, expected):
    names = ["tp", "fp", "fn", "precision", "recall", "f1"]
    wanted = dict(zip([f"lesion_{name}" for name in names], expected, strict=True))
    assert lesion_metrics(*numbers) == pytest.approx(wanted, nan_ok=True)


def test_lesions_of_a_drawn_example():
    reference = line("####...##.....#.")
    prediction = line(".####..#..##....")
    metrics, rows = compare_lesions(reference, prediction, 0.5, RULE)
    assert metrics == {
        "lesion_tp": 2,
        "lesion_fp": 1,
        "lesion_fn": 1,
        "lesion_precision": pytest.approx(2 / 3),
        "lesion_recall": pytest.approx(2 / 3),
        "lesion_f1": pytest.approx(2 / 3),
    }
    expected = [
        ("reference", 1, 2.0, 1, 3 / 4, 3 / 5),
        ("reference", 2, 1.0, 3, 2 / 3, 1 / 2),
        ("reference", 3, 0.5, NAN, NAN, NAN),
        ("prediction", 1, 2.0, 1, 3 / 4, 3 / 5),
        ("prediction", 2, 1.0, NAN, NAN, NAN),
        ("prediction", 3, 0.5, 2, 2 / 3, 1 / 2),
    ]
    assert [list(row) for row in rows] == [lesion_columns(flat=False)] * 6
    for row, values in zip(rows, expected, strict=True):
        assert row["kind"] == values[0]
        assert list(row.values())[1:] == pytest.approx(list(values[1:]), nan_ok=True)


def test_lesions_of_pictures_have_an_area():
    _, rows = compare_lesions(line("##."), line("..."), 0.5, RULE, flat=True)
    assert [row["area_mm2"] for row in rows] == [1.0]


def test_small_lesions_do_not_count_on_either_side():
    rule = replace(RULE, min_volume_mm3=1.0)  # two voxels
    metrics, rows = compare_lesions(line("##...#..."), line(".##....#."), 0.5, rule)
    assert (metrics["lesion_tp"], metrics["lesion_fp"], metrics["lesion_fn"]) == (1, 0, 0)
    assert len(rows) == 2


def test_one_prediction_over_two_lesions_finds_one_of_them():
    metrics, _ = compare_lesions(line("##.###"), line("######"), 1.0, RULE)
    assert (metrics["lesion_tp"], metrics["lesion_fp"], metrics["lesion_fn"]) == (1, 0, 1)


@pytest.mark.parametrize("shape", [(7, 9, 11), (1, 30, 25), (1, 1, 1), (0, 0, 0)])
def test_components_agree_with_scipy(shape):
    for density in (0.05, 0.3, 1):
        mask = np.random.default_rng(1).random(shape) < density
        components, sizes = label_lesions(mask, 0)
        expected, count = scipy_label(mask, generate_binary_structure(3, 3))
        assert len(sizes) == count
        assert sizes.tolist() == sorted(np.bincount(expected.ravel())[1:].tolist(), reverse=True)
        pairs = np.unique(np.stack([components.ravel(), expected.ravel()]), axis=1)
        assert pairs.shape[1] == len(np.unique(expected))  # each is one of the others
        assert np.bincount(components.ravel()).tolist()[1:] == sizes.tolist()
        first = [np.flatnonzero(components == number)[0] for number in range(1, count + 1)]
        assert first == [first[n] for n in np.lexsort((first, -sizes))]  # equal ones by place
