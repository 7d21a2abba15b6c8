"""DICOM files and what their headers say, in messages that quote nothing of whom, when or where.

Errors name files; instances and series have no name but a short hash.
"""

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.misc import is_dicom as has_prefix

from segflow.files.folders import visible
from segflow.files.suffixes import DICOM, suffix

STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
# Classes of files that hold segments of an image: segmentations, and structure sets.
SEGMENTS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", STRUCTURES)
# Where multi-frame files keep what other files have in the header itself.
_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "FrameAnatomySequence",
    "SegmentIdentificationSequence",
)
FRAME_GROUPS = "PerFrameFunctionalGroupsSequence"
SHARED_GROUPS = "SharedFunctionalGroupsSequence"
_NAMED = 3  # files that one message names


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
        header = read_file(find_files(path)[0], specific_tags=["PatientID"])
        return str(header.get("PatientID") or "").strip()


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


def find_files(path: Path) -> list[Path]:
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


def for_each(path: Path, files: list[Path], read: Callable[[Path], Any]) -> dict[Path, Any]:
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


def places_of(header: pydicom.Dataset, frame: int) -> list[pydicom.Dataset]:
    """Return where tags of a frame may stand: its own groups, the shared ones, the header."""
    groups = [*(header.get(FRAME_GROUPS) or ())[frame : frame + 1]]
    groups += header.get(SHARED_GROUPS) or ()
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


def short_hash(uid: str) -> str:
    """Return what a message may say of a UID."""
    return hashlib.sha256(uid.encode()).hexdigest()[:8]
