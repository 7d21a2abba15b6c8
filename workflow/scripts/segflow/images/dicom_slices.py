"""The slices of a DICOM image, as headers describe them, and the grid on which they lie."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom

from segflow.images.dicom_headers import (
    FRAME_GROUPS,
    SEGMENTS,
    SHARED_GROUPS,
    find_files,
    first_value,
    for_each,
    numbers_of,
    places_of,
    read_file,
    short_hash,
)
from segflow.images.nifti import DIRECTION_TOLERANCE, SPACING_TOLERANCE, Grid

# Positions are often rounded to 0.1 mm; a missing slice doubles a gap.
GAP_TOLERANCE = 0.1  # of the usual gap
SAME_POSITION_MM = 0.01
# What the slices may be shifted in plane, over the whole series, before voxels change places.
SHIFT_TOLERANCE = 0.5  # of a pixel
ROTATION_TOLERANCE = 1e-2  # by which direction cosines may miss a right angle or length 1
_STATE_IT = "reading.spacing_mm may state one"
_FLAT_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "RGB")
_TAGS = [
    "SOPClassUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    *_FLAT_SPACINGS,
    "RescaleSlope",
    "RescaleIntercept",
    "ImageLaterality",
    "Laterality",
    FRAME_GROUPS,
    SHARED_GROUPS,
]


@dataclass(frozen=True)
class Slice:
    """What the header says about one frame of a file."""

    file: Path
    frame: int
    rows: int
    columns: int
    photometric: str
    laterality: str
    slope: float
    intercept: float
    spacing_mm: tuple[float, ...]  # between rows, between columns; empty if there is none
    position_mm: tuple[float, ...]  # of the first pixel as (x, y, z); empty if there is none
    cosines: tuple[float, ...]  # of a row, then of a column; empty if there are none
    stated: tuple[str, ...] = ()  # what was taken from the description
    frame_of_reference: str = ""


def read_slices(path: Path, stated_mm: Sequence[float] | None) -> list[Slice]:
    """Return all frames of one file or series, in no order.

    Parameters
    ----------
    path : Path
        A file, or the folder of a series.
    stated_mm : sequence of float or None
        Spacing along z, y, x for what headers leave open.

    Raises
    ------
    ValueError
        See `segflow.images.dicom.read_dicom`.
    """
    files = find_files(path)
    headers = for_each(path, files, lambda file: read_file(file, specific_tags=_TAGS))
    if path.is_dir():  # segments often lie beside the slices that they were drawn on
        headers = {
            file: header
            for file, header in headers.items()
            if header.get("SOPClassUID") not in SEGMENTS
        }
        if not headers:
            raise ValueError(f"{path}: no image in this folder, segments only")
    series = Counter(str(header.get("SeriesInstanceUID", "")) for header in headers.values())
    if len(series) > 1:
        counts = ", ".join(f"{short_hash(uid)}: {count}" for uid, count in series.most_common())
        raise ValueError(
            f"{path}: {len(series)} series in one folder (files of each: {counts}); give each a "
            "folder of its own"
        )
    slices = [
        one for file, header in headers.items() for one in _slices_of(file, header, stated_mm)
    ]
    kinds = sorted({one.photometric for one in slices})
    if len(kinds) > 1:
        raise ValueError(f"{path}: slices of {' and '.join(kinds)}; a series has one kind")
    _check_alike(path, "rows and columns", [(one.rows, one.columns) for one in slices])
    return slices


def _slices_of(
    file: Path, header: pydicom.Dataset, stated_mm: Sequence[float] | None
) -> list[Slice]:
    """Return the frames of a file."""
    sizes = [numbers_of(file, [header], tag, 1, (0.0,)) for tag in ("Rows", "Columns")]
    photometric = str(header.get("PhotometricInterpretation") or "")
    if not (all(size > 0 for (size,) in sizes) and photometric):
        raise ValueError(
            f"{file}: no image, or cut short (the header gives no Rows, no Columns or no "
            "PhotometricInterpretation)"
        )
    if photometric not in _PHOTOMETRIC and not photometric.startswith("YBR"):
        raise ValueError(
            f"{file}: photometric interpretation {photometric!r} is not read (allowed: "
            f"{', '.join(_PHOTOMETRIC)} and YBR)"
        )
    frames = int(numbers_of(file, [header], "NumberOfFrames", 1, (1.0,))[0]) or 1
    groups = header.get(FRAME_GROUPS) or ()
    placed = frames == 1 or len(groups) == frames
    if not placed and stated_mm is None:
        raise ValueError(
            f"{file}: {frames} frames, of which {len(groups)} have a position of their own; one "
            "image or a stack of slices is allowed; reading.spacing_mm may state their distance"
        )
    slices = [_slice_of(file, frame, header, photometric, stated_mm) for frame in range(frames)]
    if placed:
        return slices
    return [
        replace(
            one,
            position_mm=(0.0, 0.0, one.frame * stated_mm[0]),
            cosines=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            stated=(*one.stated, "places of the frames"),
        )
        for one in slices
    ]


def _slice_of(
    file: Path,
    frame: int,
    header: pydicom.Dataset,
    photometric: str,
    stated_mm: Sequence[float] | None,
) -> Slice:
    """Return a frame, as its own groups of tags, the shared ones and the header describe it."""
    places = places_of(header, frame)
    laterality = ""
    for tag in ("FrameLaterality", "ImageLaterality", "Laterality"):
        laterality = laterality or str(first_value(places, tag) or "")
    spacings = (numbers_of(file, places, tag, 2, ()) for tag in _FLAT_SPACINGS)
    spacing = next((spacing for spacing in spacings if spacing), ())
    stated = stated_mm is not None and not (spacing and min(spacing) > 0)
    if stated:
        spacing = tuple(float(value) for value in stated_mm[1:])
    if any(value <= 0 for value in spacing):
        raise ValueError(
            f"{file}: a spacing of {_words(spacing)} mm; it must be above 0 ({_STATE_IT})"
        )
    slope = numbers_of(file, places, "RescaleSlope", 1, (1.0,))[0]
    if slope == 0:
        raise ValueError(f"{file}: RescaleSlope is 0, which leaves nothing of the image")
    return Slice(
        file=file,
        frame=frame,
        rows=int(header.Rows),
        columns=int(header.Columns),
        photometric=photometric,
        laterality=laterality if laterality in ("L", "R") else "",
        slope=slope,
        intercept=numbers_of(file, places, "RescaleIntercept", 1, (0.0,))[0],
        spacing_mm=spacing,
        position_mm=numbers_of(file, places, "ImagePositionPatient", 3, ()),
        cosines=numbers_of(file, places, "ImageOrientationPatient", 6, ()),
        stated=("spacing of pixels",) if stated else (),
        frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
    )


def flat_grid(one: Slice) -> Grid:
    """Return the grid of a single slice: at the origin, with the spacing of its pixels.

    Raises
    ------
    ValueError
        If the header gives no spacing.
    """
    if not one.spacing_mm:
        names = " nor ".join(_FLAT_SPACINGS)
        raise ValueError(
            f"{one.file}: no spacing of pixels (neither {names} is there; {_STATE_IT})"
        )
    shape, spacing = (1, one.rows, one.columns), (1.0, *one.spacing_mm)
    return Grid(shape, spacing, (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


def place_of(path: Path, one: Slice, grid: Grid) -> Grid | None:
    """Return where a single slice lies in space, if its header tells."""
    if not (one.position_mm and one.cosines):
        return None
    direction = tuple(float(value) for value in rotation_of(path, one.cosines).flat)
    return replace(grid, origin_mm=one.position_mm, direction=direction)


def arrange(path: Path, slices: list[Slice]) -> tuple[list[Slice], Grid]:
    """Sort slices along their normal and return the grid on which they lie.

    Raises
    ------
    ValueError
        If one is missing, doubled, shifted or unlike the others, or does not say where it lies.
    """
    for one in slices:
        tags = {
            "ImagePositionPatient": one.position_mm,
            "ImageOrientationPatient": one.cosines,
            "PixelSpacing": one.spacing_mm,
        }
        missing = [tag for tag, value in tags.items() if not value]
        if missing:
            raise ValueError(f"{one.file}: no {' and no '.join(missing)}, which a series needs")
    _check_alike(path, "orientation", [one.cosines for one in slices], DIRECTION_TOLERANCE)
    tolerance_mm = SPACING_TOLERANCE * min(slices[0].spacing_mm)
    _check_alike(path, "spacing", [one.spacing_mm for one in slices], tolerance_mm)
    axes = rotation_of(path, slices[0].cosines)
    positions = np.array([one.position_mm for one in slices]) @ axes
    order = np.argsort(positions[:, 2], kind="stable")
    slices, positions = [slices[index] for index in order], positions[order]
    spacing = (_slice_spacing(path, positions[:, 2]), *slices[0].spacing_mm)
    shifts = np.abs(positions[:, :2] - positions[0, :2]).max(axis=0)
    if (shifts > np.multiply(SHIFT_TOLERANCE, spacing[:0:-1])).any():
        raise ValueError(
            f"{path}: the slices are shifted in plane by up to {shifts.max():.3g} mm, as with a "
            "tilted gantry; resample them to a regular grid first"
        )
    first = slices[0]
    return slices, Grid(
        shape=(len(slices), first.rows, first.columns),
        spacing_mm=spacing,
        origin_mm=first.position_mm,
        direction=tuple(float(value) for value in axes.flat),
    )


def rotation_of(path: Path, cosines: tuple[float, ...]) -> np.ndarray:
    """Return the directions of x, y and z as the columns of a rotation.

    Rounded cosines are turned into the closest rotation.
    """
    row, column = np.reshape(cosines, (2, 3))
    matrix = np.stack([row, column, np.cross(row, column)], axis=1)
    left, _, right = np.linalg.svd(matrix)
    axes = left @ right
    if not np.allclose(axes, matrix, rtol=0, atol=ROTATION_TOLERANCE):
        raise ValueError(
            f"{path}: ImageOrientationPatient is {_words(cosines)}; two directions of length 1 at "
            "right angles are allowed"
        )
    return matrix if np.allclose(axes, matrix, rtol=0, atol=1e-9) else axes


def _slice_spacing(path: Path, heights_mm: np.ndarray) -> float:
    """Return the distance of slices from their sorted positions along the normal."""
    gaps = np.diff(heights_mm)
    doubled = int((gaps < SAME_POSITION_MM).sum())
    if doubled:
        raise ValueError(
            f"{path}: {doubled} of {len(heights_mm)} slices lie where another one lies (copies, "
            "time points or echoes); one slice for each position is allowed"
        )
    usual = float(np.median(gaps))
    worst = int(np.argmax(np.abs(gaps - usual)))
    if abs(gaps[worst] - usual) > GAP_TOLERANCE * usual:
        raise ValueError(
            f"{path}: slices {worst + 1} and {worst + 2} of {len(heights_mm)} are "
            f"{gaps[worst]:.4g} mm apart, the usual gap is {usual:.4g} mm; is one missing?"
        )
    return float(gaps.mean())


def _check_alike(
    path: Path, what: str, values: list[tuple[float, ...]], tolerance: float = 0.0
) -> None:
    """Raise an error unless all slices agree in some numbers."""
    alike = (np.abs(np.subtract(values, values[0])) <= tolerance).all(axis=1)
    if not alike.all():
        other = values[int(np.argmin(alike))]
        raise ValueError(
            f"{path}: slices differ in {what}: {alike.sum()} of {len(values)} have "
            f"{_words(values[0])}, others {_words(other)}; a series has one of each"
        )


def _words(values: Iterable[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
