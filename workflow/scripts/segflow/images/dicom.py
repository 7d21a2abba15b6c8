"""DICOM images: one file, or the slices of one series.

Errors name files, but nothing that a header says about whom, when or where.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segflow.images.dicom_headers import discreet, for_each
from segflow.images.dicom_pixels import decode_frames, rescale
from segflow.images.dicom_slices import Slice, arrange, flat_grid, place_of, read_slices
from segflow.images.nifti import Grid


@dataclass(frozen=True)
class DicomImage:
    """An image as its DICOM files describe it.

    Parameters
    ----------
    array : ndarray
        Of shape (channel, z, y, x), with one channel or three (red, green, blue).
    grid : Grid
        Where the voxels lie, in ITK's convention (mm towards left, posterior, superior). A
        single image is flat: it lies at the origin, with the spacing of its pixels.
    photometric : str
        ``MONOCHROME1`` (the lowest value is white), ``MONOCHROME2`` (it is black) or ``RGB``.
    laterality : str
        ``L`` or ``R``, the side of a paired organ; empty if unknown, both or none.
    stated : list of str
        What the header left open, so that the stated spacing was taken.
    frame_of_reference : str
        UID of the coordinates in which the slices lie; empty if unknown.
    place : Grid or None
        Of a single image, which its grid says nothing of: where it lies in space, as a slice of
        1 mm, if the header tells.
    """

    array: np.ndarray
    grid: Grid
    photometric: str
    laterality: str
    stated: list[str] = field(default_factory=list)
    frame_of_reference: str = ""
    place: Grid | None = None


def read_dicom(path: Path, stated_mm: Sequence[float] | None = None) -> DicomImage:
    """Read a DICOM image or series.

    Slices are sorted by their position along the normal of the slices, never by name or number,
    and their distance is that of the positions, not the thickness. Values are stored values times
    slope plus intercept, slice by slice; overlays and lookup tables are ignored, and padding
    keeps its value. The spacing of a single image is ``PixelSpacing``; else, as in mammograms,
    ``ImagerPixelSpacing``, which is measured at the detector and so overstates sizes in the body
    by the magnification; else that of a scanned film.

    Parameters
    ----------
    path : Path
        One file, or a folder that holds one series and no other images. A file may hold several
        frames if each has its position. A folder's ``DICOMDIR``, segmentations, structure sets,
        hidden files and files with suffixes of other formats are passed over.
    stated_mm : sequence of float or None
        Spacing along z, y, x for what the header leaves open: the spacing of pixels, and the place
        of the frames of one file, which then lie behind each other in their order.

    Returns
    -------
    DicomImage
        The data type is the first of int16, uint16 and int32 that holds all values, if they are
        whole numbers; else float32.

    Raises
    ------
    ValueError
        If there are no DICOM files or several series, a slice is missing, doubled, shifted or
        unlike the others, tags are missing, or pixel data are missing, cut short or of a
        transfer syntax that cannot be decoded.
    """
    with discreet():
        slices = read_slices(path, stated_mm)
        place = None
        if len(slices) == 1:
            grid = flat_grid(slices[0])
            place = place_of(path, slices[0], grid)
        else:
            slices, grid = arrange(path, slices)
        frames = _read_frames(slices)
        sides = {one.laterality for one in slices}
        frames_of_reference = {one.frame_of_reference for one in slices}
        photometric = slices[0].photometric
        return DicomImage(
            array=rescale(frames, [(one.slope, one.intercept) for one in slices]),
            grid=grid,
            photometric="RGB" if photometric.startswith("YBR") else photometric,
            laterality=sides.pop() if len(sides) == 1 else "",
            stated=sorted({what for one in slices for what in one.stated}),
            frame_of_reference=frames_of_reference.pop() if len(frames_of_reference) == 1 else "",
            place=place,
        )


def arranged_slices(path: Path) -> tuple[list[tuple[Path, int]], Grid | None]:
    """Return file and frame of each slice, in the order in which they are read, and their grid.

    Pixel data are not looked at.

    Parameters
    ----------
    path : Path
        See `read_dicom`.

    Returns
    -------
    slices : list of (Path, int)
        Along z.
    grid : Grid or None
        Where they lie in space; of a single slice None if its header does not tell.

    Raises
    ------
    ValueError
        See `read_dicom`.
    """
    with discreet():
        slices = read_slices(path, None)
        if len(slices) == 1:
            grid = place_of(path, slices[0], flat_grid(slices[0]))
        else:
            slices, grid = arrange(path, slices)
    return [(one.file, one.frame) for one in slices], grid


def _read_frames(slices: list[Slice]) -> list[np.ndarray]:
    """Return the stored values of each slice as (y, x) or (y, x, colour)."""
    counts = Counter(one.file for one in slices)
    path = slices[0].file.parent
    frames = for_each(path, list(counts), lambda file: decode_frames(file, counts[file]))
    return [frames[one.file][one.frame] for one in slices]
