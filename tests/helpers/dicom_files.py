"""Synthetic DICOM files, as small as they can be and still be read by other programs."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

# What no message may show.
PATIENT = "Doe^Jane"
PATIENT_ID = "HOSPITAL-4711"
DATE = "19700131"
UID_ROOT = "1.2.826.0.1.3680043.8.498."
SERIES = UID_ROOT + "1"
NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def make_dicom(pixels: np.ndarray, **tags) -> Dataset:
    """Return a data set.

    Parameters
    ----------
    pixels : ndarray
        Stored values of shape (y, x), (y, x, colour) or (frame, y, x).
    **tags
        Further tags, and others in place of those that are set here; None takes one away.
    """
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    bits = 8 * pixels.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    defaults = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(prefix=UID_ROOT),
        "StudyInstanceUID": UID_ROOT + "9",
        "SeriesInstanceUID": SERIES,
        "Modality": "CT",
        "PatientName": PATIENT,
        "PatientID": PATIENT_ID,
        "PatientBirthDate": DATE,
        "StudyDate": DATE,
        "Rows": pixels.shape[0 if colour else -2],
        "Columns": pixels.shape[1 if colour else -1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "PlanarConfiguration": 0 if colour else None,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    for name, value in (defaults | tags).items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return dataset


def save_dicom(path: Path, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a data set in a transfer syntax; one that is not native must have an encoder."""
    if syntax not in NATIVE:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(syntax)
    elif syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_dicom(
    path: Path, pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian, **tags
) -> Path:
    """Write one image; see `make_dicom`."""
    return save_dicom(path, make_dicom(pixels, **tags), syntax)


def write_mammogram(path: Path, pixels: np.ndarray, laterality: str, **tags) -> Path:
    """Write an image of a breast, as INbreast has them."""
    tags = {
        "Modality": "MG",
        "ImageLaterality": laterality,
        "ImagerPixelSpacing": [0.07, 0.07],
        "SeriesInstanceUID": generate_uid(prefix=UID_ROOT),
    } | tags
    return write_dicom(path, pixels, **tags)


def slice_tags(
    spacing_mm: tuple[float, ...], origin_mm: tuple[float, ...], axes: np.ndarray, index: int
) -> dict:
    """Return where the slice `index` lies, with the directions of x, y, z as columns of `axes`."""
    position = np.add(origin_mm, index * spacing_mm[0] * axes[:, 2])
    return {
        "PixelSpacing": list(spacing_mm[1:]),
        "ImagePositionPatient": [round(float(value), 6) for value in position],
        "ImageOrientationPatient": [round(float(value), 9) for value in axes[:, :2].T.flat],
    }


def write_series(
    folder: Path,
    volume: np.ndarray,
    spacing_mm: tuple[float, ...] = (3.0, 2.0, 1.0),
    origin_mm: tuple[float, ...] = (10.0, 20.0, 30.0),
    axes: np.ndarray | None = None,
    **tags,
) -> list[Path]:
    """Write a volume of shape (z, y, x) as one file for each slice and return the files by z.

    Neither the names nor the numbers of the files are in the order of the slices, and the slices
    are declared to be thicker than they are apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    axes = np.eye(3) if axes is None else axes
    files = []
    for index, pixels in enumerate(volume):
        scrambled = (index * 7 + 3) % 11  # all different for up to 11 slices
        place = slice_tags(spacing_mm, origin_mm, axes, index)
        numbers = {"InstanceNumber": 100 - scrambled, "SliceThickness": 2 * spacing_mm[0]}
        path = folder / f"{scrambled:02}.dcm"
        files.append(write_dicom(path, pixels, **(place | numbers | tags)))
    return files


def write_multiframe(
    path: Path,
    volume: np.ndarray,
    order: list[int],
    spacing_mm: tuple[float, ...],
    origin_mm: tuple[float, ...],
    axes: np.ndarray,
    **tags,
) -> Path:
    """Write a volume of shape (z, y, x) as one enhanced file with the slices in some order."""
    frames = []
    for index in order:
        place = slice_tags(spacing_mm, origin_mm, axes, index)
        frames.append(_group(PlanePositionSequence=_only(place, "ImagePositionPatient")))
    place = slice_tags(spacing_mm, origin_mm, axes, 0)
    shared = _group(
        PlaneOrientationSequence=_only(place, "ImageOrientationPatient"),
        PixelMeasuresSequence=_only(place, "PixelSpacing"),
        PixelValueTransformationSequence={"RescaleSlope": 2, "RescaleIntercept": -5},
    )
    dataset = make_dicom(
        volume[order],
        SOPClassUID=EnhancedCTImageStorage,
        NumberOfFrames=len(order),
        PerFrameFunctionalGroupsSequence=frames,
        SharedFunctionalGroupsSequence=[shared],
        **tags,
    )
    return save_dicom(path, dataset)


def write_segmentation(
    path: Path,
    frames: list[tuple[int, np.ndarray, dict]],
    names: list[str],
    kind: str = "BINARY",
    **tags,
) -> Path:
    """Write a segmentation.

    Parameters
    ----------
    path : Path
        The file.
    frames : list of tuple
        Number of the segment, stored values of shape (y, x) and `slice_tags` of each frame.
    names : list of str
        What the segments, which are numbered from 1, are called.
    kind : {"BINARY", "FRACTIONAL", "LABELMAP"}
        Single bits, fractions of 200, or numbers of segments.
    **tags
        See `make_dicom`.
    """
    groups = [
        _group(
            SegmentIdentificationSequence={"ReferencedSegmentNumber": number},
            PlanePositionSequence=_only(place, "ImagePositionPatient"),
            PlaneOrientationSequence=_only(place, "ImageOrientationPatient"),
            PixelMeasuresSequence=_only(place, "PixelSpacing"),
        )
        for number, _, place in frames
    ]
    pixels = np.stack([values for _, values, _ in frames]).astype(np.uint8)
    bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0} if kind == "BINARY" else {}
    defaults = {
        "SOPClassUID": SegmentationStorage,
        "Modality": "SEG",
        "SegmentationType": kind,
        "MaximumFractionalValue": 200 if kind == "FRACTIONAL" else None,
        "SegmentSequence": [
            _dataset(SegmentNumber=number, SegmentLabel=name)
            for number, name in enumerate(names, 1)
        ],
        "NumberOfFrames": len(frames),
        "PerFrameFunctionalGroupsSequence": groups,
    }
    dataset = make_dicom(pixels, **(defaults | bits | tags))
    if kind == "BINARY":
        dataset.PixelData = pack_bits(pixels)
    return save_dicom(path, dataset)


def write_structures(
    path: Path, rois: dict[str, list[np.ndarray | tuple[str, np.ndarray]]], **tags
) -> Path:
    """Write a structure set.

    Parameters
    ----------
    path : Path
        The file.
    rois : dict of str to list
        Contours of each region, which are numbered from 1: points of shape (n, 3) in mm, of
        closed contours, or a kind and points.
    **tags
        See `make_dicom`; ``frame_of_reference`` is that of all regions.
    """
    frame = tags.pop("frame_of_reference", None)
    listed, drawn = [], []
    for number, (name, contours) in enumerate(rois.items(), 1):
        roi = _dataset(ROINumber=number, ROIName=name)
        if frame:
            roi.ReferencedFrameOfReferenceUID = frame
        listed.append(roi)
        pairs = [one if isinstance(one, tuple) else ("CLOSED_PLANAR", one) for one in contours]
        items = [
            _dataset(
                ContourGeometricType=kind,
                NumberOfContourPoints=len(points),
                ContourData=[f"{value:.8f}"[:16] for value in np.ravel(points)],
            )
            for kind, points in pairs
        ]
        drawn.append(_dataset(ReferencedROINumber=number, ContourSequence=items))
    dataset = make_dicom(
        np.zeros((1, 1), np.uint8),
        **{
            "SOPClassUID": RTStructureSetStorage,
            "Modality": "RTSTRUCT",
            "StructureSetROISequence": listed,
            "ROIContourSequence": drawn,
        }
        | tags,
    )
    del dataset.PixelData
    return save_dicom(path, dataset)


def _dataset(**tags) -> Dataset:
    dataset = Dataset()
    dataset.update(tags)
    return dataset


def _only(tags: dict, name: str) -> dict:
    return {name: tags[name]}


def _group(**macros: dict) -> Dataset:
    group = Dataset()
    for name, tags in macros.items():
        item = Dataset()
        item.update(tags)
        setattr(group, name, [item])
    return group
