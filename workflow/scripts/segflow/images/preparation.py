"""Changes to image and reference that a data set's description asks for at conversion."""

from dataclasses import replace

import numpy as np

from segflow.files.words import counted
from segflow.images.mammography import Chain, prepare
from segflow.images.nifti import Grid
from segflow.images.raw_files import Volume

Prepared = tuple[Volume, np.ndarray | None, list[str]]


def drop_blank_slices(volume: Volume, label_map: np.ndarray | None) -> Prepared:
    """Drop the slices along z that hold one value in each channel.

    Parameters
    ----------
    volume : Volume
        The image.
    label_map : ndarray or None
        The reference, of shape (z, y, x).

    Returns
    -------
    volume, label_map
        Without the blank slices. The grid keeps the spacing, as if the rest were neighbours.
    notes : list of str
        What was dropped.

    Raises
    ------
    ValueError
        If every slice is blank.
    """
    slices = volume.array.reshape(*volume.array.shape[:2], -1)
    kept = (slices.min(axis=2) != slices.max(axis=2)).any(axis=0)
    if kept.all():
        return volume, label_map, []
    if not kept.any():
        raise ValueError("every slice is blank")
    notes = [f"{int((~kept).sum())} of {len(kept)} slices are blank"]
    if label_map is not None:
        if lost := int(np.count_nonzero(label_map[~kept])):
            notes.append(f"{counted(lost, 'voxel')} of the reference on blank slices")
        label_map = label_map[kept]
    grid = replace(volume.grid, shape=(int(kept.sum()), *volume.grid.shape[1:]))
    return replace(volume, array=volume.array[:, kept], grid=grid), label_map, notes


def prepare_mammogram(
    volume: Volume, label_map: np.ndarray | None, options: dict, laterality: str
) -> Prepared:
    """Apply the chain of `segflow.images.mammography` to an image of one slice and channel.

    Parameters
    ----------
    volume : Volume
        The mammogram.
    label_map : ndarray or None
        The reference, of shape (1, y, x).
    options : dict
        The steps and their parameters (``mammography`` in the data set's description).
    laterality : str
        ``L`` or ``R`` as the data set says it; empty to take it from the file or the picture.

    Returns
    -------
    volume, label_map
        The grid follows crop and flip, so that each pixel keeps its place in space.
    notes : list of str
        Where the picture contradicts the given laterality, or the reference leaves the breast.

    Raises
    ------
    ValueError
        If no breast is found, or the crop would cut a lesion.
    """
    if volume.array.shape[:2] != (1, 1):
        raise ValueError(
            f"a mammogram has one slice and one channel, found {volume.array.shape[1]} and "
            f"{volume.array.shape[0]}"
        )
    mask = None if label_map is None else label_map[0]
    side = laterality or volume.laterality
    made = prepare(volume.array[0, 0], mask, Chain(**options), volume.photometric, side)
    notes = []
    if made.seen != made.laterality:
        notes.append(f"laterality {made.laterality}, but the breast lies as in {made.seen}")
    if made.uncovered:
        notes.append(f"{counted(made.uncovered, 'pixel')} of the reference outside the breast mask")
    grid = follow(volume.grid, made.box, made.flipped)
    mask = None if mask is None else made.mask[None]
    return replace(volume, array=made.image[None, None], grid=grid), mask, notes


def follow(grid: Grid, box: tuple[slice, slice], flipped: bool) -> Grid:
    """Return the grid of a 2D image after a crop and a flip of left and right.

    Parameters
    ----------
    grid : Grid
        Grid of the whole image.
    box : tuple of slice
        The rows and columns that were kept.
    flipped : bool
        Whether the columns were reversed after that.
    """
    rows, columns = box
    shape = (1, rows.stop - rows.start, columns.stop - columns.start)
    direction = np.reshape(grid.direction, (2, 2))
    spacing = np.array(grid.spacing_mm[:0:-1])
    first = np.array([columns.stop - 1 if flipped else columns.start, rows.start])
    origin = np.add(grid.origin_mm, direction @ (first * spacing))
    if flipped:
        direction = direction * [-1, 1]
    return Grid(
        shape,
        grid.spacing_mm,
        tuple(float(value) for value in origin),
        tuple(float(value) for value in direction.flat),
    )
