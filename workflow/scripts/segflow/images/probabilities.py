"""Compact storage of a prediction's probabilities, read tile by tile.

Probabilities are kept as 12-bit levels, compressed without further loss. The background of a
softmax is left out, for it is one minus the rest. The error of a stored probability is at most
``MAX_ERROR``; that of a background is at most ``MAX_ERROR`` times the number of other classes.

The choice was measured, on outputs of trained networks and on label maps of CT made soft. With
shuffled bytes and level 3 of Zstandard, 12 bits need at most a seventeenth of the space of
nnU-Net's ``.npz`` file. 8 bits save four fifths of that, but err by 2e-3; float16 needs thirty
times as much on CT. Shuffled bits are larger and slower to read, LZ4 is twice as large, and level
5 of Zstandard saves 8 % for twice the time.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import blosc2
import numpy as np

from segflow.files.content import naming_full_disk, replacing

LEVELS = 4095
MAX_ERROR = 0.5 / LEVELS
# Voxels along z, y, x of what is compressed and read at a time: the sums of a tile fit into the
# cache, and far from all objects a tile is skipped. A 2D image has larger ones.
TILE = (32, 64, 64)
FLAT_TILE = (1, 256, 256)
CODEC = {
    "codec": blosc2.Codec.ZSTD,
    "clevel": 3,
    "filters": [blosc2.Filter.SHUFFLE],
    "nthreads": 1,
}


@dataclass(frozen=True)
class Probabilities:
    """A file of probabilities, of which nothing but the header was read.

    Parameters
    ----------
    path : Path
        The file.
    levels : NDArray of uint16
        Of shape (class or region, z, y, x), 0 to ``LEVELS``, without the background of a softmax.
    with_background : bool
        True for the classes of a softmax, False for regions.
    peaks : ndarray of int64
        Of shape (z, y, x) in tiles: the largest level of anything but background in each. For
        classes that is the largest sum over all of them, for regions that of any.
    """

    path: Path
    levels: blosc2.NDArray
    with_background: bool
    peaks: np.ndarray

    def tile(self, box: tuple[slice, ...]) -> np.ndarray:
        """Return the levels in a box, of shape (class or region, z, y, x).

        Raises
        ------
        ValueError
            If that part of the file cannot be decompressed.
        """
        try:
            return self.levels[(slice(None), *box)]
        except RuntimeError as error:
            raise ValueError(f"{self.path}: damaged probabilities ({error})") from None


def tile_boxes(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Yield the place of each tile among the tiles, and its box of voxels.

    Parameters
    ----------
    shape : tuple of int
        Voxels along z, y, x.
    """
    tile = _tile(shape)
    for place in np.ndindex(*map(_count, shape, tile)):
        yield (
            place,
            tuple(
                slice(number * size, min((number + 1) * size, end))
                for number, size, end in zip(place, tile, shape, strict=True)
            ),
        )


def save_probabilities(path: Path, probabilities: np.ndarray, with_background: bool) -> None:
    """Write the probabilities of one case, atomically.

    Parameters
    ----------
    path : Path
        The file, of suffix ``.b2nd``.
    probabilities : ndarray of float
        Of shape (class or region, z, y, x), between 0 and 1.
    with_background : bool
        True if the first class is the background of a softmax, which is left out.

    Raises
    ------
    ValueError
        If a probability is NaN or outside 0 to 1, that of the background included.
    """
    kept = probabilities[1:] if with_background else probabilities

    def read(slices: slice) -> np.ndarray:
        _check_range(probabilities[:, slices], path)
        return _quantised(kept[:, slices])

    save_levels(path, kept.shape, read, with_background)


def save_levels(
    path: Path,
    shape: tuple[int, ...],
    read: Callable[[slice], np.ndarray],
    with_background: bool,
    threads: int = 1,
) -> None:
    """Write the probabilities of one case, atomically, of which a slab is held at a time.

    Parameters
    ----------
    path : Path
        The file, of suffix ``.b2nd``.
    shape : tuple of int
        Classes or regions, without the background of a softmax, and voxels along z, y, x.
    read : callable
        Returns the levels of some slices along z, uint16 of shape (class or region, z, y, x), 0 to
        ``LEVELS``; it is asked for all slices in order.
    with_background : bool
        True for the classes of a softmax, False for regions.
    threads : int
        Threads that compress.
    """
    tile = _tile(shape[1:])
    peaks = np.zeros(tuple(map(_count, shape[1:], tile)), np.int64)
    with replacing(path) as temporary, naming_full_disk(path.parent):
        levels = blosc2.empty(
            shape,
            np.uint16,
            chunks=(shape[0], *tile),
            blocks=(1, *tile),
            cparams={**CODEC, "nthreads": threads},
            urlpath=str(temporary),
            mode="w",
        )
        for slices, tiles in groupby(tile_boxes(shape[1:]), lambda tile: tile[1][0]):
            slab = read(slices)
            for place, box in tiles:
                # In one piece, as blosc2 needs it.
                found = np.ascontiguousarray(slab[(slice(None), slice(None), *box[1:])])
                levels[(slice(None), *box)] = found
                together = found.sum(0, dtype=np.int64) if with_background else found
                peaks[place] = together.max()
        levels.schunk.vlmeta["with_background"] = with_background
        levels.schunk.vlmeta["peaks"] = peaks.tolist()


def open_probabilities(path: Path) -> Probabilities:
    """Open a file of probabilities without reading them.

    Raises
    ------
    ValueError
        If the file is missing or damaged.
    """
    try:
        levels = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
        about = levels.schunk.vlmeta
        peaks = np.array(about["peaks"], np.int64)
        return Probabilities(path, levels, about["with_background"], peaks)
    except (RuntimeError, ValueError, KeyError, FileNotFoundError) as error:
        raise ValueError(f"{path}: not a readable file of probabilities ({error})") from None


def read_probabilities(path: Path) -> np.ndarray:
    """Read the probabilities of one case.

    Returns
    -------
    ndarray of float32
        Of shape (class or region, z, y, x), the background of a softmax included.

    Raises
    ------
    ValueError
        If the file is missing or damaged.
    """
    stored = open_probabilities(path)
    everywhere = tuple(slice(size) for size in stored.levels.shape[1:])
    found = stored.tile(everywhere) / np.float32(LEVELS)
    return (
        np.concatenate([1 - found.sum(0, keepdims=True), found])
        if stored.with_background
        else found
    )


def _check_range(probabilities: np.ndarray, path: Path) -> None:
    """Refuse what is no probability; rounding may put some a little above one."""
    low, high = float(probabilities.min()), float(probabilities.max())
    if not (low >= 0 and high <= 1 + 1e-3):
        raise ValueError(f"{path}: probabilities must be from 0 to 1, found {low} to {high}")


def _quantised(probabilities: np.ndarray) -> np.ndarray:
    """Return the levels of probabilities as uint16; what rounding put above one is cut off."""
    levels = np.minimum(probabilities, 1, dtype=np.float32)
    levels *= LEVELS
    return np.rint(levels, out=levels).astype(np.uint16)


def _tile(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the tiles of a case."""
    return tuple(map(min, shape, FLAT_TILE if shape[0] == 1 else TILE))


def _count(size: int, tile: int) -> int:
    """Return how many tiles cover an axis."""
    return math.ceil(size / tile)
