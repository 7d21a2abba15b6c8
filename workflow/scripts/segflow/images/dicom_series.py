"""What headers of DICOM files tell of a series: which files are of it, and what is missing."""

from collections.abc import Iterable
from pathlib import Path

import pydicom

from segflow.images.dicom_headers import SEGMENTS, discreet, find_files, read_file

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


def loose_slices(files: Iterable[Path]) -> list[list[Path]]:
    """Return the files that are slices of one volume with others, in groups of one series each.

    Files that cannot be read are left out.
    """
    series: dict[str, list[Path]] = {}
    with discreet():
        for file in files:
            try:
                header = read_file(file, specific_tags=list(_PLACING))
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
        for file in find_files(path):
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
