"""Pictures that are nearly the same: by a perceptual hash of each, and by what they have in common.

The hash says of each cell of a coarse grid whether it is brighter than the cell left of it and the
cell above it. It bears other sizes, contrasts, compression, callipers, captions, lost margins of
about 4 % of the image, and neighbouring slices. Uniform regions agree with each other, so pairs
must also correlate where either picture shows something. Crops and other scales are found by
`segflow.datasets.picture_parts`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segflow.datasets.picture_parts import Features, best_shift, describe_picture, find_parts
from segflow.files.cases import read_rows, write_rows

CELLS = 16  # along each side of the grid
N_BITS = 2 * CELLS**2
# Of 220 breast ultrasound images, all pairs up to 152 bits apart show the same lesion or slice, and
# the nearest unrelated pair is 157 apart. Of 1.5 million pairs of unrelated images that were also
# mirrored and cropped, one is within 136 bits and 17 are within 152.
MAX_DISTANCE = 136
# On 64 x 64 pixels, the 28 pairs of 220 breast ultrasound images correlate by 0.57 and more, and
# 1,500 random pairs by 0.55 at most. Common parts of these images correlate by 0.62 and more, wrong
# ones by 0.27.
MIN_COARSE, MIN_COMMON = 0.5, 0.6
COARSE, COARSE_SHIFT = 64, 5  # pixels
MIN_BITS = 128  # that a hash sets: mostly uniform pictures set fewer, and their hashes agree
SHOWN = 0.03  # of the range of grey values above which a pixel shows something
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
    correlation : float
        Of what they have in common, up to 1.
    case_class, other_class : str
        Their classes; empty where there is none.
    """

    case: str
    other: str
    distance: int
    correlation: float
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


@dataclass(frozen=True)
class Fingerprint:
    """What is compared of a picture: its hash, a thumbnail of square shape, and its features."""

    bits: np.ndarray
    thumbnail: np.ndarray
    features: Features
    mirrored: Features | None = None


def fingerprint(array: np.ndarray, mirrored: bool = False) -> Fingerprint:
    """Return what is compared of a 2D image of shape (y, x), also `mirrored` left to right."""
    square = Image.fromarray(array.astype(np.float32)).resize(
        (COARSE, COARSE), Image.Resampling.BOX
    )
    return Fingerprint(
        perceptual_hash(array),
        np.asarray(square),
        describe_picture(array),
        describe_picture(np.ascontiguousarray(array[:, ::-1])) if mirrored else None,
    )


def find_duplicates(
    prints: Mapping[str, Fingerprint],
    classes: Mapping[str, str],
    max_distance: int = MAX_DISTANCE,
    min_correlation: float = MIN_COMMON,
) -> list[Pair]:
    """Return all pairs of pictures that are nearly the same, or hold parts of each other.

    Parameters
    ----------
    prints : mapping of str to Fingerprint
        Of each case.
    classes : mapping of str to str
        Class of the cases that have one.
    max_distance : int
        Bits in which the hashes of a pair may differ.
    min_correlation : float
        Least correlation of a common part.

    Returns
    -------
    list of Pair
        Sorted by name; independent of the order of `prints`.
    """
    names = sorted(prints)
    found: dict[tuple[str, str], float] = {}
    hashes = {name: prints[name].bits for name in names}
    textured = {name: bits for name, bits in hashes.items() if bits.sum() >= MIN_BITS}
    for one, other in find_pairs(textured, max_distance):
        correlation = coarse_correlation(prints[one].thumbnail, prints[other].thumbnail)
        if correlation >= MIN_COARSE:
            found[one, other] = correlation
    turned = [name for name in names if prints[name].mirrored is not None]
    features = [prints[name].features for name in names]
    features += [prints[name].mirrored for name in turned]
    owners = [*names, *turned]
    for first, second, correlation in find_parts(features):
        one, other = sorted((owners[first], owners[second]))
        if first >= len(names) or one == other or correlation < min_correlation:
            continue  # two mirrored ones are what the two originals are
        found[one, other] = max(correlation, found.get((one, other), 0.0))
    return [
        Pair(
            one,
            other,
            int(np.count_nonzero(hashes[one] != hashes[other])),
            round(found[one, other], 3),
            classes.get(one, ""),
            classes.get(other, ""),
        )
        for one, other in sorted(found)
    ]


def coarse_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two thumbnails of one shape where either shows something."""
    shown = np.zeros(one.shape, bool)
    bands = []
    for picture in (one, other):
        low, high = picture.min(), picture.max()
        shown |= maximum_filter(picture > low + SHOWN * (high - low), 5)
        bands.append(gaussian_filter(picture, 1) - gaussian_filter(picture, 6))
    return best_shift(*bands, shown, COARSE_SHIFT)


def find_pairs(
    hashes: Mapping[str, np.ndarray], max_distance: int = MAX_DISTANCE
) -> list[tuple[str, str]]:
    """Return all pairs of images whose hashes differ in few bits.

    All hashes are compared, which is quadratic, but 200 million pairs, those of 20,000 images, take
    three seconds of one core; to read and describe as many images takes a quarter of an hour. No
    exact index does better at these distances. Of k + 1 parts of the bits one must be equal in
    each pair within k bits, but with 136 of 512 bits these parts have fewer than four bits, in
    which one of fourteen unrelated pairs agrees; and random samples of the bits that are long
    enough to tell pairs apart (20) agree in one of 480 true pairs.

    Parameters
    ----------
    hashes : mapping of str to ndarray of bool
        The hash of each case (see `perceptual_hash`), all of one length.
    max_distance : int
        Bits in which the hashes of a pair may differ.

    Returns
    -------
    list of (str, str)
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
            pairs.append((names[start + i], names[start + j]))
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
        Pair(
            case=row["case"],
            other=row["other"],
            distance=int(row["distance"]),
            correlation=float(row["correlation"]),
            case_class=row["case_class"],
            other_class=row["other_class"],
        )
        for row in read_rows(path, COLUMNS)
    ]


def _pack(bits: np.ndarray) -> np.ndarray:
    """Return bits of shape (image, bit) as 64-bit words of shape (word, image)."""
    padded = np.pad(bits.astype(bool), ((0, 0), (0, -bits.shape[1] % 64)))
    return np.ascontiguousarray(np.packbits(padded, axis=1).view(np.uint64).T)
