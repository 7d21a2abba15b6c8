"""New images: DICOM in and out, warnings, and errors before any network looks at an image."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.uid import generate_uid

from dicom_files import DATE, PATIENT, PATIENT_ID, UID_ROOT, slice_tags, write_dicom

pytestmark = pytest.mark.slow
NEW = {"folder": "scans", "output": "out", "dataset": "hippocampus", "predictor": "both"}


def write_scan(path: Path, folder: Path, **tags) -> list[Path]:
    """Write a NIfTI image as a DICOM series, its files in no order and without suffix."""
    image = sitk.ReadImage(str(path))
    volume = np.round(sitk.GetArrayFromImage(image)).astype(np.int16)
    axes = np.reshape(image.GetDirection(), (3, 3))
    folder.mkdir(parents=True)
    shared = {
        "SeriesInstanceUID": generate_uid(prefix=UID_ROOT),
        "FrameOfReferenceUID": generate_uid(prefix=UID_ROOT),
        "Modality": "MR",
        **tags,
    }
    files = []
    for index, pixels in enumerate(volume):
        place = slice_tags(image.GetSpacing()[::-1], image.GetOrigin(), axes, index)
        name = folder / f"IM{(index * 7 + 3) % len(volume):03}"
        numbers = {"InstanceNumber": index + 1}
        files.append(write_dicom(name, pixels, **{**place, **numbers, **shared}))
    return files


@pytest.fixture
def scans(project) -> list[Path]:
    (project.folder / "scans").mkdir()
    project.configure(new_images=NEW)
    return sorted((project.raw / "imagesTs").glob("*.nii.gz"))


def test_a_dicom_series_gives_what_its_image_gives_and_a_dicom_segmentation(project, scans):
    scan, nifti = project.folder / "scans/scan", project.folder / "scans/nifti.nii.gz"
    write_scan(scans[0], scan)
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(scans[0])), sitk.sitkInt16), str(nifti))
    project.snakemake("predict")
    out = project.folder / "out"
    maps = [sitk.ReadImage(str(out / f"{case}.nii.gz")) for case in ("scan", "nifti")]
    arrays = [sitk.GetArrayFromImage(one) for one in maps]
    np.testing.assert_array_equal(*arrays)
    assert arrays[0].any()

    segmentation = pydicom.dcmread(out / "dicom_seg/scan.dcm")
    frames = segmentation.pixel_array
    groups = segmentation.PerFrameFunctionalGroupsSequence
    drawn = np.zeros_like(arrays[0])
    for frame, group in zip(frames, groups, strict=True):
        position = group.PlanePositionSequence[0].ImagePositionPatient
        place = maps[0].TransformPhysicalPointToIndex([float(value) for value in position])
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert place[:2] == (0, 0)
        drawn[place[2]][frame > 0] = number
    np.testing.assert_array_equal(drawn, arrays[0])
    assert (segmentation.PatientID, str(segmentation.PatientName)) == (PATIENT_ID, PATIENT)
    assert [one.SegmentLabel for one in segmentation.SegmentSequence] == ["anterior", "posterior"]

    volumes = pd.read_csv(out / "volumes.csv").set_index(["case", "label"])
    counted = [(arrays[0] == value).sum() / 1000 for value in (1, 2)]  # voxels of 1 mm3, in mL
    np.testing.assert_allclose(volumes.loc["scan", "volume_ml"], counted)
    with Image.open(out / "previews/nifti.png") as preview:
        assert preview.format == "PNG"
    for file in [*out.rglob("*.csv"), *out.rglob("*.json"), *(project.folder / "logs").rglob("*")]:
        if file.is_file():
            text = file.read_text(errors="replace")
            assert not [word for word in (PATIENT, PATIENT_ID, DATE) if word in text], file
    assert project.planned("predict") == set()


def test_an_image_unlike_those_of_the_training_is_segmented_with_a_warning(project, scans):
    image = sitk.ReadImage(str(scans[0]))
    spaced = sitk.Image(image)
    spaced.SetSpacing((1.0, 1.0, 4.0))
    sitk.WriteImage(spaced, str(project.folder / "scans/thick.nii.gz"))
    turned = sitk.DICOMOrient(image, "PIR")
    sitk.WriteImage(turned, str(project.folder / "scans/turned.nii.gz"))
    scaled = sitk.Cast(image, sitk.sitkFloat32) * 1e-3
    sitk.WriteImage(scaled, str(project.folder / "scans/scaled.nii.gz"))
    project.snakemake("predict")
    table = pd.read_csv(project.folder / "out/segmentations.csv").set_index("case")
    ranges = json.loads((project.results / "hippocampus/training_ranges.json").read_text())
    warnings = table["warnings"]
    assert "spacing along z is 4 mm (training: 1)" in warnings["thick"]
    assert "orientation is PIR (training: RAS)" in warnings["turned"]
    low, high = ranges["intensities"]["MRI"]["high"]
    assert f"to {low:.4g} ... {high:.4g})" in warnings["scaled"]
    log = (project.folder / "logs/segment_images.log").read_text()
    assert "warning: thick: spacing along z is 4 mm (training: 1)" in log


def test_all_that_is_wrong_is_said_before_a_network_looks_and_the_rest_stays(project, scans):
    folder, out = project.folder / "scans", project.folder / "out"
    shutil.copy(scans[0], folder / "good.nii.gz")
    project.snakemake("predict")
    written = (out / "good.nii.gz").stat().st_mtime_ns

    shutil.copy(scans[1], folder / "later.nii.gz")
    write_scan(scans[0], folder / "gap")[10].unlink()
    cut = write_scan(scans[0], folder / "cut")
    for file in cut[3:5]:
        file.write_bytes(file.read_bytes()[:-500])
    mixed = write_scan(scans[0], folder / "mixed")
    pydicom.dcmread(mixed[0]).save_as(mixed[0])
    other = pydicom.dcmread(mixed[1])
    other.SeriesInstanceUID = generate_uid(prefix=UID_ROOT)
    other.save_as(mixed[1])
    write_scan(scans[0], folder / "short", NumberOfSeriesRelatedInstances=1000)
    (folder / "empty").mkdir()
    (folder / "torn.nii.gz").write_bytes(scans[0].read_bytes()[:2000])
    two = sitk.JoinSeries([sitk.ReadImage(str(scans[0]))] * 2)
    sitk.WriteImage(two, str(folder / "two.nii.gz"))
    sitk.WriteImage(sitk.ReadImage(str(scans[0]))[:, :, 9], str(folder / "flat.nii.gz"))

    text = project.snakemake("predict", check=False)
    assert "1 of 10 images segmented: 8 problems" in text
    for words in (
        "mm apart, the usual gap is 1 mm; is one missing?",
        f"2 of {len(cut)} files are no use: ",
        "2 series in one folder",
        f"NumberOfSeriesRelatedInstances is 1000, but there are {len(cut)} images",
        "the folder is empty",
        "torn.nii.gz: the gzip file is damaged",
        "2 channels, but the data set declares 1",
        "is 2D, but the network learned from 3D images",
        "new_images.faulty: go_on does the others first",
    ):
        assert words in text, words
    assert PATIENT not in text
    log = (project.folder / "logs/segment_images.log").read_text()
    assert "preprocess" not in log
    assert [path.name for path in out.glob("*.nii.gz")] == ["good.nii.gz"]
    assert (out / "good.nii.gz").stat().st_mtime_ns == written
    assert list(pd.read_csv(out / "segmentations.csv")["case"]) == ["good"]
    faulty = {"cut", "empty", "flat", "gap", "mixed", "short", "torn", "two"}
    problems = pd.read_csv(out / "problems.csv")
    assert set(problems.loc[problems["severity"] == "error", "case"]) == faulty

    project.configure(new_images={**NEW, "faulty": "go_on"})
    text = project.snakemake("predict", check=False)
    assert "2 of 10 images segmented: 8 problems" in text
    assert (out / "later.nii.gz").exists()
    assert list(pd.read_csv(out / "segmentations.csv")["case"]) == ["good", "later"]
    assert project.planned("predict") == {"check_new_images", "predict"}
    assert (out / "good.nii.gz").stat().st_mtime_ns == written
