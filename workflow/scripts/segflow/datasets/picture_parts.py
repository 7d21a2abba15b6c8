"""What one picture holds of another: crops, margins, other scales, found by local features.

Blobs of every size are described by what lies around them, in units of their size, so that they
look the same in a crop or a rescaled copy. Blobs that look alike meet in hash tables, whose work
grows with the number of pictures and not with that of pairs; pictures in which several of them
agree on one scale and shift are laid on each other, and correlated where they overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter, minimum_filter

SIZE = 256  # pixels of the longer side, at which pictures are compared
N_BLOBS = 80  # of each picture, those of most contrast
MIN_CONTRAST = 0.02  # of a blob, of that of the strongest
SIGMAS = 1.6 * 2 ** (np.arange(10) / 3)  # of the scale space, in pixels
CELLS, REACH = 8, 6.0  # the surroundings of a blob: a grid of cells, and how many sigmas it reaches
FREQUENCIES = 5  # sum of the frequencies along y and x up to which the surroundings are described
N_BITS, N_TABLES = 22, 6  # of the hashes of the surroundings; bits of few blobs
SPARE_BITS = 4  # above those that number the blobs: chance meetings of each blob stay as rare
N_NEIGHBOURS = 24  # with which each blob of a full bucket is compared
MIN_COSINE = 0.97  # of surroundings that look alike
MIN_MATCHES = 4  # blobs that must agree on scale and shift
TOLERANCE = 12.0  # pixels by which they may miss each other
MIN_SPREAD = 32.0  # pixels: one small shape is no common part, wherever it lies
SCALES = (1.0, 0.985, 1.015)  # around the scale on which the blobs agree
SHIFT = 3  # pixels around the shift on which they agree
MIN_SHARE = 0.2  # of the smaller picture that must be common


@dataclass(frozen=True)
class Features:
    """A small picture and its blobs.

    Parameters
    ----------
    picture : ndarray of float16
        Of shape (y, x), with `SIZE` pixels along the longer side; the largest value is 1. Half
        precision, for it is the pictures that fill the memory.
    places : ndarray
        Of shape (blob, 3): y, x and sigma, in pixels.
    surroundings : ndarray
        Of shape (blob, frequency).
    """

    picture: np.ndarray
    places: np.ndarray
    surroundings: np.ndarray


def describe_picture(array: np.ndarray) -> Features:
    """Return the features of a picture of shape (y, x)."""
    factor = SIZE / max(array.shape)
    size = [max(CELLS, round(length * factor)) for length in array.shape[::-1]]
    filter_ = Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    picture = np.asarray(Image.fromarray(array.astype(np.float32)).resize(size, filter_))
    stack = np.stack([gaussian_filter(picture, sigma) for sigma in SIGMAS])
    layers = np.diff(stack, axis=0)
    peaks = (layers == maximum_filter(layers, 3)) & (layers > 0)
    peaks |= (layers == minimum_filter(layers, 3)) & (layers < 0)
    peaks[[0, -1]] = False
    contrast = np.abs(layers)
    peaks &= contrast > MIN_CONTRAST * contrast.max()
    found = np.argwhere(peaks)
    order = np.argsort(-contrast[tuple(found.T)], kind="stable")[:N_BLOBS]
    layer, y, x = found[order].T
    before, here, after = (contrast[layer + step, y, x] for step in (-1, 0, 1))
    bend = np.minimum(before - 2 * here + after, -1e-9)
    sigma = SIGMAS[0] * 2 ** ((layer + np.clip((before - after) / bend / 2, -0.5, 0.5)) / 3)
    places = np.stack([y, x, sigma], axis=1)
    surroundings = _surroundings(stack, places)
    known = np.linalg.norm(surroundings, axis=1) > 0
    # Over their largest value, for 16 bits reach beyond what half precision can hold.
    stored = (picture / max(float(np.abs(picture).max()), 1e-9)).astype(np.float16)
    return Features(stored, places[known], surroundings[known])


def _surroundings(stack: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the low frequencies of what lies around blobs, each of unit contrast."""
    line = np.linspace(-REACH, REACH, CELLS)
    cells = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    points = places[:, None, :2] + cells * places[:, 2, None, None]
    levels = np.rint(3 * np.log2(places[:, 2] / SIGMAS[0])).astype(int).clip(0, len(SIGMAS) - 1)
    values = np.zeros(points.shape[:2])
    for level in np.unique(levels):
        chosen = levels == level
        at = points[chosen].reshape(-1, 2).T
        sampled = map_coordinates(stack[level], at, order=1, mode="nearest")
        values[chosen] = sampled.reshape(-1, CELLS**2)
    values -= values.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    values = np.where(norms > 1e-6, values / np.maximum(norms, 1e-6), 0)
    waves = dctn(values.reshape(-1, CELLS, CELLS), axes=(1, 2), norm="ortho")
    sums = np.add.outer(np.arange(CELLS), np.arange(CELLS))
    return waves[:, (sums > 0) & (sums <= FREQUENCIES)]


def find_parts(features: Sequence[Features]) -> list[tuple[int, int, float]]:
    """Return pairs of pictures with a common part, and its correlation.

    Parameters
    ----------
    features : sequence of Features
        Of all pictures.

    Returns
    -------
    list of (int, int, float)
        Places of two pictures in the sequence, the first below the second, and the correlation
        from 0 to 1 (see `correlate_part`); it is to be judged by the caller.
    """
    found = []
    owners = np.concatenate([np.full(len(f.places), i) for i, f in enumerate(features)] or [[]])
    if not len(owners):
        return found
    places = np.concatenate([one.places for one in features])
    one, other = _alike(np.concatenate([one.surroundings for one in features]), owners)
    if not len(one):
        return found
    keys = owners[one].astype(np.int64) * len(features) + owners[other]
    order = np.argsort(keys, kind="stable")
    keys, starts = np.unique(keys[order], return_index=True)
    for key, chosen in zip(keys.tolist(), np.split(order, starts[1:]), strict=True):
        first, second = divmod(key, len(features))
        fitted = _fit(places[one[chosen]], places[other[chosen]])
        if fitted is not None:
            pictures = (features[i].picture.astype(np.float32) for i in (first, second))
            found.append((first, second, correlate_part(*pictures, *fitted)))
    return found


def _alike(surroundings: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of blobs of different pictures that look alike, the lower owner first."""
    centred = surroundings - surroundings.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    white = centred @ axes / np.sqrt(values + 1e-4)
    units = surroundings / np.linalg.norm(surroundings, axis=1, keepdims=True)
    draw = np.random.default_rng(0)
    n_bits = max(N_BITS, int(np.log2(len(units))) + SPARE_BITS)
    pairs = [np.zeros((0, 2), int)]
    for _ in range(N_TABLES):
        bits = white @ draw.normal(size=(white.shape[1], n_bits)) > 0
        codes = bits @ (1 << np.arange(n_bits))
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
        for step in range(1, N_NEIGHBOURS + 1):
            same = np.flatnonzero(codes[step:] == codes[:-step])
            one, other = np.sort([order[same], order[same + step]], axis=0)
            cosines = np.einsum("ij,ij->i", units[one], units[other])
            kept = (owners[one] != owners[other]) & (cosines > MIN_COSINE)
            pairs.append(np.stack([one[kept], other[kept]], axis=1))
    one, other = np.unique(np.concatenate(pairs), axis=0).T
    return one, other


def _fit(places: np.ndarray, others: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Return scale and shift, as (y, x), on which most blobs agree; None if too few do."""
    best = np.zeros(len(places), bool)
    for place, other in zip(places, others, strict=True):
        scale = other[2] / place[2]
        shift = other[:2] - place[:2] * scale
        near = np.abs(places[:, :2] * scale + shift - others[:, :2]).max(axis=1) < TOLERANCE
        best = near if near.sum() > best.sum() else best
    if best.sum() < MIN_MATCHES:
        return None
    x, y = places[best, :2], others[best, :2]
    spreads = [((z - z.mean(axis=0)) ** 2).sum() for z in (x, y)]
    if max(spreads) < best.sum() * MIN_SPREAD**2 or not min(spreads):
        return None
    scale = ((x - x.mean(axis=0)) * (y - y.mean(axis=0))).sum() / spreads[0]
    return (scale, y.mean(axis=0) - x.mean(axis=0) * scale) if scale > 0 else None


def correlate_part(one: np.ndarray, other: np.ndarray, scale: float, shift: np.ndarray) -> float:
    """Return the correlation of two pictures where they overlap, 0 if that is too little.

    Parameters
    ----------
    one, other : ndarray
        Pictures of shape (y, x).
    scale, shift : float, ndarray
        The pixel p of `one` lies at ``scale * p + shift`` of `other`, nearly.

    Returns
    -------
    float
        The largest Pearson correlation of the band-passed pictures for scales and shifts nearby.
    """
    y, x = np.indices(one.shape)
    middle = (np.array(one.shape) - 1) / 2
    least = MIN_SHARE * min(one.size, other.size / scale**2)
    mine, best = _band(one), 0.0
    for factor in SCALES:
        at = [
            line * scale * factor + shift[axis] + middle[axis] * scale * (1 - factor)
            for axis, line in enumerate((y, x))
        ]
        inside = np.ones(one.shape, bool)
        for axis in (0, 1):
            inside &= (at[axis] >= 0) & (at[axis] <= other.shape[axis] - 1)
        if inside.sum() < least:
            continue
        smooth = gaussian_filter(other, scale / 2) if scale > 1 else other
        theirs = _band(map_coordinates(smooth, at, order=1, mode="nearest"))
        best = max(best, best_shift(mine, theirs, inside, SHIFT))
    return best


def best_shift(one: np.ndarray, other: np.ndarray, inside: np.ndarray, reach: int) -> float:
    """Return the largest correlation inside a mask for shifts of up to `reach` pixels."""
    height, width = one.shape
    best = 0.0
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            here = np.s_[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
            there = np.s_[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
            chosen = inside[here]
            mine, theirs = one[there][chosen], other[here][chosen]
            if mine.size > 1 and mine.std() > 0 and theirs.std() > 0:
                best = max(best, float(np.corrcoef(mine, theirs)[0, 1]))
    return best


def _band(picture: np.ndarray) -> np.ndarray:
    return gaussian_filter(picture, 1.5) - gaussian_filter(picture, 6)
