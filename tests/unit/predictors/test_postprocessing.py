import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.postprocessing.remove_connected_components import (
    remove_all_but_largest_component_from_segmentation,
)

from plain_postprocessing import plain_steps
from predictions import spoil
from segflow.images.nifti import read_labels
from segflow.predictors.postprocessing import postprocess_cases
from segflow.predictors.steps import Step, apply_steps, read_steps, scopes_of

PLAIN = {"background": 0, "a": 1, "b": 2}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3}
ONE = {"background": 0, "organ": 1}
SHARED = Path(__file__).parents[4] / "shared/data"


def keep(labels, count=1):
    return Step("scope", labels, "keep_largest", count)


def drop(labels, volume):
    return Step("scope", labels, "drop_small", volume)


def fill(labels, volume):
    return Step("scope", labels, "fill_holes", volume)


def drawn(*rows):
    return np.array([[list(map(int, row)) for row in rows]], np.uint8)


def lines(label_map):
    return ["".join(map(str, row)) for row in label_map[0].tolist()]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (PLAIN, {"foreground": (1, 2), "a": (1,), "b": (2,)}),
        (REGIONS, {"foreground": (1, 2, 3), "core": (2, 3), "tip": (3,)}),
        (ONE, {"foreground": (1,)}),
    ],
)
def test_scopes_are_foreground_and_every_other_set_of_labels(labels, expected):
    assert list(scopes_of(labels).items()) == list(expected.items())


ISLANDS = drawn("11002", "10002", "02000", "00010")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (keep((1,)), ["11002", "10002", "02000", "00000"]),
        (keep((2,)), ["11002", "10002", "00000", "00010"]),
        # The lower 2 touches a corner of 1: together they make one component of four voxels.
        (keep((1, 2)), ["11000", "10000", "02000", "00000"]),
        (keep((1, 2), 2), ["11002", "10002", "02000", "00000"]),
        (keep((3,)), ["11002", "10002", "02000", "00010"]),
        (drop((1,), 6.0), ["11002", "10002", "02000", "00000"]),  # a voxel has 3 mm3
        (drop((1,), 3.0), ["11002", "10002", "02000", "00010"]),  # as large as the limit: kept
        (drop((1, 2), 6.1), ["11000", "10000", "02000", "00000"]),
        (drop((1, 2), 1e9), ["00000", "00000", "00000", "00000"]),
    ],
)
def test_components_are_removed(step, expected):
    before = ISLANDS.copy()
    found = apply_steps(ISLANDS, [step], 3.0)
    assert lines(found) == expected
    assert found.dtype == ISLANDS.dtype
    np.testing.assert_array_equal(ISLANDS, before)


RINGS = drawn("1111222", "1011202", "1111222", "1122000", "1002000", "1122000")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (fill((1, 2), 3.0), ["1111222", "1111222", "1111222", "1122000", "1002000", "1122000"]),
        (fill((1, 2), 6.0), ["1111222", "1111222", "1111222", "1122000", "1112000", "1122000"]),
        (fill((1,), 6.0), ["1111222", "1111202", "1111222", "1122000", "1002000", "1122000"]),
        (fill((2,), 6.0), ["1111222", "1011222", "1111222", "1122000", "1002000", "1122000"]),
        (fill((1, 2), 2.9), ["1111222", "1011202", "1111222", "1122000", "1002000", "1122000"]),
    ],
)
def test_holes_are_filled(step, expected):
    """The lower hole has three faces with 1 and three with 2: it takes the smaller label."""
    assert lines(apply_steps(RINGS, [step], 3.0)) == expected


def test_a_filled_hole_joins_what_it_touches():
    label_map = drawn("11111", "12021", "11111", "00000", "10000")
    steps = [fill((1, 2), 1.0), keep((2,))]
    rows = ["11111", "12121", "11111", "00000", "10000"]
    assert lines(apply_steps(label_map, steps, 1.0)) == rows


@pytest.mark.parametrize("count", [1, 2, 3])
def test_equally_large_components_are_all_kept(count):
    label_map = drawn("1101101", "0000000", "1010000")
    kept = {1: "1101100", 2: "1101100", 3: "1101101"}[count]
    below = "1010000" if count == 3 else "0000000"
    assert lines(apply_steps(label_map, [keep((1,), count)], 1.0)) == [kept, "0000000", below]


def test_what_nothing_changes_is_the_same_array():
    for label_map in (np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), np.uint8)):
        steps = [fill((1,), 5.0), keep((1,)), drop((1,), 0.5), drop((2,), 9e9)]
        assert apply_steps(label_map, steps, 1.0) is label_map
        assert apply_steps(label_map, [], 1.0) is label_map


def test_a_fill_after_a_removal_is_refused():
    with pytest.raises(ValueError, match="holes are filled before anything is removed"):
        apply_steps(ISLANDS, [keep((1,)), fill((1,), 1.0)], 1.0)


SHAPES = [(1, 13, 17), (6, 9, 8), (3, 12, 10)]


def random_map(generator):
    shape = SHAPES[generator.integers(len(SHAPES))]
    share = generator.uniform(0.1, 0.8)
    label_map = generator.choice(4, shape, p=[1 - share, share / 2, share / 4, share / 4])
    return label_map.astype(np.uint8)


def random_chain(generator, scopes=((1,), (2,), (3,), (2, 3), (1, 3), (1, 2, 3))):
    """Return some fills and some removals in any order, of scopes that overlap in any way."""
    fills = [
        fill(scopes[generator.integers(len(scopes))], float(generator.integers(1, 30)))
        for _ in range(generator.integers(0, 3))
    ]
    removals = []
    for _ in range(generator.integers(0, 4)):
        labels = scopes[generator.integers(len(scopes))]
        removals.append(
            keep(labels, int(generator.integers(1, 4)))
            if generator.random() < 0.5
            else drop(labels, float(generator.integers(2, 60)))
        )
    return fills + removals


@pytest.mark.parametrize("seed", range(150))
def test_any_chain_does_what_scipy_does_step_by_step(seed):
    generator = np.random.default_rng(seed)
    label_map, steps = random_map(generator), random_chain(generator)
    found = apply_steps(label_map, steps, 1.7)
    np.testing.assert_array_equal(found, plain_steps(label_map, steps, 1.7))


@pytest.mark.parametrize("name", ["kits19", "kits23", "amos22", "BraTS2021"])
def test_real_label_maps_too(name):
    files = sorted((SHARED / name).rglob("*seg*.nii.gz")) + sorted(
        (SHARED / name / "labelsVa").glob("*.nii.gz")
    )
    if not files:
        pytest.skip(f"{name} is not there")
    generator = np.random.default_rng(0)
    label_map = read_labels(files[0])[0].astype(np.uint8)
    places = np.argwhere(label_map).mean(0).astype(int)
    box = tuple(slice(max(0, place - 40), place + 40) for place in places)
    label_map = spoil(label_map[box], generator)
    values = np.unique(label_map[label_map > 0]).tolist()
    scopes = [tuple(values), *((value,) for value in values), tuple(values[1:])]
    for _ in range(4):
        steps = random_chain(generator, scopes)
        found = apply_steps(label_map, steps, 1.7)
        np.testing.assert_array_equal(found, plain_steps(label_map, steps, 1.7))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("labels", [(1,), (2, 3), (1, 2, 3)])
def test_keeping_the_largest_agrees_with_nnunet(seed, labels):
    label_map = np.random.default_rng(seed).choice(4, (6, 9, 8), p=[0.9, 0.04, 0.03, 0.03])
    found = apply_steps(label_map, [keep(labels)], 1.0)
    theirs = remove_all_but_largest_component_from_segmentation(label_map, labels)
    np.testing.assert_array_equal(found, theirs)


def test_steps_survive_json():
    steps = [fill((1, 2), 12.5), keep((2,), 3)]
    choice = json.loads(json.dumps({"steps": [asdict(step) for step in steps]}))
    assert read_steps(choice) == steps


@pytest.fixture
def folder(draw, tmp_path):
    """Return a folder of two predictions: x has an island, y has none."""
    for case, rows in (("x", ["11100", "11101"]), ("y", ["11100", "11100"])):
        draw(tmp_path / "raw" / f"{case}.nii.gz", drawn(*rows))
    return tmp_path


def test_label_maps_are_postprocessed_once(folder):
    choice = {"steps": [asdict(keep((1,)))]}
    keys = postprocess_cases({"x": "1", "y": "2"}, folder / "raw", folder / "new", choice, 1)
    assert keys.keys() == {"x", "y"}
    paths = [folder / "new" / f"{case}.nii.gz" for case in "xy"]
    for path in paths:
        found, grid = read_labels(path)
        assert lines(found) == ["11100", "11100"]
        assert grid == read_labels(folder / "raw" / path.name)[1]

    before = [path.stat().st_ino for path in paths]
    again = postprocess_cases({"x": "1", "y": "2"}, folder / "raw", folder / "new", choice, 1)
    assert again == keys
    changed = postprocess_cases({"x": "3", "y": "2"}, folder / "raw", folder / "new", choice, 1)
    after = [path.stat().st_ino for path in paths]
    assert changed["x"] != keys["x"]
    assert changed["y"] == keys["y"]
    assert after[0] != before[0]
    assert after[1] == before[1]

    other = {"steps": [asdict(drop((1,), 1e6))]}
    new = postprocess_cases({"x": "3"}, folder / "raw", folder / "new", other, 1)
    assert new["x"] != changed["x"]
    assert not read_labels(paths[0])[0].any()
    assert not paths[1].exists()


def test_unchanged_label_maps_are_not_written_again(folder):
    choice = {"steps": [asdict(keep((1,)))]}
    postprocess_cases({"x": "1", "y": "2"}, folder / "raw", folder / "new", choice, 1)
    assert not os.path.samefile(folder / "raw/x.nii.gz", folder / "new/x.nii.gz")
    assert os.path.samefile(folder / "raw/y.nii.gz", folder / "new/y.nii.gz")


def test_without_steps_label_maps_keep_their_keys(folder):
    keys = {"x": "1", "y": "2"}
    found = postprocess_cases(keys, folder / "raw", folder / "new", {"steps": []}, 1)
    assert found == keys
    assert os.path.samefile(folder / "raw/x.nii.gz", folder / "new/x.nii.gz")


@pytest.mark.parametrize("spacing_mm", [0.7, np.float32(0.7), np.nextafter(0.7, 1)])
def test_a_volume_that_is_the_limit_is_kept_and_filled(spacing_mm):
    ring = np.ones((3, 3, 12), np.uint8)
    ring[1, 1, 1:11] = 0  # a hole of 10 voxels
    volume = float(spacing_mm) ** 3
    assert apply_steps(ring, [fill((1,), 3.43)], volume).all()
    assert not apply_steps(ring, [fill((1,), 3.429)], volume).all()
    bar = 1 - ring
    assert apply_steps(bar, [drop((1,), 3.43)], volume).sum() == 10
    assert apply_steps(bar, [drop((1,), 3.431)], volume).sum() == 0
