"""DICOM objects that hold segments: segmentations (SEG) and structure sets (RTSTRUCT).

Both are drawn on the grid of an image by their places in space. Messages name segments, and
nothing else that a header says about whom, when or where.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.misc import is_dicom as has_prefix
from skimage.draw import polygon

from segflow.files.folders import visible
from segflow.files.labels import plain_name
from segflow.files.suffixes import may_name_segments
from segflow.files.words import counted
from segflow.images.dicom_headers import (
    SEGMENTS,
    STRUCTURES,
    discreet,
    first_value,
    numbers_of,
    places_of,
    read_file,
    short_hash,
)
from segflow.images.dicom_pixels import decode_frames
from segflow.images.dicom_slices import rotation_of
from segflow.images.nifti import Grid

HALF = 0.5  # from above which a fraction is inside
PLACE_TOLERANCE = 0.1  # of a voxel, by which a frame or contour may miss the image's voxels
DECIMALS = 4  # of a voxel: corners of contours that lie on a voxel's centre do so but for rounding
MIN_POINTS = 3  # of a polygon
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
_TAGS = [
    "SOPClassUID",
    "FrameOfReferenceUID",
    "SegmentationType",
    "MaximumFractionalValue",
    "SegmentSequence",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "StructureSetROISequence",
    "ROIContourSequence",
    "ReferencedFrameOfReferenceSequence",
]
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True)
class SegmentRule:
    """Which label a segment is.

    Parameters
    ----------
    names : mapping of str to int
        Value of each label by its name, as `segflow.files.labels.plain_name` spells it.
    stated : mapping of str to int
        Values of segments by number or name (``reading.label_values``), which come first.
    labels : frozenset of int
        Values that are allowed; 0 leaves a segment out.
    masked : int or None
        The one label that the file is a mask of. A single segment has it, whatever its name.
    threshold : float
        Fraction from 0 to 1 above which a voxel is inside.
    """

    names: Mapping[str, int]
    stated: Mapping[str, int]
    labels: frozenset[int]
    masked: int | None = None
    threshold: float = HALF

    def values(self, path: Path, segments: Mapping[int, str]) -> dict[int, int]:
        """Return the value of each segment of a file from its number and name.

        Raises
        ------
        ValueError
            If one is no label.
        """
        if self.masked is not None and len(segments) == 1:
            return dict.fromkeys(segments, self.masked)
        stated = {plain_name(key): value for key, value in self.stated.items()}
        known = dict(self.names) | stated
        found = {
            number: stated.get(str(number), known.get(plain_name(name)))
            for number, name in segments.items()
        }
        if wrong := [number for number, value in found.items() if value not in self.labels]:
            there = ", ".join(f"{number} {segments[number]!r}" for number in segments)
            allowed = ", ".join(dict.fromkeys([*self.names, *self.stated]))
            raise ValueError(
                f"{path}: no label is declared for segment "
                f"{', '.join(f'{number} {segments[number]!r}' for number in wrong)} (there: "
                f"{there}; allowed: {allowed}; reading.label_values states others by number or "
                "name, 0 leaves them out)"
            )
        if self.masked is not None:
            return {number: value * (value == self.masked) for number, value in found.items()}
        return found


def is_segmentation(path: Path) -> bool:
    """Say whether a file is a DICOM segmentation or structure set."""
    if not (may_name_segments(path) and path.is_file() and has_prefix(path)):
        return False
    with discreet():
        header = read_file(path, specific_tags=["SOPClassUID"])
    return header.get("SOPClassUID") in SEGMENTS


def find_segments(path: Path) -> Path | None:
    """Return the DICOM segmentation or structure set that a label is, or that its folder holds.

    Other files of the folder are passed over, as the slices that it was drawn on.

    Raises
    ------
    ValueError
        If the folder holds several.
    """
    if not path.is_dir():
        return path if is_segmentation(path) else None
    found = [file for file in visible(path) if is_segmentation(file)]
    if len(found) > 1:
        raise ValueError(
            f"{path}: {len(found)} segmentations or structure sets in one folder "
            f"({', '.join(file.name for file in found[:3])}, ...); name the file that is the label"
        )
    return found[0] if found else None


def read_segments(
    path: Path, grid: Grid, frame_of_reference: str, rule: SegmentRule
) -> tuple[np.ndarray, list[str]]:
    """Draw the segments of a DICOM object on the grid of an image.

    Frames of a segmentation are placed by position and orientation, whatever their order. Closed
    contours are drawn on the slice of their plane: a voxel is inside if its centre lies inside or
    on the border of a polygon, and within an odd number of those of one region of interest (ROI),
    so that a contour inside another one is the border of a hole.

    Parameters
    ----------
    path : Path
        The file; see `is_segmentation`.
    grid : Grid
        Of the image, as it is stored; in space, also if it is a single slice.
    frame_of_reference : str
        UID of the image's coordinates; empty if unknown.
    rule : SegmentRule
        Which label a segment is.

    Returns
    -------
    values : ndarray of uint16
        Of shape (z, y, x), the labels.
    notes : list of str
        Contours that cannot be drawn.

    Raises
    ------
    ValueError
        If the file is damaged or of another frame of reference, a segment is no label, lies off
        the grid of the image, or overlaps one of another label.
    """
    if len(grid.origin_mm) != 3:
        raise ValueError(
            f"{path}: its image is 2D and has no place in space, by which segments are drawn; give "
            "a 3D image, or DICOM slices with position and orientation"
        )
    canvas = _Canvas(grid)
    notes = []
    with discreet():
        dataset = read_file(path, specific_tags=_TAGS)
        try:
            if dataset.SOPClassUID == STRUCTURES:
                notes = _draw_structures(path, dataset, frame_of_reference, rule, canvas)
            else:
                _draw_segmentation(path, dataset, frame_of_reference, rule, canvas)
        except (AttributeError, LookupError, TypeError) as error:  # of a tag that is not there
            kind = type(error).__name__
            raise ValueError(f"{path}: a tag is missing or damaged ({kind})") from None
    if canvas.n_clashes:
        n_voxels = counted(canvas.n_clashes, "voxel")
        raise ValueError(f"{path}: another segment has another label in {n_voxels}")
    return canvas.values, notes


class _Canvas:
    """The grid of an image, on which labels are drawn."""

    def __init__(self, grid: Grid):
        self.grid = grid
        self.values = np.zeros(grid.shape, np.uint16)
        self.n_clashes = 0
        axes = np.reshape(grid.direction, (3, 3))
        self._to_voxels = np.linalg.inv(axes * np.array(grid.spacing_mm[::-1]))

    def steps(self, vectors_mm: np.ndarray) -> np.ndarray:
        """Return vectors of shape (n, 3) in voxels along x, y, z."""
        return vectors_mm @ self._to_voxels.T

    def places(self, points_mm: np.ndarray) -> np.ndarray:
        """Return points of shape (n, 3) in voxels along x, y, z from the first one."""
        return self.steps(points_mm - np.array(self.grid.origin_mm))

    def draw(self, indices: tuple[np.ndarray, ...], value: int) -> None:
        """Give voxels, by index along z, y and x, a label; count those that have another."""
        found = self.values[indices]
        self.n_clashes += int(((found != 0) & (found != value)).sum())
        self.values[indices] = value


def _check_frame(path: Path, found: str, wanted: str) -> None:
    if found and wanted and found != wanted:
        raise ValueError(
            f"{path}: it has another frame of reference ({short_hash(found)}) than its image "
            f"({short_hash(wanted)}); both must have one"
        )


def _draw_segmentation(
    path: Path,
    dataset: pydicom.Dataset,
    frame_of_reference: str,
    rule: SegmentRule,
    canvas: _Canvas,
) -> None:
    """Draw the frames of a segmentation."""
    _check_frame(path, str(dataset.get("FrameOfReferenceUID") or ""), frame_of_reference)
    kind = str(dataset.get("SegmentationType") or "")
    if kind not in _KINDS:
        raise ValueError(f"{path}: SegmentationType is {kind!r} (allowed: {', '.join(_KINDS)})")
    values = rule.values(path, _named(dataset.SegmentSequence, "SegmentNumber", "SegmentLabel"))
    limit = 0.0
    if kind == "FRACTIONAL":
        if not 0 <= rule.threshold < 1:
            raise ValueError(
                f"{path}: reading.label_threshold is {rule.threshold:g}, but this file holds "
                "fractions; from 0 to below 1 is allowed"
            )
        limit = rule.threshold * float(dataset.MaximumFractionalValue)
    for number, frame in enumerate(_frames_of(path, dataset)):
        places = places_of(dataset, number)
        if kind == "LABELMAP":
            segments = {int(one): frame == one for one in np.unique(frame) if one}
        else:
            segments = {int(first_value(places, "ReferencedSegmentNumber")): frame > limit}
        if unknown := segments.keys() - values.keys():
            raise ValueError(
                f"{path}: frame {number} is of segment {min(unknown)}, which is not listed"
            )
        start, along_y, along_x = _place_frame(path, places, number, frame.shape, canvas)
        for segment, inside in segments.items():
            if values[segment]:
                rows, columns = np.nonzero(inside)
                voxels = start + rows[:, None] * along_y + columns[:, None] * along_x
                canvas.draw(tuple(voxels.T[::-1]), values[segment])


def _place_frame(
    path: Path,
    places: list[pydicom.Dataset],
    number: int,
    shape: tuple[int, ...],
    canvas: _Canvas,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first pixel, step to the next row and step to the next column of a frame in voxels."""
    position = numbers_of(path, places, "ImagePositionPatient", 3, ())
    cosines = numbers_of(path, places, "ImageOrientationPatient", 6, ())
    spacing = numbers_of(path, places, "PixelSpacing", 2, ())
    if not (position and cosines and spacing):
        raise ValueError(f"{path}: frame {number} has no position, no orientation or no spacing")
    axes = rotation_of(path, cosines)
    start = canvas.places(np.array([position]))[0]
    along_x, along_y = canvas.steps(axes.T[:2] * np.array([[spacing[1]], [spacing[0]]]))
    # Each step leads to the next voxel along one axis, so that whole voxels are met everywhere.
    first, step_y, step_x = np.rint(start), np.rint(along_y), np.rint(along_x)
    ends = np.array([(y, x) for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)])
    corners = start + ends @ [along_y, along_x]
    voxels = first + ends @ [step_y, step_x]
    single = np.abs(step_y).sum() == np.abs(step_x).sum() == 1 and step_y @ step_x == 0
    if not single or np.abs(corners - voxels).max() > PLACE_TOLERANCE:
        raise ValueError(
            f"{path}: frame {number} lies off the grid of its image: the centres of its pixels are "
            "not those of voxels (a tenth of a voxel is allowed)"
        )
    size = np.array(canvas.grid.shape[::-1])
    if (voxels < 0).any() or (voxels >= size).any():
        raise ValueError(
            f"{path}: frame {number} lies off the grid of its image, from voxel "
            f"{_words(voxels.min(axis=0))} to {_words(voxels.max(axis=0))} along x, y, z "
            f"(allowed: 0 0 0 to {_words(size - 1)})"
        )
    return first.astype(int), step_y.astype(int), step_x.astype(int)


def _frames_of(path: Path, dataset: pydicom.Dataset) -> Iterator[np.ndarray]:
    """Yield the frames of a segmentation.

    Single bits, which follow each other without a gap from frame to frame, are unpacked frame by
    frame, for there may be a hundred frames for each slice.
    """
    count = int(dataset.get("NumberOfFrames") or 1)
    if dataset.BitsAllocated != 1 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        yield from decode_frames(path, count)
        return
    shape = (dataset.Rows, dataset.Columns)
    size = shape[0] * shape[1]
    data = np.frombuffer(read_file(path).get("PixelData") or b"", np.uint8)
    if 8 * data.size < count * size:
        raise ValueError(f"{path}: the pixel data are missing or cut short")
    for number in range(count):
        first, shift = divmod(number * size, 8)
        packed = data[first : first + (shift + size + 7) // 8]
        yield np.unpackbits(packed, bitorder="little")[shift : shift + size].reshape(shape)


def _named(items: pydicom.Sequence, number: str, name: str) -> dict[int, str]:
    """Return the names of segments by their numbers."""
    return {int(item[number].value): str(item.get(name) or "").strip() for item in items}


def _draw_structures(
    path: Path,
    dataset: pydicom.Dataset,
    frame_of_reference: str,
    rule: SegmentRule,
    canvas: _Canvas,
) -> list[str]:
    """Draw the closed contours of a structure set; return what is left out."""
    listed = dataset.StructureSetROISequence
    names = _named(listed, "ROINumber", "ROIName")
    values = rule.values(path, names)
    frames = {
        int(item.ROINumber): str(item.get("ReferencedFrameOfReferenceUID") or "") for item in listed
    }
    own = {
        str(item.get("FrameOfReferenceUID") or "")
        for item in dataset.get("ReferencedFrameOfReferenceSequence") or ()
    }
    notes = []
    for item in dataset.get("ROIContourSequence") or ():
        number = int(item.ReferencedROINumber)
        if number not in values:
            raise ValueError(f"{path}: contours are of ROI {number}, which is not listed")
        if not values[number]:
            continue
        alone = next(iter(own)) if len(own) == 1 else ""
        _check_frame(path, frames[number] or alone, frame_of_reference)
        where = f"ROI {number} ({names[number]})"
        slices: dict[int, np.ndarray] = {}
        skipped: Counter[str] = Counter()
        for contour in item.get("ContourSequence") or ():
            kind = str(contour.get("ContourGeometricType") or "")
            points = _points_of(path, where, contour)
            if kind not in _CLOSED or len(points) < MIN_POINTS:
                skipped[kind if kind not in _CLOSED else "fewer than three points"] += 1
                continue
            index, mask = _fill(path, where, canvas.places(points), canvas.grid)
            slices[index] = slices.get(index, False) ^ mask
        for index, mask in slices.items():
            rows, columns = np.nonzero(mask)
            canvas.draw((np.full(rows.shape, index), rows, columns), values[number])
        notes += [
            f"{where} has {counted(count, 'contour')} without an inside ({kind})"
            for kind, count in sorted(skipped.items())
        ]
    return notes


def _points_of(path: Path, where: str, contour: pydicom.Dataset) -> np.ndarray:
    """Return the points of a contour, of shape (n, 3), as (x, y, z) in mm."""
    try:
        points = np.array(contour.get("ContourData") or [], float)
    except (ValueError, TypeError):
        points = np.array([np.nan])
    count = contour.get("NumberOfContourPoints")
    whole = points.ndim == 1 and points.size % 3 == 0 and np.isfinite(points).all()
    if not whole or (count is not None and points.size != 3 * int(count)):
        raise ValueError(f"{path}: the points of a contour of {where} are damaged or cut short")
    return points.reshape(-1, 3)


def _fill(path: Path, where: str, points: np.ndarray, grid: Grid) -> tuple[int, np.ndarray]:
    """Return slice and mask, of shape (y, x), of a closed contour in voxels along x, y, z."""
    n_slices, *shape = grid.shape
    heights = points[:, 2]
    index = round(float(np.median(heights)))
    if np.abs(heights - index).max() > PLACE_TOLERANCE or not 0 <= index < n_slices:
        raise ValueError(
            f"{path}: a contour of {where} lies off all slices of its image, at "
            f"{heights.min():.4g} to {heights.max():.4g} (allowed: whole numbers from 0 to "
            f"{n_slices - 1}, but for a tenth)"
        )
    plane = np.round(points[:, :2], DECIMALS)
    last = np.array(shape[::-1]) - 0.5
    if (plane.max(axis=0) < -0.5).any() or (plane.min(axis=0) > last).any():
        raise ValueError(
            f"{path}: a contour of {where} lies beside its image, from {_words(plane.min(axis=0))} "
            f"to {_words(plane.max(axis=0))} along x, y (allowed: 0 0 to {_words(last - 0.5)})"
        )
    mask = np.zeros(shape, bool)
    mask[polygon(plane[:, 1], plane[:, 0], shape)] = True
    return index, mask


def _words(values: np.ndarray) -> str:
    return " ".join(f"{value:.4g}" for value in values)
