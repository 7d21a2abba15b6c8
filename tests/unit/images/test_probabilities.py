import io

import numpy as np
import pytest
from scipy.special import expit, softmax

from predictions import make_probabilities
from segflow.images import probabilities
from segflow.images.nifti import read_labels
from segflow.images.probabilities import (
    LEVELS,
    MAX_ERROR,
    open_probabilities,
    read_probabilities,
    save_probabilities,
    tile_boxes,
)

SHAPE = (3, 7, 5, 4)  # class, z, y, x


@pytest.fixture(params=["one tile", "several tiles"])
def tiles(request, monkeypatch):
    if request.param == "several tiles":
        monkeypatch.setattr(probabilities, "TILE", (3, 4, 3))
    return request.param


def classes(seed):
    return softmax(np.random.default_rng(seed).normal(size=SHAPE) * 3, 0).astype(np.float32)


def regions(seed):
    return expit(np.random.default_rng(seed).normal(size=SHAPE) * 3).astype(np.float32)


def test_tiles_cover_every_voxel_once():
    for shape in ((70, 64, 65), (1, 300, 200), (5, 4, 3)):
        seen = np.zeros(shape, int)
        places = []
        for place, box in tile_boxes(shape):
            seen[box] += 1
            places.append(place)
        assert (seen == 1).all()
        assert len(set(places)) == len(places)
    assert places == [(0, 0, 0)]


def test_a_tile_of_a_flat_image_is_larger_in_its_plane():
    assert [box for _, box in tile_boxes((1, 300, 200))] == [
        (slice(0, 1), slice(0, 256), slice(0, 200)),
        (slice(0, 1), slice(256, 300), slice(0, 200)),
    ]


def test_classes_come_back_within_the_stated_error(tiles, tmp_path):
    save_probabilities(tmp_path / "a.b2nd", classes(0), True)
    found = read_probabilities(tmp_path / "a.b2nd")
    error = np.abs(found - classes(0)).max((1, 2, 3))
    assert (error[1:] <= MAX_ERROR + 1e-6).all()
    assert error[0] <= 2 * MAX_ERROR + 1e-6
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)


def test_regions_come_back_within_the_stated_error(tiles, tmp_path):
    save_probabilities(tmp_path / "a.b2nd", regions(0), False)
    found = read_probabilities(tmp_path / "a.b2nd")
    assert found.shape == SHAPE
    assert np.abs(found - regions(0)).max() <= MAX_ERROR + 1e-6


def test_any_type_and_order_of_numbers_can_be_stored(tmp_path):
    one = classes(0)
    for number, array in enumerate([one.astype(np.float64), np.asfortranarray(one)]):
        path = tmp_path / f"{number}.b2nd"
        save_probabilities(path, array, True)
        np.testing.assert_allclose(read_probabilities(path), one, atol=2 * MAX_ERROR + 1e-6)


def test_certain_probabilities_are_exact(tmp_path):
    certain = np.zeros(SHAPE, np.float32)
    certain[1] = 1
    save_probabilities(tmp_path / "a.b2nd", certain, True)
    np.testing.assert_array_equal(read_probabilities(tmp_path / "a.b2nd"), certain)


def test_peaks_are_the_largest_foreground_of_each_tile(monkeypatch, tmp_path):
    monkeypatch.setattr(probabilities, "TILE", (1, 1, 2))
    array = np.zeros((3, 1, 2, 4), np.float32)  # background and two classes; two tiles a row
    array[1:, 0, 0, 0] = [0.2, 0.3]
    array[1:, 0, 0, 1] = [0.4, 0.0]
    array[1:, 0, 1, 3] = [0.0, 1.0]
    array[0] = 1 - array.sum(0)
    monkeypatch.setattr(probabilities, "FLAT_TILE", (1, 1, 2))
    save_probabilities(tmp_path / "classes.b2nd", array, True)
    save_probabilities(tmp_path / "regions.b2nd", array[1:], False)
    peaks = {
        name: open_probabilities(tmp_path / f"{name}.b2nd").peaks for name in ("classes", "regions")
    }
    np.testing.assert_allclose(peaks["classes"] / LEVELS, [[[0.5, 0], [0, 1]]], atol=2 * MAX_ERROR)
    np.testing.assert_allclose(peaks["regions"] / LEVELS, [[[0.4, 0], [0, 1]]], atol=MAX_ERROR)


def test_rounding_above_one_is_cut_off(tmp_path):
    above = np.full(SHAPE, 1.0005, np.float32)
    save_probabilities(tmp_path / "a.b2nd", above, False)
    assert read_probabilities(tmp_path / "a.b2nd").max() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
@pytest.mark.parametrize("channel", [0, 1])  # the background, which is not stored, too
def test_what_is_no_probability_is_refused(tiles, tmp_path, value, channel):
    array = classes(0)
    array[channel, 6, 3, 1] = value
    with pytest.raises(ValueError, match=r"a\.b2nd: probabilities must be from 0 to 1, found"):
        save_probabilities(tmp_path / "a.b2nd", array, True)
    assert list(tmp_path.iterdir()) == []


def test_the_same_probabilities_make_the_same_file(tmp_path):
    for name in "ab":
        save_probabilities(tmp_path / f"{name}.b2nd", classes(0), True)
    assert (tmp_path / "a.b2nd").read_bytes() == (tmp_path / "b.b2nd").read_bytes()


@pytest.mark.parametrize("n_bytes", [0, 20, -20])
def test_a_torn_file_is_named(tmp_path, n_bytes):
    path = tmp_path / "a.b2nd"
    save_probabilities(path, classes(0), True)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"a\.b2nd: not a readable file of probabilities"):
        open_probabilities(path)


def test_a_file_that_is_damaged_inside_is_named(tmp_path):
    path = tmp_path / "a.b2nd"
    coarse = np.random.default_rng(0).integers(0, 9, (2, 40, 70, 70)) / 8
    save_probabilities(path, coarse, False)
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    with pytest.raises(ValueError, match=r"a\.b2nd: damaged probabilities"):
        read_probabilities(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.b2nd: not a readable file of probabilities"):
        open_probabilities(tmp_path / "a.b2nd")


def test_a_file_takes_an_eighth_of_the_space_of_nnunets(hippocampus, tmp_path):
    ours, theirs = 0, 0
    for path in sorted((hippocampus / "labelsTr").glob("*.nii.gz"))[:3]:
        label_map, _ = read_labels(path)
        array = make_probabilities(label_map, None, 3, seed=0)
        save_probabilities(tmp_path / "a.b2nd", array, True)
        packed = io.BytesIO()
        np.savez_compressed(packed, probabilities=array)
        ours += (tmp_path / "a.b2nd").stat().st_size
        theirs += packed.tell()
    assert 8 * ours < theirs
