"""DICOM files: one image, or the slices of one series.

Errors name files, but nothing that a header says about whom, when or where; instances and series
have no name but a short hash.
"""

import hashlib
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.misc import is_dicom as has_prefix
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.uid import RLELossless

from segflow.files.folders import visible
from segflow.files.suffixes import DICOM, suffix
from segflow.images.nifti import DIRECTION_TOLERANCE, SPACING_TOLERANCE, Grid

STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
# Classes of files that hold segments of an image: segmentations, and structure sets.
SEGMENTS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", STRUCTURES)
# Positions are often rounded to 0.1 mm; a missing slice doubles a gap.
GAP_TOLERANCE = 0.1  # of the usual gap
SAME_POSITION_MM = 0.01
# What the slices may be shifted in plane, over the whole series, before voxels change places.
SHIFT_TOLERANCE = 0.5  # of a pixel
ROTATION_TOLERANCE = 1e-2  # by which direction cosines may miss a right angle or length 1
_STATE_IT = "reading.spacing_mm may state one"
_PIXEL_DATA = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_FLAT_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
# Where multi-frame files keep what other files have in the header itself.
_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "FrameAnatomySequence",
    "SegmentIdentificationSequence",
)
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "RGB")
_FRAME_GROUPS = "PerFrameFunctionalGroupsSequence"
_SHARED_GROUPS = "SharedFunctionalGroupsSequence"
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
    _FRAME_GROUPS,
    _SHARED_GROUPS,
]
# By which headers tell how many images there are: of a series or volume, and of an acquisition,
# which may be part of a series, or several.
_SERIES_COUNTS = ("NumberOfSeriesRelatedInstances", "NumberOfSlices")
_ACQUISITION_COUNT = "ImagesInAcquisition"
_COUNTING = (
    *_SERIES_COUNTS,
    _ACQUISITION_COUNT,
    "SOPClassUID",
    "AcquisitionNumber",
    "InstanceNumber",
    "NumberOfFrames",
)
_PLACING = ("SeriesInstanceUID", "ImagePositionPatient")
_NAMED = 3  # files that one message names


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


@dataclass(frozen=True)
class _Slice:
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


def is_dicom(path: Path) -> bool:
    """Say whether a file looks like DICOM by its first bytes or suffix, or a folder holds one."""
    if path.is_dir():
        return any(file.is_file() and is_dicom(file) for file in visible(path))
    return suffix(path) in DICOM or has_prefix(path)


def patient_of(path: Path) -> str:
    """Return the patient's identifier as the header has it; empty if it has none.

    Parameters
    ----------
    path : Path
        A DICOM file, or the folder of a series, of which one file is read.

    Raises
    ------
    ValueError
        If it is no DICOM file, or the folder holds none.
    """
    with discreet():
        header = read_file(_find_files(path)[0], specific_tags=["PatientID"])
        return str(header.get("PatientID") or "").strip()


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
        slices = _read_slices(path, stated_mm)
        place = None
        if len(slices) == 1:
            grid = _flat_grid(slices[0])
            place = _place_of(path, slices[0], grid)
        else:
            slices, grid = _arrange(path, slices)
        frames = _read_frames(slices)
        sides = {one.laterality for one in slices}
        frames_of_reference = {one.frame_of_reference for one in slices}
        photometric = slices[0].photometric
        return DicomImage(
            array=_rescale(frames, slices),
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
        slices = _read_slices(path, None)
        if len(slices) == 1:
            grid = _place_of(path, slices[0], _flat_grid(slices[0]))
        else:
            slices, grid = _arrange(path, slices)
    return [(one.file, one.frame) for one in slices], grid


def loose_slices(files: Iterable[Path]) -> list[list[Path]]:
    """Return the files that are slices of one volume with others, in groups of one series each.

    Files that cannot be read are left out.
    """
    series: dict[str, list[Path]] = {}
    with discreet():
        for file in files:
            try:
                header = read_file(
                    file, specific_tags=["SeriesInstanceUID", "ImagePositionPatient"]
                )
            except ValueError:
                continue
            if header.get("ImagePositionPatient"):
                series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(file)
    return [group for group in series.values() if len(group) > 1]


def missing_images(path: Path) -> tuple[list[str], list[str]]:
    """Say what the headers in a series' folder tell of images that are not there.

    What lies between other slices leaves a gap, which `read_dicom` sees; what is missing at the
    end of a stack, nothing but the headers tells.

    Returns
    -------
    errors, notes : list of str
        What is certain, and what may have another reason. Files that cannot be read are left out.
    """
    headers = []
    with discreet():
        for file in _find_files(path):
            try:
                header = read_file(file, specific_tags=list(_COUNTING))
            except ValueError:
                continue
            if header.get("SOPClassUID") not in SEGMENTS:
                headers.append(header)
        there = sum(_count(header, "NumberOfFrames") or 1 for header in headers)
        stated = {
            tag: max((_count(header, tag) for header in headers), default=0)
            for tag in (*_SERIES_COUNTS, _ACQUISITION_COUNT)
        }
        acquisitions = {str(header.get("AcquisitionNumber")) for header in headers}
        first = min((_count(header, "InstanceNumber") for header in headers), default=0)
    text = "{} is {}, but there are {} images; the series is cut short"
    errors = [text.format(tag, stated[tag], there) for tag in _SERIES_COUNTS if stated[tag] > there]
    notes = []
    if not errors and len(acquisitions) == 1 and stated[_ACQUISITION_COUNT] > there:
        count = stated[_ACQUISITION_COUNT]
        notes.append(f"{_ACQUISITION_COUNT} is {count}, but there are {there} images")
    if first > 1:
        notes.append(f"the first InstanceNumber is {first}; are images missing before it?")
    return errors, notes


def _count(header: pydicom.Dataset, tag: str) -> int:
    """Return a number that a header states; 0 if it is missing or no number."""
    try:
        return int(header.get(tag) or 0)
    except (TypeError, ValueError):
        return 0


@contextmanager
def discreet() -> Iterator[None]:
    """Silence pydicom, whose warnings and log quote values of the header.

    What makes a result wrong is checked here, and is an error.
    """
    logger = logging.getLogger("pydicom")
    disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


def _find_files(path: Path) -> list[Path]:
    """Return the files that must be DICOM.

    In a folder these are all but files of other formats by suffix. Many programs write DICOM
    files without one, or their name is a UID, which ends in a number.
    """
    if not path.is_dir():
        return [path]
    files = [
        file
        for file in visible(path)
        if file.is_file()
        and file.name != "DICOMDIR"
        and (not file.suffix or file.suffix[1:].isdigit() or is_dicom(file))
    ]
    if not any(is_dicom(file) for file in files):
        raise ValueError(f"{path}: no DICOM files in this folder")
    return files


def read_file(file: Path, **options) -> pydicom.FileDataset:
    """Read a file; without `options` with pixel data."""
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=bool(options), **options)
        if options:
            for _ in dataset.iterall():  # pydicom parses values when they are first looked at
                pass
        return dataset
    except (FileNotFoundError, PermissionError):
        raise
    except InvalidDicomError:
        raise ValueError(f"{file}: not a DICOM file (it has no prefix DICM)") from None
    except Exception as error:  # damage makes the parser fail in any way, quoting the header
        kind = type(error).__name__
        raise ValueError(f"{file}: cannot be read as DICOM, it is damaged ({kind})") from None


def _read_slices(path: Path, stated_mm: Sequence[float] | None) -> list[_Slice]:
    """Return all frames of one file or series, in no order."""
    files = _find_files(path)
    headers = _for_each(path, files, lambda file: read_file(file, specific_tags=_TAGS))
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


def short_hash(uid: str) -> str:
    """Return what a message may say of a UID."""
    return hashlib.sha256(uid.encode()).hexdigest()[:8]


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


def _slices_of(
    file: Path, header: pydicom.Dataset, stated_mm: Sequence[float] | None
) -> list[_Slice]:
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
    groups = header.get(_FRAME_GROUPS) or ()
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
) -> _Slice:
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
    return _Slice(
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


def places_of(header: pydicom.Dataset, frame: int) -> list[pydicom.Dataset]:
    """Return where tags of a frame may stand: its own groups, the shared ones, the header."""
    groups = [*(header.get(_FRAME_GROUPS) or ())[frame : frame + 1]]
    groups += header.get(_SHARED_GROUPS) or ()
    places = [item for group in groups for macro in _MACROS for item in group.get(macro) or ()]
    return [*places, header]


def first_value(places: Iterable[pydicom.Dataset], tag: str) -> object:
    """Return the value of a tag in the first place that has one; None if none has."""
    values = (place.get(tag) for place in places)
    return next((value for value in values if value is not None and value != ""), None)


def numbers_of(
    file: Path,
    places: Iterable[pydicom.Dataset],
    tag: str,
    count: int,
    default: tuple[float, ...],
) -> tuple[float, ...]:
    """Return the numbers of a tag, or `default` if it is missing or empty."""
    try:
        value = first_value(places, tag)
        if value is None:
            return default
        numbers = tuple(float(number) for number in np.atleast_1d(np.asarray(value, float)))
    except (ValueError, TypeError):
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{file}: {tag} is not {count} number{'s' * (count > 1)}")
    return numbers


def _flat_grid(one: _Slice) -> Grid:
    if not one.spacing_mm:
        names = " nor ".join(_FLAT_SPACINGS)
        raise ValueError(
            f"{one.file}: no spacing of pixels (neither {names} is there; {_STATE_IT})"
        )
    shape, spacing = (1, one.rows, one.columns), (1.0, *one.spacing_mm)
    return Grid(shape, spacing, (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


def _place_of(path: Path, one: _Slice, grid: Grid) -> Grid | None:
    """Return where a single slice lies in space, if its header tells."""
    if not (one.position_mm and one.cosines):
        return None
    direction = tuple(float(value) for value in rotation_of(path, one.cosines).flat)
    return replace(grid, origin_mm=one.position_mm, direction=direction)


def _arrange(path: Path, slices: list[_Slice]) -> tuple[list[_Slice], Grid]:
    """Sort slices along their normal and return the grid on which they lie."""
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


def _read_frames(slices: list[_Slice]) -> list[np.ndarray]:
    """Return the stored values of each slice as (y, x) or (y, x, colour)."""
    counts = Counter(one.file for one in slices)
    path = slices[0].file.parent
    frames = _for_each(path, list(counts), lambda file: decode_frames(file, counts[file]))
    return [frames[one.file][one.frame] for one in slices]


def _for_each(path: Path, files: list[Path], read: Callable[[Path], Any]) -> dict[Path, Any]:
    """Return what `read` returns for each file of a folder.

    Raises
    ------
    ValueError
        That of the only file that cannot be read, or one that counts them and names the first.
    """
    found, errors = {}, []
    for file in files:
        try:
            found[file] = read(file)
        except ValueError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        shown = "; ".join(str(error).removeprefix(f"{path}/") for error in errors[:_NAMED])
        more = "; ..." if len(errors) > _NAMED else ""
        raise ValueError(f"{path}: {len(errors)} of {len(files)} files are no use: {shown}{more}")
    return found


def decode_frames(file: Path, count: int) -> list[np.ndarray]:
    """Return the frames of a file."""
    dataset = read_file(file)
    if not any(tag in dataset for tag in _PIXEL_DATA):
        raise ValueError(f"{file}: the pixel data are missing or cut short")
    syntax = None
    try:
        syntax = dataset.file_meta.TransferSyntaxUID
        get_decoder(syntax)  # raises an error that tells more than those below
        if syntax.is_encapsulated and syntax != RLELossless:
            _check_streams(dataset, count)
        frames = list(iter_pixels(dataset, allow_excess_frames=False))
    except Exception as error:  # decoders fail in any way
        name = getattr(syntax, "name", "of no transfer syntax")
        text = f"pixel data ({name}) cannot be decoded ({error})"
        raise ValueError(f"{file}: {' '.join(text.split())}") from None
    if len(frames) != count:
        raise ValueError(f"{file}: {len(frames)} frames of pixel data, the header says {count}")
    return frames


def _check_streams(dataset: pydicom.Dataset, count: int) -> None:
    """Check that each compressed frame ends as JPEG, JPEG-LS and JPEG 2000 must.

    Decoders of JPEG and JPEG-LS fill up what is missing without a word.
    """
    offsets = None
    if "ExtendedOffsetTable" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    streams = generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=offsets)
    for stream in streams:
        if not stream.rstrip(b"\0\xff").endswith(b"\xff\xd9"):
            raise ValueError("a frame has no end, it is cut short")


def _rescale(frames: list[np.ndarray], slices: list[_Slice]) -> np.ndarray:
    """Return stored values times slope plus intercept as (channel, z, y, x)."""
    lines = [(one.slope, one.intercept) for one in slices]
    dtype = _value_type(frames, lines)
    exact = np.float64 if dtype == np.float32 else np.int64
    colours = frames[0].shape[2:] or (1,)
    array = np.empty((*colours, len(frames), *frames[0].shape[:2]), dtype)
    for index, (frame, line) in enumerate(zip(frames, lines, strict=True)):
        slope, intercept = np.array(line).astype(exact)
        values = frame.reshape(*frame.shape[:2], *colours).astype(exact) * slope + intercept
        array[:, index] = np.moveaxis(values, -1, 0)
    return array


def _value_type(frames: list[np.ndarray], lines: list[tuple[float, float]]) -> type[np.generic]:
    """Return the data type that holds all values."""
    whole = all(number.is_integer() for line in lines for number in line)
    if not whole or any(frame.dtype.kind == "f" for frame in frames):
        return np.float32
    ends = [
        int(end) * int(slope) + int(intercept)
        for frame, (slope, intercept) in zip(frames, lines, strict=True)
        for end in (frame.min(), frame.max())
    ]
    for dtype in (np.int16, np.uint16, np.int32):
        limits = np.iinfo(dtype)
        if limits.min <= min(ends) and max(ends) <= limits.max:
            return dtype
    return np.float32


def _words(values: Iterable[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
