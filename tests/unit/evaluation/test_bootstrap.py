import numpy as np
import pytest

from segflow.evaluation import bootstrap
from segflow.evaluation.bootstrap import BORROWED, N_RESAMPLES, mean_intervals


def plain_interval(sums, sizes, seed):
    """Return the interval of one column, a resample at a time."""
    n, generator = len(sums), np.random.default_rng([seed, len(sums)])

    def mean_and_error(chosen, borrowed, spread):
        mean = sums[chosen].sum() / sizes[chosen].sum()
        squares = ((sums[chosen] - mean * sizes[chosen]) ** 2).sum() + borrowed * spread
        return mean, np.sqrt(n * squares / (n - 1 + borrowed)) / sizes[chosen].sum()

    mean, error = mean_and_error(np.arange(n), 0, 0)
    spread = ((sums - mean * sizes) ** 2).sum() / (n - 1)
    found = []
    for chosen in generator.integers(n, size=(N_RESAMPLES, n)):
        other, own = mean_and_error(chosen, BORROWED, spread)
        found.append((other - mean) / own)
    found = np.sort(found)
    return mean - found[9749] * error, mean - found[249] * error


@pytest.mark.parametrize("n", [5, 12, 60])
def test_one_case_a_group(n):
    values = np.random.default_rng(0).beta(6, 1.5, (n, 2))
    found = mean_intervals(values, np.arange(n), seed=7)
    for column, interval in zip(values.T, found.T, strict=True):
        expected = plain_interval(column, np.ones(n), 7)
        np.testing.assert_allclose(interval, expected, rtol=1e-9)


def test_groups_of_unequal_size_count_by_their_cases():
    """The same as a ratio of sums and sizes of groups that are drawn together."""
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(12), generator.integers(1, 5, 12))
    values = generator.normal(size=len(groups)) + groups / 4
    found = mean_intervals(values[:, None], groups, seed=3)[:, 0]
    sums = np.array([values[groups == group].sum() for group in range(12)])
    sizes = np.array([(groups == group).sum() for group in range(12)])
    np.testing.assert_allclose(found, plain_interval(sums, sizes, 3), rtol=1e-9)


def test_whole_groups_are_drawn():
    """Groups of equal cases and equal size are as good as their first cases alone."""
    values = np.random.default_rng(1).normal(size=(15, 2))
    alone = mean_intervals(values, np.arange(15), seed=1)
    thrice = mean_intervals(np.repeat(values, 3, axis=0), np.repeat(np.arange(15), 3), seed=1)
    np.testing.assert_allclose(thrice, alone)
    taken_apart = mean_intervals(np.repeat(values, 3, axis=0), np.arange(45), seed=1)
    assert (np.diff(taken_apart, axis=0) < 0.8 * np.diff(alone, axis=0)).all()


DRAWN = {
    "normal": (lambda generator, shape: generator.normal(0.8, 0.1, shape), 0.8),
    "Dice-like": (lambda generator, shape: generator.beta(6, 1.5, shape), 6 / 7.5),
    "nearly perfect": (lambda generator, shape: generator.beta(9, 1, shape), 0.9),
}


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("n", [5, 10, 20])
def test_an_interval_holds_its_level(kind, n, monkeypatch):
    """Of 3,000 made tables 95 % hold the true mean; a standard error is 0.4 %."""
    monkeypatch.setattr(bootstrap, "N_RESAMPLES", 1999)
    draw, mean = DRAWN[kind]
    low, high = mean_intervals(draw(np.random.default_rng(n), (n, 3000)), np.arange(n), seed=1)
    assert 0.93 <= ((low <= mean) & (mean <= high)).mean() <= 0.97


@pytest.mark.parametrize("n", [5, 10, 20])
def test_an_interval_of_groups_of_several_cases_holds_its_level(n, monkeypatch):
    """Cases of a group share half of their variance; 3,000 tables, each with its own sizes."""
    monkeypatch.setattr(bootstrap, "N_RESAMPLES", 1999)
    generator = np.random.default_rng(n)
    groups = np.repeat(np.arange(n), 4)
    values = generator.normal(size=(n, 3000))[groups] + generator.normal(size=(4 * n, 3000))
    absent = np.tile(np.arange(4), n)[:, None] >= generator.integers(1, 5, (n, 3000))[groups]
    values[absent] = np.nan
    low, high = mean_intervals(values, groups, seed=1)
    assert 0.925 <= ((low <= 0) & (high >= 0)).mean() <= 0.97


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_groups_have_no_interval(n):
    values = np.random.default_rng(n).random((4 * n, 3))
    assert np.isnan(mean_intervals(values, np.repeat(np.arange(n), 4), seed=1)).all()
    assert np.isnan(mean_intervals(np.full((6, 1), np.nan), np.arange(6), seed=1)).all()


def test_values_that_are_not_finite_are_left_out_with_their_groups():
    values = np.array([0.5, 0.7, np.nan, 0.9, np.inf, 0.6, 0.4, 0.8])
    finite = np.isfinite(values)
    found = mean_intervals(values[:, None], np.arange(8), seed=1)
    expected = mean_intervals(values[finite][:, None], np.arange(6), seed=1)
    np.testing.assert_array_equal(found, expected)


def test_an_interval_depends_on_its_own_column_only():
    values = np.random.default_rng(3).normal(size=(20, 150))
    values[3, ::2] = np.nan
    groups = np.arange(20) // 2
    found = mean_intervals(values, groups, seed=1)
    np.testing.assert_allclose(found[:, 70:71], mean_intervals(values[:, 70:71], groups, seed=1))
    assert not np.array_equal(found, mean_intervals(values, groups, seed=2))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_equal_values_have_an_interval_without_width(value):
    found = mean_intervals(np.full((30, 1), value), np.arange(30), seed=1)
    np.testing.assert_allclose(found[:, 0], [value, value], rtol=1e-14)


def test_groups_of_equal_means_have_an_interval_without_width():
    found = mean_intervals(np.array([[0.1], [0.3]] * 5), np.repeat(np.arange(5), 2), seed=1)
    np.testing.assert_allclose(found[:, 0], [0.2, 0.2])


def test_rare_values_have_an_interval_with_ends():
    """Most resamples hold zeros only, and have no spread of their own."""
    values = np.zeros((12, 1))
    values[3] = 1.0
    low, high = mean_intervals(values, np.arange(12), seed=1)[:, 0]
    assert low < 0 < 1 / 12 < high < np.inf
