"""Label maps written as DICOM segmentations of the series that they were made of.

What is said of the patient and the study is what the series says, and nothing else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from segflow.files.content import replacing
from segflow.files.labels import Labels, foreground
from segflow.files.words import counted
from segflow.images.dicom import arranged_slices
from segflow.images.dicom_headers import discreet, read_file
from segflow.images.nifti import Grid, describe_difference
from segflow.images.palette import label_colours
from segflow.images.segments import SegmentRule, read_segments

Code = tuple[str, str, str]  # scheme, value, meaning
CATEGORIES = {
    "structure": ("SCT", "123037004", "Anatomical Structure"),
    "abnormality": ("SCT", "49755003", "Morphologically Abnormal Structure"),
    "tissue": ("SCT", "85756007", "Tissue"),
}
SIDES = {"left": ("SCT", "7771000", "Left"), "right": ("SCT", "24028007", "Right")}
PRIVATE_SCHEME = "99SEGFLOW"  # of labels without a code; 99 begins private schemes
SERIES_NUMBER = 900  # above those that scanners give
UNCOLOURED = (255, 255, 255)  # regions that are several values of a label map
# What every segmentation must say of patient and study, be it nothing (type 2 of DICOM).
EMPTY_IF_MISSING = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@dataclass(frozen=True)
class Segment:
    """What a segmentation says of one label or region.

    Parameters
    ----------
    name : str
        Its name.
    values : tuple of int
        Its values in label maps.
    code, category : (str, str, str)
        Scheme, value and meaning of what it is, and of what kind of thing that is.
    side : (str, str, str) or None
        Of paired organs.
    colour : tuple of int
        Recommended red, green and blue, from 0 to 255.
    """

    name: str
    values: tuple[int, ...]
    code: Code
    category: Code
    side: Code | None
    colour: tuple[int, int, int]


def segments_of(labels: Labels, codes: Mapping[str, Mapping[str, str]]) -> list[Segment]:
    """Return the segments of a data set's labels.

    Parameters
    ----------
    labels : mapping of str to int or list of int
        Labels of the data set.
    codes : mapping of str to mapping
        By the name of the label ``scheme``, ``value`` and ``meaning``, and if need be ``category``
        (a key of `CATEGORIES`) and ``laterality`` (a key of `SIDES`). A label without has a code of
        the scheme `PRIVATE_SCHEME`: the first 8 digits of the SHA-256 of its name.
    """
    colours = label_colours(labels)
    segments = []
    for name, values in foreground(labels).items():
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        stated = {"scheme": PRIVATE_SCHEME, "value": digest, "meaning": name.replace("_", " ")}
        stated |= codes.get(name, {})
        segments.append(
            Segment(
                name=name,
                values=tuple(values),
                code=(stated["scheme"], stated["value"], stated["meaning"]),
                category=CATEGORIES[stated.get("category", "structure")],
                side=SIDES.get(stated.get("laterality", "")),
                colour=colours[values[0]] if len(values) == 1 else UNCOLOURED,
            )
        )
    return segments


def write_segmentation(
    path: Path, label_map: np.ndarray, grid: Grid, source: Path, segments: Sequence[Segment]
) -> None:
    """Write a label map as a DICOM segmentation, and check it by reading it back.

    Identifiers follow from the content: the same label map of the same series has the same.

    Parameters
    ----------
    path : Path
        The file.
    label_map : ndarray of int
        Of shape (z, y, x).
    grid : Grid
        Where its voxels lie.
    source : Path
        DICOM file, or folder of the series, on whose slices the label map lies.
    segments : sequence of Segment
        What it holds.

    Raises
    ------
    ValueError
        If the label map does not lie on the slices of the series, their header lacks what a
        segmentation must refer to, or what was written is read back as something else.
    """
    slices, place = arranged_slices(source)
    if place is None:
        raise ValueError(f"{source}: the header tells no place in space")
    mismatch, _ = describe_difference(grid, place)
    if mismatch:
        raise ValueError(f"{source}: the label map does not lie on its slices; other {mismatch}")
    with discreet():
        sources = {file: read_file(file, defer_size=None) for file, _ in slices}
        if len(sources) == 1:  # frames in the order of the file
            images = list(sources.values())
            frames = label_map[np.argsort([frame for _, frame in slices])]
        elif len(sources) == len(slices):
            images, frames = [sources[file] for file, _ in slices], label_map
        else:
            raise ValueError(f"{source}: several files of several frames each")
        for image in sources.values():
            _complete(source, image, place.spacing_mm[0])
        try:
            dataset = _segmentation(images, frames, segments)
        except Exception as error:  # of an unusual header it fails in any way, quoting it
            kind = type(error).__name__
            raise ValueError(f"{source}: its header allows no segmentation ({kind})") from None
        with replacing(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
            frame_of_reference = str(images[0].FrameOfReferenceUID)
            _check(temporary, source, label_map, place, frame_of_reference, segments)


def _complete(source: Path, image: pydicom.Dataset, distance_mm: float) -> None:
    """Give a header the tags that segmentations must have, and refuse what cannot be.

    They are empty, but for the thickness of slices, which is their distance where it is not known.
    """
    for tag in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if not image.get(tag):
            raise ValueError(f"{source}: the header gives no {tag}")
    for tag in EMPTY_IF_MISSING:
        if tag not in image:
            setattr(image, tag, "")
    if not image.get("SliceThickness"):
        image.SliceThickness = f"{distance_mm:.6g}"
    if "TransferSyntaxUID" not in image.file_meta:
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def _segmentation(
    images: list[pydicom.Dataset], frames: np.ndarray, segments: Sequence[Segment]
) -> pydicom.Dataset:
    """Return the data set of a segmentation; `frames` has the order of the images."""
    # Imported here: few new images are DICOM.
    import highdicom
    from highdicom.color import CIELabColor
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.sr.coding import CodedConcept

    def coded(code: Code) -> CodedConcept:
        scheme, value, meaning = code
        return CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="Segflow",
        version="1",
        family=coded(("DCM", "123109", "Artificial Intelligence")),
    )
    described = []
    for number, segment in enumerate(segments, 1):
        one = SegmentDescription(
            segment_number=number,
            segment_label=segment.name,
            segmented_property_category=coded(segment.category),
            segmented_property_type=coded(segment.code),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            display_color=CIELabColor.from_rgb(*segment.colour),
        )
        if segment.side:
            modifier = coded(segment.side)
            one.SegmentedPropertyTypeCodeSequence[
                0
            ].SegmentedPropertyTypeModifierCodeSequence = pydicom.Sequence([modifier])
        described.append(one)
    values = [value for segment in segments for value in segment.values]
    if len(set(values)) == len(values):
        numbers = np.zeros(int(max(*values, frames.max())) + 1, np.uint8)
        for number, segment in enumerate(segments, 1):
            numbers[list(segment.values)] = number
        pixels = numbers[frames]
    else:
        pixels = np.stack([np.isin(frames, one.values) for one in segments], axis=-1)
        pixels = pixels.astype(np.uint8)
    sources = sorted(str(image.SOPInstanceUID) for image in images)
    content = [*sources, hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()]
    content += [repr(segment) for segment in segments]
    return Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=generate_uid(entropy_srcs=["series", *content]),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(entropy_srcs=["instance", *content]),
        instance_number=1,
        manufacturer="Segflow",
        manufacturer_model_name="Segflow",
        software_versions="1",
        device_serial_number="1",
        content_label="SEGMENTATION",
        series_description="Segmentation",
    )


def _check(
    path: Path,
    source: Path,
    label_map: np.ndarray,
    place: Grid,
    frame_of_reference: str,
    segments: Sequence[Segment],
) -> None:
    """Read a segmentation back in space, segment by segment, and compare it with the label map.

    Raises
    ------
    ValueError
        If a voxel differs.
    """
    for chosen, segment in enumerate(segments, 1):
        stated = {str(number): int(number == chosen) for number in range(1, len(segments) + 1)}
        rule = SegmentRule({}, stated, frozenset({0, 1}))
        found, _ = read_segments(path, place, frame_of_reference, rule)
        if n_different := int((found != np.isin(label_map, segment.values)).sum()):
            raise ValueError(
                f"{source}: the segmentation, read back, differs from the label map in "
                f"{counted(n_different, 'voxel')} of {segment.name!r}"
            )
