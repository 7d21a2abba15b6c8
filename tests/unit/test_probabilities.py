import numpy as np
import pytest
from scipy.special import expit, softmax

from segflow import probabilities
from segflow.probabilities import (
    MAX_ERROR,
    iterate_slabs,
    open_probabilities,
    save_probabilities,
)

SHAPE = (3, 7, 5, 4)  # class, z, y, x


@pytest.fixture(params=["one slab", "several slabs"])
def slabs(request, monkeypatch):
    if request.param == "several slabs":
        monkeypatch.setattr(probabilities, "SLAB_BYTES", 3 * 2 * 5 * 4 * 2)  # 3 of 7 slices
    return request.param


def classes(seed):
    return softmax(np.random.default_rng(seed).normal(size=SHAPE) * 3, 0).astype(np.float32)


def regions(seed):
    return expit(np.random.default_rng(seed).normal(size=SHAPE) * 3).astype(np.float32)


def read(paths, weights):
    parts = list(iterate_slabs(paths, weights))
    assert [slab.start for slab, _, _ in parts[1:]] == [slab.stop for slab, _, _ in parts[:-1]]
    return np.concatenate([mean for _, mean, _ in parts], 1), {part[2] for part in parts}


def test_slabs_are_as_thick_as_memory_allows(slabs, tmp_path):
    save_probabilities(tmp_path / "a.b2nd", classes(0), True)
    expected = [(0, 7)] if slabs == "one slab" else [(0, 3), (3, 6), (6, 7)]
    found = [(s.start, s.stop) for s, _, _ in iterate_slabs([tmp_path / "a.b2nd"], [1.0])]
    assert found == expected


def test_classes_come_back_within_the_stated_error(slabs, tmp_path):
    save_probabilities(tmp_path / "a.b2nd", classes(0), True)
    found, with_background = read([tmp_path / "a.b2nd"], [1.0])
    assert with_background == {True}
    error = np.abs(found - classes(0)).max((1, 2, 3))
    assert (error[1:] <= MAX_ERROR + 1e-6).all()
    assert error[0] <= 2 * MAX_ERROR + 1e-6
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)


def test_regions_come_back_within_the_stated_error(slabs, tmp_path):
    save_probabilities(tmp_path / "a.b2nd", regions(0), False)
    found, with_background = read([tmp_path / "a.b2nd"], [1.0])
    assert with_background == {False}
    assert found.shape == SHAPE
    assert np.abs(found - regions(0)).max() <= MAX_ERROR + 1e-6


def test_certain_probabilities_are_exact(tmp_path):
    certain = np.zeros(SHAPE, np.float32)
    certain[1] = 1
    save_probabilities(tmp_path / "a.b2nd", certain, True)
    np.testing.assert_allclose(read([tmp_path / "a.b2nd"], [1.0])[0], certain, atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 3.0], [0.2, 0.1]])
def test_members_are_averaged_by_weight(slabs, tmp_path, weights):
    paths = [tmp_path / "a.b2nd", tmp_path / "b.b2nd"]
    for seed, path in enumerate(paths):
        save_probabilities(path, classes(seed), True)
    found, _ = read(paths, weights)
    expected = np.average([classes(0), classes(1)], axis=0, weights=weights)
    np.testing.assert_allclose(found, expected, atol=2 * MAX_ERROR + 1e-6)


def test_rounding_above_one_is_cut_off(tmp_path):
    above = np.full(SHAPE, 1.0005, np.float32)
    save_probabilities(tmp_path / "a.b2nd", above, False)
    assert read([tmp_path / "a.b2nd"], [1.0])[0].max() == pytest.approx(1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
def test_what_is_no_probability_is_refused(tmp_path, value):
    array = classes(0)
    array[1, 2, 3, 1] = value
    with pytest.raises(ValueError, match=r"a\.b2nd: probabilities must be from 0 to 1, found"):
        save_probabilities(tmp_path / "a.b2nd", array, True)
    assert list(tmp_path.iterdir()) == []


def test_members_must_fit_together(tmp_path):
    a, b, c = (tmp_path / f"{name}.b2nd" for name in "abc")
    save_probabilities(a, classes(0), True)
    save_probabilities(b, classes(0)[:, :-1], True)
    save_probabilities(c, classes(0)[1:], False)
    with pytest.raises(ValueError, match=r"b\.b2nd: shape \(2, 6, 5, 4\), but .*a\.b2nd has"):
        list(iterate_slabs([a, b], [1.0, 1.0]))
    with pytest.raises(ValueError, match=r"c\.b2nd: classes and regions cannot be averaged with"):
        list(iterate_slabs([a, c], [1.0, 1.0]))


@pytest.mark.parametrize("n_bytes", [0, 20, -20])
def test_a_torn_file_is_named(tmp_path, n_bytes):
    path = tmp_path / "a.b2nd"
    save_probabilities(path, classes(0), True)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"a\.b2nd: not a readable file of probabilities"):
        open_probabilities(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.b2nd: not a readable file of probabilities"):
        open_probabilities(tmp_path / "a.b2nd")
