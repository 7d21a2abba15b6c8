import numpy as np
import pytest
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from scipy.special import expit, softmax

from segflow import probabilities
from segflow.ensembling import ensemble_cases, label_map_of
from segflow.images import read_image, read_labels
from segflow.probabilities import iterate_slabs, save_probabilities

SHAPE = (3, 7, 5, 4)  # class or region, z, y, x
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": [3]}
ORDER = [1, 2, 3]


@pytest.fixture(autouse=True)
def several_slabs(monkeypatch):
    monkeypatch.setattr(probabilities, "SLAB_BYTES", 3 * 2 * 5 * 4 * 2)


@pytest.fixture
def classes(tmp_path):
    """Store the softmax of two members."""
    members = softmax(np.random.default_rng(0).normal(size=(2, *SHAPE)), 1).astype(np.float32)
    paths = [tmp_path / f"{number}.b2nd" for number in range(2)]
    for path, member in zip(paths, members, strict=True):
        save_probabilities(path, member, True)
    return paths, members


@pytest.fixture
def regions(tmp_path):
    """Store the sigmoid of one member."""
    member = expit(np.random.default_rng(0).normal(size=SHAPE)).astype(np.float32)
    save_probabilities(tmp_path / "r.b2nd", member, False)
    return [tmp_path / "r.b2nd"], member


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 2.5]])
def test_classes_take_the_label_of_the_largest_mean(classes, weights):
    paths, members = classes
    found = label_map_of(paths, weights, None)
    mean = np.average(members, axis=0, weights=weights)
    clear = np.diff(np.sort(mean, 0)[-2:], axis=0)[0] > 2e-3  # not decided by rounding
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found[clear], mean.argmax(0)[clear])
    assert found.dtype == np.uint8


def test_classes_agree_with_nnunet(classes):
    paths, _ = classes
    mean = np.concatenate([part for _, part, _ in iterate_slabs(paths, [1.0, 1.0])], 1)
    manager = LabelManager({"background": 0, "a": 1, "b": 2}, None)
    expected = manager.convert_probabilities_to_segmentation(mean)
    np.testing.assert_array_equal(label_map_of(paths, [1.0, 1.0], None), expected)


@pytest.mark.parametrize("order", [ORDER, [3, 1, 2]])
def test_regions_agree_with_nnunet(regions, order):
    paths, _ = regions
    mean = np.concatenate([part for _, part, _ in iterate_slabs(paths, [1.0])], 1)
    expected = LabelManager(REGIONS, order).convert_probabilities_to_segmentation(mean)
    np.testing.assert_array_equal(label_map_of(paths, [1.0], order), expected)


def test_regions_are_painted_over_each_other_in_order(tmp_path):
    columns = [[0.9, 0.9, 0.9, 0.4], [0.1, 0.9, 0.9, 0.4], [0.1, 0.1, 0.9, 0.9]]
    member = np.array(columns, np.float32)[:, None, None]  # (region, 1, 1, x)
    save_probabilities(tmp_path / "a.b2nd", member, False)
    found = label_map_of([tmp_path / "a.b2nd"], [1.0], ORDER)
    assert found.tolist() == [[[1, 2, 3, 3]]]


def test_the_order_must_have_every_region(regions):
    with pytest.raises(ValueError, match=r"r\.b2nd: 3 regions, but regions_class_order is \[1, 2"):
        label_map_of(regions[0], [1.0], [1, 2])
    with pytest.raises(ValueError, match=r"r\.b2nd: 3 regions, but regions_class_order is None"):
        label_map_of(regions[0], [1.0], None)


def test_large_labels_need_a_larger_type(regions):
    found = label_map_of(regions[0], [1.0], [1, 2, 300])
    assert (found.dtype, found.max()) == (np.uint16, 300)


def test_label_maps_are_made_once_on_the_grid_of_their_image(classes, draw, tmp_path):
    (first, second), _ = classes
    image = draw(tmp_path / "image.nii.gz", np.zeros(SHAPE[1:], np.float32))
    references, target = {"x": image, "y": image}, tmp_path / "target"
    members = {"x": [(first, 1.0, "k1")], "y": [(first, 1.0, "k1"), (second, 2.0, "k2")]}
    keys = ensemble_cases(members, references, target, None, 2)
    assert keys["x"] != keys["y"]
    paths = [target / "x.nii.gz", target / "y.nii.gz"]
    for path, expected in zip(
        paths,
        [label_map_of([first], [1.0], None), label_map_of([first, second], [1.0, 2.0], None)],
        strict=True,
    ):
        found, grid = read_labels(path)
        np.testing.assert_array_equal(found, expected)
        assert grid == read_image(image)[1]

    before = [path.stat().st_ino for path in paths]
    members["y"][1] = (second, 3.0, "k2")
    again = ensemble_cases(members, references, target, None, 1)
    assert again["x"] == keys["x"]
    assert again["y"] != keys["y"]
    after = [path.stat().st_ino for path in paths]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]

    assert ensemble_cases({"x": members["x"]}, references, target, None, 1) == {"x": keys["x"]}
    assert not paths[1].exists()
