"""Components and holes of a label map as a small graph, and their overlap with a reference.

Every step of post-processing takes or leaves whole pieces of a label map: components of one label
and holes. So a label map is reduced once to its pieces, their sizes, which of them touch, and how
many voxels each shares with the pieces of the reference. Components of several labels taken
together are pieces that hang together in this graph. Whatever steps are applied then, in whatever
order, what is left is known exactly without another look at the voxels.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import cc3d
import numpy as np

from segflow.files.content import replacing
from segflow.files.labels import Labels, blank_ignored, foreground_values
from segflow.images.nifti import describe_difference, read_labels
from segflow.images.sizes import image_axes, voxel_size

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Pieces:
    """Components of one label each, and holes, of one label map or of several side by side.

    Components are connected through faces, edges and corners (26 neighbours; 8 in 2D). A hole is
    a component of the background through faces (6 neighbours; 4 in 2D) that does not reach the
    border of the image; a flat image has no border along its axis of one voxel.

    Parameters
    ----------
    values : ndarray of int
        Of shape (n,): the label of each component; of a hole the label with which it shares most
        faces, the smaller one of two. This is what the hole is filled with.
    voxels : ndarray of int
        Of shape (n,): the size of each piece.
    is_hole : ndarray of bool
        Of shape (n,).
    at_border : ndarray of bool
        Of shape (n,): whether a component reaches the border of the image.
    rims : ndarray of int
        Of shape (m, 2): each hole with each label that it shares a face with.
    contacts : ndarray of int
        Of shape (k, 2): pieces that touch by a face, an edge or a corner.
    """

    values: np.ndarray
    voxels: np.ndarray
    is_hole: np.ndarray
    at_border: np.ndarray
    rims: np.ndarray
    contacts: np.ndarray


@dataclass(frozen=True)
class CaseTable:
    """All that post-processing and its scores need to know of one case.

    Parameters
    ----------
    prediction, reference : Pieces
        The pieces of both label maps; holes are looked for in the prediction only.
    shared : ndarray of int
        Of shape (k, 3): a piece of the prediction, a piece of the reference, and the voxels that
        they share.
    voxel_mm3 : float
        Volume of a voxel; of a flat image the area in mm2.
    """

    prediction: Pieces
    reference: Pieces
    shared: np.ndarray
    voxel_mm3: float


def find_pieces(label_map: np.ndarray, with_holes: bool = True) -> tuple[np.ndarray, Box, Pieces]:
    """Find the components and holes of a label map.

    Parameters
    ----------
    label_map : ndarray of int
        Of shape (z, y, x), background 0; with an axis of one voxel it is flat.
    with_holes : bool
        Whether to look for holes.

    Returns
    -------
    numbers : ndarray of uint32
        Number of the piece, from 1, that each voxel of the box belongs to; 0 elsewhere.
    box : tuple of slice
        The smallest box that holds everything but background; empty if there is nothing.
    pieces : Pieces
        Piece i has the number i + 1. Components come first, in the order of their first voxel.
    """
    box = foreground_box(label_map)
    # cc3d 4.1 fails on dense masks of odd size. A margin of background makes it right.
    inner = np.pad(label_map[box], [(0, 1)] * 3)
    numbers, n_components = _connect(inner, 26)
    n_holes = 0
    if with_holes and n_components:
        n_holes = _number_holes(inner, numbers, n_components, image_axes(label_map.shape))
    n = n_components + n_holes
    pairs, counts = count_pairs(numbers, inner)
    inside = pairs[:, 0] > 0
    values, voxels = np.zeros(n, np.int64), np.zeros(n, np.int64)
    values[pairs[inside, 0] - 1] = pairs[inside, 1]
    voxels[pairs[inside, 0] - 1] = counts[inside]
    is_hole = np.arange(n) >= n_components
    rims = np.zeros((0, 2), np.int64)
    if n_holes:
        rims = _take_labels(numbers, values, is_hole)
    contacts = cc3d.contacts(numbers, connectivity=26, surface_area=False)
    inner_numbers = numbers[:-1, :-1, :-1]
    pieces = Pieces(
        values=values,
        voxels=voxels,
        is_hole=is_hole,
        at_border=_at_border(inner_numbers, box, label_map.shape, n),
        rims=rims,
        contacts=np.array(sorted(contacts), np.int64).reshape(-1, 2) - 1,
    )
    return inner_numbers, box, pieces


def foreground_box(label_map: np.ndarray) -> Box:
    """Return the smallest box, along (z, y, x), that holds all values but 0; else an empty one."""
    box = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        places = np.flatnonzero(label_map.any(axes))
        box.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0))
    return tuple(box)


def count_pairs(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the voxels of each pair of values of two arrays of the same shape.

    Neighbours along x mostly have the same values, so runs are counted rather than voxels.

    Returns
    -------
    pairs : ndarray of int64
        Of shape (n, 2): the pairs that occur, sorted.
    counts : ndarray of int64
        Of shape (n,): the voxels of each pair.
    """
    if one.size == 0:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    one, other = one.ravel(), other.ravel()
    changes = one[1:] != one[:-1]
    changes |= other[1:] != other[:-1]
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=one.size)
    base = int(other.max()) + 1
    keys = one[starts].astype(np.int64) * base + other[starts].astype(np.int64)
    keys, places = np.unique(keys, return_inverse=True)
    counts = np.bincount(places, lengths).astype(np.int64)
    return np.stack(np.divmod(keys, base), 1), counts


def compare_pieces(
    prediction: np.ndarray, reference: np.ndarray, voxel_mm3: float = 1.0
) -> CaseTable:
    """Reduce a predicted label map and its reference, both of shape (z, y, x), to their pieces."""
    predicted, box, pieces = find_pieces(prediction)
    true, other_box, other_pieces = find_pieces(reference, with_holes=False)
    common = tuple(
        slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))
        for a, b in zip(box, other_box, strict=True)
    )
    pairs, counts = count_pairs(
        predicted[_relative(common, box)], true[_relative(common, other_box)]
    )
    both = (pairs > 0).all(1)
    shared = np.column_stack([pairs[both] - 1, counts[both]])
    return CaseTable(pieces, other_pieces, shared, voxel_mm3)


def read_table(reference: Path, prediction: Path, labels: Labels) -> CaseTable:
    """Read two label maps and reduce them to their pieces.

    Raises
    ------
    FileNotFoundError
        If the prediction is missing.
    ValueError
        If the grids differ, a file is damaged, or a label is not declared.
    """
    if not prediction.exists():
        raise FileNotFoundError(f"{prediction}: the prediction of this case is missing")
    truth, grid = read_labels(reference)
    guess, other = read_labels(prediction)
    if difference := describe_difference(grid, other)[0]:
        raise ValueError(f"{prediction}: differs from its reference {reference} in {difference}")
    for path, array in ((reference, truth), (prediction, guess)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{path}: holds {array.dtype} values, a label map holds integers")
    blank_ignored(labels, truth, guess)
    table = compare_pieces(guess, truth, voxel_size(grid))
    declared = foreground_values(labels)
    for path, pieces in ((reference, table.reference), (prediction, table.prediction)):
        if strange := sorted({*pieces.values.tolist()} - {*declared}):
            raise ValueError(f"{path}: holds label {strange[0]}, declared are 0 and {declared}")
    return table


def save_table(path: Path, table: CaseTable) -> None:
    """Write the table of a case, atomically."""
    arrays = {"shared": table.shared, "voxel_mm3": np.float64(table.voxel_mm3)}
    for kind in ("prediction", "reference"):
        for field in fields(Pieces):
            arrays[f"{kind}_{field.name}"] = getattr(getattr(table, kind), field.name)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_table(path: Path) -> CaseTable:
    """Read what `save_table` wrote."""
    with np.load(path) as arrays:
        kinds = {
            kind: Pieces(*(arrays[f"{kind}_{field.name}"] for field in fields(Pieces)))
            for kind in ("prediction", "reference")
        }
        return CaseTable(**kinds, shared=arrays["shared"], voxel_mm3=float(arrays["voxel_mm3"]))


def _relative(inner: Box, outer: Box) -> Box:
    """Return a box in the coordinates of a box around it."""
    return tuple(
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True)
    )


def _connect(array: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    """Return the number of the component of equal values, but 0, of each voxel; and how many."""
    return cc3d.connected_components(
        array, connectivity=connectivity, return_N=True, out_dtype=np.uint32
    )


def _number_holes(
    inner: np.ndarray, numbers: np.ndarray, n_components: int, axes: tuple[int, ...]
) -> int:
    """Add the numbers of the holes, after those of the components, and return how many."""
    empty = inner == 0
    for axis in range(3):
        np.moveaxis(empty, axis, 0)[-1] = False
    background, count = _connect(empty, 6)
    # What reaches the faces of the box reaches the border of the image, for outside of the box
    # there is only background, or the border itself.
    is_hole = np.ones(count + 1, bool)
    is_hole[0] = False
    for axis in axes:
        for face in (0, -2):
            is_hole[np.unique(np.moveaxis(background, axis, 0)[face])] = False
    found = np.flatnonzero(is_hole)
    new = np.zeros(count + 1, np.uint32)
    new[found] = n_components + 1 + np.arange(len(found))
    if len(found):
        for plane, ground in zip(numbers, background, strict=True):
            plane += new[ground]
    return len(found)


def _take_labels(numbers: np.ndarray, values: np.ndarray, is_hole: np.ndarray) -> np.ndarray:
    """Give each hole its label, in `values`, and return the rims."""
    faces: dict[tuple[int, int], int] = {}
    for pair, count in cc3d.contacts(numbers, connectivity=6, surface_area=False).items():
        for hole, other in (pair, pair[::-1]):
            if is_hole[hole - 1]:
                key = hole - 1, int(values[other - 1])
                faces[key] = faces.get(key, 0) + int(count)
    for hole, value in sorted(faces, key=lambda key: (key[0], faces[key], -key[1])):
        values[hole] = value  # the last one has most faces
    return np.array(sorted(faces), np.int64).reshape(-1, 2)


def _at_border(numbers: np.ndarray, box: Box, shape: tuple[int, ...], n: int) -> np.ndarray:
    """Return which of n pieces reach the border of the image."""
    found = np.zeros(n + 1, bool)
    for axis in image_axes(shape):
        planes = np.moveaxis(numbers, axis, 0)
        if len(planes) and box[axis].start == 0:
            found[np.unique(planes[0])] = True
        if len(planes) and box[axis].stop == shape[axis]:
            found[np.unique(planes[-1])] = True
    return found[1:]
