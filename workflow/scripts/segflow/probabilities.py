"""Compact storage of a prediction's probabilities, read slab by slab.

Probabilities are kept as 12-bit numbers, compressed without further loss. The background of a
softmax is left out, for it is one minus the rest. The error of a stored probability is at most
``MAX_ERROR``; that of a background is at most ``MAX_ERROR`` times the number of other classes.
"""

from collections.abc import Iterator
from pathlib import Path

import blosc2
import numpy as np

from segflow.content import replacing

LEVELS = 4095
MAX_ERROR = 0.5 / LEVELS
SLAB_BYTES = 8_000_000


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
        If a probability is NaN or outside 0 to 1.
    """
    kept = probabilities[1:] if with_background else probabilities
    low, high = float(kept.min()), float(kept.max())
    if not (low >= 0 and high <= 1 + 1e-3):
        raise ValueError(f"{path}: probabilities must be from 0 to 1, found {low} to {high}")
    levels = np.rint(np.minimum(kept, 1) * np.float32(LEVELS)).astype(np.uint16)
    thickness = max(1, SLAB_BYTES // max(1, levels[:, :1].nbytes))
    chunks = (levels.shape[0], min(thickness, levels.shape[1]), *levels.shape[2:])
    parameters = {
        "codec": blosc2.Codec.ZSTD,
        "clevel": 3,
        "filters": [blosc2.Filter.BITSHUFFLE],
        "nthreads": 1,
    }
    with replacing(path) as temporary:
        array = blosc2.asarray(
            levels, chunks=chunks, cparams=parameters, urlpath=str(temporary), mode="w"
        )
        array.schunk.vlmeta["with_background"] = with_background


def open_probabilities(path: Path) -> blosc2.NDArray:
    """Open a file of probabilities without reading them.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        raise ValueError(f"{path}: not a readable file of probabilities ({error})") from None


def iterate_slabs(
    paths: list[Path], weights: list[float]
) -> Iterator[tuple[slice, np.ndarray, bool]]:
    """Average the probabilities of several members, slab by slab.

    Memory does not grow with the number of members.

    Parameters
    ----------
    paths : list of Path
        A file for each member.
    weights : list of float
        Weight of each member; their sum need not be 1.

    Yields
    ------
    slab : slice
        Range of z.
    mean : ndarray of float32
        Of shape (class or region, z, y, x), the background included.
    with_background : bool
        True if the first class is the background of a softmax.

    Raises
    ------
    ValueError
        If members differ in shape or in kind.
    """
    members = [open_probabilities(path) for path in paths]
    first = members[0]
    with_background = bool(first.schunk.vlmeta["with_background"])
    for path, member in zip(paths, members, strict=True):
        if member.shape != first.shape:
            raise ValueError(f"{path}: shape {member.shape}, but {paths[0]} has {first.shape}")
        if bool(member.schunk.vlmeta["with_background"]) != with_background:
            raise ValueError(f"{path}: classes and regions cannot be averaged with {paths[0]}")
    factors = np.asarray(weights, np.float32) / np.float32(sum(weights) * LEVELS)
    for start in range(0, first.shape[1], first.chunks[1]):
        slab = slice(start, min(start + first.chunks[1], first.shape[1]))
        mean = np.zeros((first.shape[0], slab.stop - start, *first.shape[2:]), np.float32)
        for member, factor in zip(members, factors, strict=True):
            mean += member[:, slab] * factor
        if with_background:
            mean = np.concatenate([1 - mean.sum(0, keepdims=True), mean])
        yield slab, mean, with_background
