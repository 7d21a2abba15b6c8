"""Images that are nearly the same, found by a perceptual hash of each.

The hash says of each cell of a coarse grid whether it is brighter than the cell left of it and the
cell above it. It bears other sizes, contrasts, compression, callipers, captions and lost margins of
about 4 % of the image; it does not recognise mirrored images and narrower crops. Uniform regions
agree with each other, so images that are mostly background need a smaller distance.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segflow.files.cases import read_rows, write_rows

CELLS = 16  # along each side of the grid
N_BITS = 2 * CELLS**2
# Of 220 breast ultrasound images, all pairs up to 152 bits apart show the same lesion or slice, and
# the nearest unrelated pair is 157 apart. Of 1.5 million pairs of unrelated images that were also
# mirrored and cropped, one is within 136 bits and 17 are within 152.
MAX_DISTANCE = 136
BLOCK = 64  # images that are compared with all others at once; bounds the memory


@dataclass(frozen=True)
class Pair:
    """Two images that are nearly the same.

    Parameters
    ----------
    case, other : str
        The two cases; `case` comes first in sorted order.
    distance : int
        Bits in which their hashes differ, of 512.
    case_class, other_class : str
        Their classes; empty where there is none.
    """

    case: str
    other: str
    distance: int
    case_class: str
    other_class: str

    @property
    def contradicts(self) -> bool:
        """Whether the two have different classes."""
        return self.case_class != self.other_class and "" not in (self.case_class, self.other_class)


COLUMNS = [*(field.name for field in fields(Pair)), "contradicts"]


def perceptual_hash(array: np.ndarray) -> np.ndarray:
    """Return the perceptual hash of a 2D image.

    It joins the difference hashes of `imagehash` along x and along y.

    Parameters
    ----------
    array : ndarray
        Grey values of shape (y, x). Other types than uint8 are brought to 8 bits between their
        1st and 99th percentiles.

    Returns
    -------
    ndarray of bool
        512 bits; all false for a uniform image.

    Raises
    ------
    ValueError
        If the array is not 2D.
    """
    if array.ndim != 2:
        raise ValueError(f"a hash needs an array of shape (y, x), got {array.shape}")
    if array.dtype != np.uint8:
        low, high = np.percentile(array, (1, 99))
        array = np.interp(array, (low, high), (0, 255)).astype(np.uint8)
    image = Image.fromarray(array)
    hashes = imagehash.dhash(image, CELLS), imagehash.dhash_vertical(image, CELLS)
    return np.concatenate([part.hash.ravel() for part in hashes])


def find_pairs(
    hashes: Mapping[str, np.ndarray],
    classes: Mapping[str, str],
    max_distance: int = MAX_DISTANCE,
) -> list[Pair]:
    """Return all pairs of images whose hashes differ in few bits.

    Parameters
    ----------
    hashes : mapping of str to ndarray of bool
        The hash of each case (see `perceptual_hash`), all of one length.
    classes : mapping of str to str
        Class of the cases that have one.
    max_distance : int
        Bits in which the hashes of a pair may differ.

    Returns
    -------
    list of Pair
        Sorted by name; independent of the order of `hashes`.
    """
    names = sorted(hashes)
    if not names:
        return []
    words = _pack(np.array([hashes[name] for name in names]))
    pairs = []
    for start in range(0, len(names), BLOCK):
        block, others = words[:, start : start + BLOCK, None], words[:, None, start:]
        distances = np.zeros((block.shape[1], others.shape[2]), np.uint16)
        for mine, theirs in zip(block, others, strict=True):
            distances += np.bitwise_count(mine ^ theirs)
        for i, j in np.argwhere(np.triu(distances <= max_distance, k=1)):
            case, other = names[start + i], names[start + j]
            known = classes.get(case, ""), classes.get(other, "")
            pairs.append(Pair(case, other, int(distances[i, j]), *known))
    return pairs


def group_pairs(cases: Iterable[str], pairs: Iterable[Pair]) -> dict[str, str]:
    """Return the group of each case: what pairs join, directly or through others.

    Parameters
    ----------
    cases : iterable of str
        The cases to group.
    pairs : iterable of Pair
        The near-duplicates. Pairs with a case that is not among `cases` join nothing.

    Returns
    -------
    dict of str to str
        For each case the first member of its group in sorted order; itself if it is alone.
    """
    return connect(cases, ((pair.case, pair.other) for pair in pairs))


def connect(names: Iterable[str], links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return for each name the first, in sorted order, of those it is linked with.

    Parameters
    ----------
    names : iterable of str
        The names.
    links : iterable of tuple of str
        Two names each. Links with a name that is not among `names` are left out.
    """
    names = sorted(set(names))
    index = {name: number for number, name in enumerate(names)}
    edges = [(index[a], index[b]) for a, b in links if a in index and b in index]
    rows, columns = np.array(edges, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges), bool), (rows, columns)), shape=(len(names),) * 2)
    _, components = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    return {
        name: first.setdefault(component, name)
        for name, component in zip(names, components.tolist(), strict=True)
    }


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write a table of pairs, and whether their classes contradict each other."""
    rows = [{**asdict(pair), "contradicts": pair.contradicts} for pair in pairs]
    write_rows(path, rows, COLUMNS)


def read_pairs(path: Path) -> list[Pair]:
    """Read a table of pairs.

    Raises
    ------
    ValueError
        If it has other columns.
    """
    return [
        Pair(row["case"], row["other"], int(row["distance"]), row["case_class"], row["other_class"])
        for row in read_rows(path, COLUMNS)
    ]


def _pack(bits: np.ndarray) -> np.ndarray:
    """Return bits of shape (image, bit) as 64-bit words of shape (word, image)."""
    padded = np.pad(bits.astype(bool), ((0, 0), (0, -bits.shape[1] % 64)))
    return np.ascontiguousarray(np.packbits(padded, axis=1).view(np.uint64).T)
