import numpy as np
import pytest
from scipy import stats

from segflow.evaluation.bootstrap import N_RESAMPLES, mean_intervals


@pytest.mark.parametrize("n", [12, 40, 200])
def test_one_case_a_group_agrees_with_scipy(n):
    values = np.random.default_rng(0).beta(6, 1.5, (n, 3))
    found = mean_intervals(values, np.arange(n), seed=7)
    for column, interval in zip(values.T, found.T, strict=True):
        expected = stats.bootstrap(
            (column,),
            np.mean,
            n_resamples=N_RESAMPLES,
            method="BCa",
            rng=np.random.default_rng([7, n]),  # which gives the same resamples
        ).confidence_interval
        np.testing.assert_allclose(interval, expected, rtol=1e-9)


def test_whole_groups_are_drawn():
    """Groups of equal cases and equal size are as good as their first cases alone."""
    values = np.random.default_rng(1).normal(size=(15, 2))
    alone = mean_intervals(values, np.arange(15), seed=1)
    thrice = mean_intervals(np.repeat(values, 3, axis=0), np.repeat(np.arange(15), 3), seed=1)
    np.testing.assert_allclose(thrice, alone)
    taken_apart = mean_intervals(np.repeat(values, 3, axis=0), np.arange(45), seed=1)
    assert (np.diff(taken_apart, axis=0) < 0.8 * np.diff(alone, axis=0)).all()


def test_groups_of_unequal_size_count_by_their_cases():
    """The same as a ratio of sums and sizes of groups that are drawn together."""
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(12), generator.integers(1, 5, 12))
    values = generator.normal(size=len(groups)) + groups / 4
    found = mean_intervals(values[:, None], groups, seed=3)[:, 0]
    sums = np.array([values[groups == group].sum() for group in range(12)])
    sizes = np.array([(groups == group).sum() for group in range(12)])

    def mean(sums, sizes, axis=-1):
        return sums.sum(axis) / sizes.sum(axis)

    expected = stats.bootstrap(
        (sums, sizes),
        mean,
        paired=True,
        n_resamples=N_RESAMPLES,
        method="BCa",
        rng=np.random.default_rng([3, 12]),
        vectorized=True,
    ).confidence_interval
    # A resample of each group once equals the data. SciPy counts it by its rounding error.
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_values_that_are_not_finite_are_left_out_with_their_groups():
    values = np.array([0.5, 0.7, np.nan, 0.9, np.inf, 0.6])
    finite = np.isfinite(values)
    found = mean_intervals(values[:, None], np.arange(6), seed=1)
    expected = mean_intervals(values[finite][:, None], np.arange(4), seed=1)
    np.testing.assert_array_equal(found, expected)


def test_an_interval_depends_on_its_own_column_only():
    values = np.random.default_rng(3).normal(size=(20, 150))
    values[3, ::2] = np.nan
    groups = np.arange(20) // 2
    found = mean_intervals(values, groups, seed=1)
    np.testing.assert_allclose(found[:, 70:71], mean_intervals(values[:, 70:71], groups, seed=1))
    assert not np.array_equal(found, mean_intervals(values, groups, seed=2))


def test_two_groups_are_too_few():
    values = np.arange(8.0)[:, None]
    assert np.isnan(mean_intervals(values, np.repeat([0, 1], 4), seed=1)).all()
    assert np.isnan(mean_intervals(np.full((4, 1), np.nan), np.arange(4), seed=1)).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_equal_values_have_an_interval_without_width(value):
    found = mean_intervals(np.full((30, 1), value), np.arange(30), seed=1)
    np.testing.assert_allclose(found[:, 0], [value, value], rtol=1e-14)


def test_groups_of_equal_means_have_an_interval_without_width():
    found = mean_intervals(np.array([[0.1], [0.3]] * 3), np.repeat([0, 1, 2], 2), seed=1)
    np.testing.assert_allclose(found[:, 0], [0.2, 0.2])
