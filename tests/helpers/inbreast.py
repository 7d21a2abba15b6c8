"""Miniature raw folders in the layout of INbreast, with drawn mammograms."""

import plistlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation as STORAGE
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.ndimage import gaussian_filter

# What tells who was examined, where and when: none of it may leave the raw folder.
PLANTED = ("PLANTED^NAME", "PLANTED-ID", "19480229", "20091231", "201013", "PLANTED HOSPITAL")
WHITE = 2**14 - 1
HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
SPACING_MM = 0.07
INTERCEPT = -100
VIEWS = (("R", "CC"), ("L", "CC"), ("R", "ML"), ("L", "ML"))


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn: with tissue bright, before inversion.

    ``image``, ``breast`` and ``lesion`` have the shape (y, x); ``contour`` holds points (x, y).
    """

    image: np.ndarray
    breast: np.ndarray
    lesion: np.ndarray
    contour: np.ndarray


def draw_mammogram(size=(256, 192), laterality="L", view="CC", seed=0, extent=0.6) -> Drawn:
    """Draw a breast with one mass, and a label outside the breast.

    Parameters
    ----------
    size : tuple of int
        Pixels along (y, x).
    extent : float
        How far the breast reaches from the chest, of the width.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.hypot((y - 0.5 * height) / (0.42 * height), x / (extent * width))
    breast = radius < 1
    # Thickness falls to nothing at the skin; fat is dark, glands in the middle are bright.
    thickness = np.sqrt(np.clip(1 - radius**4, 0, None))
    texture = gaussian_filter(rng.standard_normal(size).astype(np.float32), 0.02 * height)
    clumps = np.clip(1 + 0.4 * texture / texture.std(), 0, None)
    glands = np.exp(-((radius / 0.55) ** 2)) * clumps
    image = thickness * (2500 + 4500 * glands)
    if view == "ML":
        pectoral = breast & (x / (0.35 * width) + y / (0.6 * height) < 1)
        image += pectoral * thickness * 4000
    centre = np.array([0.3 * extent * width, (0.42 + 0.1 * rng.random()) * height])
    axes = np.array([0.055, 0.045]) * height
    lesion = np.hypot(*((np.stack([x, y], -1) - centre) / axes).transpose(2, 0, 1)) <= 1
    image += lesion * 3000
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    contour = centre + axes * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    image += 60 + rng.normal(0, 15 + 45 * breast)
    top, left, stroke = int(0.06 * height), int(0.82 * width), max(2, int(0.006 * height))
    for step in range(3):  # a letter made of bars
        start = left + 3 * step * stroke
        image[top : top + 10 * stroke, start : start + stroke] = WHITE
    image = np.clip(image, 0, WHITE).round()
    if laterality == "R":
        image, breast, lesion = image[:, ::-1], breast[:, ::-1], lesion[:, ::-1]
        contour = contour * [-1, 1] + [width - 1, 0]
    return Drawn(image, breast, lesion, contour)


def make_inbreast(folder: Path, n_patients: int = 4, size=(256, 192)) -> dict[str, Drawn]:
    """Write a raw folder of four images for each patient, and return what they show by case.

    Of each patient the left breast has a mass in both views, the right one is normal (without
    XML file, patients 0, 3, ...), has calcifications (1, 4, ...), or other findings (2, 5, ...).
    The first one has a second mass at the border of the image, and a blank behind a name.
    Patients with an odd number have malignant masses and MONOCHROME1 images; every third image
    is stored with a rescale slope and intercept.
    """
    for name in ("AllDICOMs", "AllXML"):
        (folder / name).mkdir(parents=True)
    drawn, rows = {}, [HEADER]
    for patient in range(n_patients):
        for number, (laterality, view) in enumerate(VIEWS):
            index = 4 * patient + number
            image = 20586908 + 26 * index
            what = draw_mammogram(size, laterality, view, seed=index)
            case = f"{image}_{laterality}_{view}"
            drawn[case] = what
            name = f"{image}_{patient:016x}_MG_{laterality}_{view}_ANON.dcm"
            inverted = patient % 2 == 1
            slope = (1, 1, 2)[index % 3]
            write_dicom(folder / "AllDICOMs" / name, what.image, laterality, view, inverted, slope)
            left = laterality == "L"
            if left:
                birads = ("2", "4a", "3", "5", "2", "4b", "3", "6")[patient % 8]
            else:
                birads = ("1", "2", "2")[patient % 3]
            rois = [make_roi("Mass", what.contour), *_others(what, 1)] if left else []
            if not left and patient % 3:
                rois = _others(what, patient % 3)
            if left and patient == 0:
                if view == "CC":
                    rois[0] = make_roi("Mass ", what.contour)
                else:
                    rois.insert(1, _mass_at_the_border(what))
            if rois:
                write_xml(folder / "AllXML" / f"{image}.xml", [rois])
            table_view = "MLO" if view == "ML" else view
            acr = " " * 20 if index == 0 else str(1 + patient % 4)
            cells = ["removed", "removed", laterality, table_view, PLANTED[4], image, acr, birads]
            rows.append(";".join(map(str, cells)))
    text = "\ufeff" + "".join(f"{row}\r\n" for row in rows)
    (folder / "INbreast.csv").write_text(text, encoding="utf-8", newline="")
    return drawn


def write_dicom(
    path: Path, image: np.ndarray, laterality="L", view="CC", inverted=False, slope=1
) -> None:
    """Write a mammogram of 14 bits, with planted personal data in its header.

    A `slope` other than 1 stores smaller numbers, which slope and intercept bring back, rounded.
    """
    intercept = 0 if slope == 1 else INTERCEPT
    stored = np.round((image - intercept) / slope).astype(np.uint16)
    if inverted:
        stored = WHITE - stored
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID = STORAGE
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    header.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    header.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    header.Modality = "MG"
    header.PatientName, header.PatientID, header.PatientBirthDate = PLANTED[:3]
    header.StudyDate = header.AcquisitionDate = PLANTED[3]
    header.InstitutionName = PLANTED[5]
    header.ImageLaterality = laterality
    header.ViewPosition = "MLO" if view == "ML" else view
    header.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    header.SamplesPerPixel = 1
    header.Rows, header.Columns = stored.shape
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 14, 13
    header.PixelRepresentation = 0
    header.ImagerPixelSpacing = header.PixelSpacing = [SPACING_MM, SPACING_MM]
    if slope != 1:
        header.RescaleSlope, header.RescaleIntercept = slope, intercept
        header.RescaleType = "US"
    header.PixelData = stored.astype("<u2").tobytes()
    header.save_as(path, enforce_file_format=True)


def make_roi(name: str, points, **changes) -> dict:
    """Return an ROI as INbreast's XML files have it; `points` are (x, y)."""
    points = np.asarray(points, float).reshape(-1, 2)
    return {
        "Area": 0.0,
        "IndexInImage": 0,
        "Name": name,
        "NumberOfPoints": len(points),
        "Point_mm": [f"({x * SPACING_MM:f}, {y * SPACING_MM:f}, 0.000000)" for x, y in points],
        "Point_px": [f"({x:f}, {y:f})" for x, y in points],
        "Type": 19 if len(points) == 1 else 15,
        **changes,
    }


def write_xml(path: Path, images: list[list[dict]]) -> None:
    """Write the ROIs of each image as a property list."""
    entries = [
        {"ImageIndex": index, "NumberOfROIs": len(rois), "ROIs": rois}
        for index, rois in enumerate(images)
    ]
    path.write_bytes(plistlib.dumps({"Images": entries}))


def _mass_at_the_border(what: Drawn) -> dict:
    """Add a second mass at the left border to what was drawn, with points outside the image."""
    top = int(0.6 * len(what.lesion))
    what.lesion[top : top + 6, :7] = True
    return make_roi("Mass", [(-2.5, top), (6, top), (6, top + 5), (-2.5, top + 5)])


def _others(what: Drawn, kind: int) -> list[dict]:
    """Return ROIs that are no masses: calcifications (1), or everything else that occurs (2)."""
    height, width = what.image.shape
    square = np.array([[0.2, 0.5], [0.4, 0.5], [0.4, 0.6], [0.2, 0.6]]) * [width, height]
    if kind == 1:
        points = [make_roi("Calcification", square[0] + step) for step in range(3)]
        return [*points, make_roi("Cluster", square), make_roi("Calcifications", square[:2])]
    names = ["Spiculated Region", "Espiculated Region", "Asymmetry", "Assymetry", "Distortion"]
    single = [make_roi(name, square[0]) for name in ("Unnamed", "Point 1", "Point 3", "")]
    return [*(make_roi(name, square - [0.25 * width, 0]) for name in names), *single]
