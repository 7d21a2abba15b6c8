"""Bootstrap intervals that treat the cases of one patient as one observation.

Intervals are for many columns at once. The resamples depend on the seed and the number of groups
only: a column has the same interval whatever else is in the table.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri

N_RESAMPLES = 9999
CONFIDENCE = 0.95
MIN_GROUPS = 3
CHUNK = 1024  # columns whose resamples are in memory at the same time
N_DRAWN = 5_000_000  # members of resamples that are in memory at the same time


def mean_intervals(values: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return bias-corrected and accelerated (BCa) intervals of means over cases.

    Whole groups are drawn with replacement. The mean of a resample is over its cases, so a group
    counts as often as it has cases. Values that are not finite are left out, and with them the
    groups that have no other.

    Parameters
    ----------
    values : ndarray of float
        Of shape (cases, columns).
    groups : ndarray
        Of shape (cases,): the group of each case.
    seed : int
        Seed of the resamples.

    Returns
    -------
    ndarray of float
        Of shape (2, columns): lower and upper ends of the 95 % intervals. They are NaN with fewer
        than three groups. If leaving out any group changes nothing (all values are equal, say),
        both ends are the mean.

    References
    ----------
    Efron, Better bootstrap confidence intervals, JASA 1987, doi:10.1080/01621459.1987.10478410.
    """
    sums, sizes = group_sums(values, groups)
    ends = np.full((2, values.shape[1]), np.nan)
    n_groups = (sizes > 0).sum(axis=0)
    for n in np.unique(n_groups[n_groups >= MIN_GROUPS]):
        columns = np.flatnonzero(n_groups == n)
        for chunk in np.array_split(columns, -(-len(columns) // CHUNK)):
            used = sizes[:, chunk].T > 0
            shape = (len(chunk), n)
            ends[:, chunk] = _bca(
                sums[:, chunk].T[used].reshape(shape),
                sizes[:, chunk].T[used].reshape(shape),
                seed,
            )
    return ends


def group_sums(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of the finite values of each group, and how many these are.

    Parameters
    ----------
    values : ndarray of float
        Of shape (cases, columns).
    groups : ndarray
        Of shape (cases,): the group of each case.

    Returns
    -------
    sums, sizes : ndarray of float
        Of shape (groups, columns), the groups sorted by name.
    """
    _, places = np.unique(groups, return_inverse=True)
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    finite = np.isfinite(values)
    sums = np.add.reduceat(np.where(finite, values, 0.0)[order], starts, axis=0)
    return sums, np.add.reduceat(finite[order].astype(float), starts, axis=0)


def _draw_members(n: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the members of the resamples of `n` in blocks of shape (resamples, n)."""
    generator = np.random.default_rng([seed, n])
    size = max(1, N_DRAWN // n)
    for start in range(0, N_RESAMPLES, size):
        yield generator.integers(n, size=(min(size, N_RESAMPLES - start), n))


def _resample_means(sums: np.ndarray, sizes: np.ndarray, seed: int) -> np.ndarray:
    """Return the sorted means of all resamples, of shape (columns, resamples)."""
    n = sums.shape[1]
    equal = np.ptp(sizes) == 0  # resamples are then as large as the data: half of the work
    blocks = []
    for members in _draw_members(n, seed):
        places = members + n * np.arange(len(members))[:, None]
        counts = np.bincount(places.ravel(), minlength=n * len(members)).reshape(-1, n)
        counts = counts.T.astype(float)
        drawn = sizes.sum(axis=1, keepdims=True) if equal else sizes @ counts
        blocks.append((sums @ counts) / drawn)
    return np.sort(np.concatenate(blocks, axis=1), axis=1)


def _bca(sums: np.ndarray, sizes: np.ndarray, seed: int) -> np.ndarray:
    """Return the ends for sums and sizes of groups, both of shape (columns, groups)."""
    total, size = sums.sum(axis=1, keepdims=True), sizes.sum(axis=1, keepdims=True)
    mean = total / size
    left_out = (total - sums) / (size - sizes)  # the mean without each group: the jackknife
    deviation = left_out.mean(axis=1, keepdims=True) - left_out
    variation = (deviation**2).sum(axis=1)
    varied = np.sqrt(variation) > 1e-12 * np.abs(mean[:, 0])
    ends = np.repeat(mean.T, 2, axis=0)
    if not varied.any():
        return ends
    sums, sizes, mean = sums[varied], sizes[varied], mean[varied]
    skew = (deviation[varied] ** 3).sum(axis=1) / (6 * variation[varied] ** 1.5)
    means = _resample_means(sums, sizes, seed)
    rounding = 1e-12 * np.abs(mean)  # resamples that equal the data must count as equal
    below = (means < mean - rounding).mean(axis=1) + (means <= mean + rounding).mean(axis=1)
    bias = ndtri(below / 2)
    for end, tail in zip(ends, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2), strict=True):
        shifted = bias + ndtri(tail)
        place = ndtr(bias + shifted / (1 - skew * shifted)) * (N_RESAMPLES - 1)
        floor = place.astype(int)
        rows, part = np.arange(len(means)), place - floor
        ceiling = np.minimum(floor + 1, N_RESAMPLES - 1)
        end[varied] = means[rows, floor] * (1 - part) + means[rows, ceiling] * part
    return ends
