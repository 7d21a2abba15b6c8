import numpy as np
import pydicom
import pytest
import yaml
from pydicom.sr._concepts_dict import concepts
from pydicom.uid import generate_uid

from dicom_files import DATE, PATIENT, PATIENT_ID, UID_ROOT, write_multiframe, write_series
from project import ROOT
from segflow.images.dicom import read_dicom
from segflow.images.dicom_seg import segments_of, write_segmentation
from segflow.images.nifti import Grid

LABELS = {"background": 0, "kidney": 1, "tumour": 2}
CODES = {
    "kidney": {"scheme": "SCT", "value": "64033007", "meaning": "Kidney", "laterality": "left"},
    "tumour": {
        "scheme": "SCT",
        "value": "108369006",
        "meaning": "Neoplasm",
        "category": "abnormality",
    },
}
FRAME = UID_ROOT + "77"
# Turned about x by 30 degrees, so that no axis of the slices is one of the patient.
COSINE, SINE = np.cos(np.pi / 6), np.sin(np.pi / 6)
OBLIQUE = np.array([[1, 0, 0], [0, COSINE, -SINE], [0, SINE, COSINE]])


@pytest.fixture
def series(tmp_path):
    def make(axes=None, **tags):
        volume = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
        write_series(tmp_path / "s", volume, axes=axes, **{"FrameOfReferenceUID": FRAME, **tags})
        return tmp_path / "s"

    return make


@pytest.fixture
def label_map():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1, 2:4, 1:5] = 1
    array[3, 0, 0] = array[1, 2, 3] = 2
    return array


def voxels_in_space(path, number):
    """Return the centres of the voxels of a segment in patient space, by its own headers alone."""
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    points = []
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        cosines = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        row, column = np.reshape(np.array(cosines, float), (2, 3))
        between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
        for y, x in np.argwhere(frame):
            points.append(position + x * between_columns * row + y * between_rows * column)
    return np.array(sorted(map(tuple, points)))


def voxels_of(label_map, grid: Grid, value):
    """Return the centres of the voxels of a value of a label map."""
    index = np.argwhere(label_map == value)[:, ::-1]  # x, y, z
    matrix = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm[::-1]
    return np.array(sorted(map(tuple, index @ matrix.T + grid.origin_mm)))


@pytest.mark.parametrize("axes", [None, OBLIQUE])
def test_segments_lie_where_the_label_map_does(series, label_map, tmp_path, axes):
    source = series(axes)
    grid = read_dicom(source).grid
    path = tmp_path / "seg.dcm"
    write_segmentation(path, label_map, grid, source, segments_of(LABELS, CODES))
    for number in (1, 2):
        expected = voxels_of(label_map, grid, number)
        np.testing.assert_allclose(voxels_in_space(path, number), expected, atol=1e-4)


def test_segments_of_one_file_of_many_frames_lie_where_they_should(label_map, tmp_path):
    volume = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    source, path = tmp_path / "many.dcm", tmp_path / "seg.dcm"
    place = ((3.0, 2.0, 1.0), (1.0, 2.0, 3.0), OBLIQUE)
    write_multiframe(source, volume, [2, 0, 3, 1], *place, FrameOfReferenceUID=FRAME)
    grid = read_dicom(source).grid
    write_segmentation(path, label_map, grid, source, segments_of(LABELS, CODES))
    found = voxels_in_space(path, 1)
    np.testing.assert_allclose(found, voxels_of(label_map, grid, 1), atol=1e-4)


def test_a_series_need_not_say_how_thick_its_slices_are(series, label_map, tmp_path):
    source, path = series(SliceThickness=None), tmp_path / "seg.dcm"
    write_segmentation(path, label_map, read_dicom(source).grid, source, segments_of(LABELS, {}))
    shared = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].SliceThickness == 3


def test_codes_colours_and_sides(series, label_map, tmp_path):
    source = series()
    path = tmp_path / "seg.dcm"
    segments = segments_of(LABELS, CODES)
    write_segmentation(path, label_map, read_dicom(source).grid, source, segments)
    kidney, tumour = pydicom.dcmread(path).SegmentSequence
    code = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeValue) == ("SCT", "64033007")
    side = code.SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    assert kidney.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert (kidney.SegmentLabel, kidney.SegmentAlgorithmType) == ("kidney", "AUTOMATIC")
    # #E69F00 is L* 70.4, a* 19.0, b* 75.0 in CIELab (D65), by the CIE's formulas.
    lightness, a, b = kidney.RecommendedDisplayCIELabValue
    expected = (70.4 / 100 * 65535, (19.0 + 128) / 255 * 65535, (75.0 + 128) / 255 * 65535)
    np.testing.assert_allclose((lightness, a, b), expected, rtol=0.02)


def test_a_label_without_a_code_has_a_private_one():
    (segment,) = segments_of({"background": 0, "left_lobe": 1}, {})
    # printf left_lobe | sha256sum
    assert segment.code == ("99SEGFLOW", "26ae537a", "left lobe")


def test_nested_regions_and_empty_label_maps_can_be_written(series, label_map, tmp_path):
    source, path = series(), tmp_path / "seg.dcm"
    grid = read_dicom(source).grid
    regions = segments_of({"background": 0, "whole": [1, 2], "core": [2]}, {})
    write_segmentation(path, label_map, grid, source, regions)
    expected = voxels_of(label_map > 0, grid, True)
    np.testing.assert_allclose(voxels_in_space(path, 1), expected, atol=1e-4)
    write_segmentation(path, label_map * 0, grid, source, regions)
    assert len(pydicom.dcmread(path).SegmentSequence) == 2


def test_it_says_of_the_patient_what_the_series_says(series, label_map, tmp_path):
    source, path = series(PatientName=None, PatientBirthDate=""), tmp_path / "seg.dcm"
    write_segmentation(path, label_map, read_dicom(source).grid, source, segments_of(LABELS, {}))
    dataset = pydicom.dcmread(path)
    assert (dataset.PatientID, dataset.StudyInstanceUID) == (PATIENT_ID, UID_ROOT + "9")
    assert dataset.PatientName == ""
    assert dataset.PatientBirthDate == ""
    assert dataset.StudyDate == DATE
    assert PATIENT not in str(dataset)
    assert {
        tag
        for tag in dataset.dir("Patient", "Physician", "Operator", "Institution")
        if dataset.get(tag)
    } == {"PatientID"}


@pytest.mark.parametrize(
    ("tags", "changes", "message"),
    [
        ({"FrameOfReferenceUID": None}, {}, "the header gives no FrameOfReferenceUID"),
        ({}, {"spacing_mm": (3.0, 2.0, 1.5)}, "does not lie on its slices; other spacing"),
    ],
)
def test_what_cannot_refer_to_its_series_is_refused(
    series, label_map, tmp_path, tags, changes, message
):
    source = series(**tags)
    grid = read_dicom(source).grid
    grid = Grid(**{**vars(grid), **changes})
    with pytest.raises(ValueError, match=message) as caught:
        write_segmentation(
            tmp_path / "seg.dcm", label_map, grid, source, segments_of(LABELS, CODES)
        )
    assert PATIENT not in str(caught.value)
    assert not (tmp_path / "seg.dcm").exists()


def test_the_same_label_map_of_the_same_series_has_the_same_identifier(series, label_map, tmp_path):
    source = series(StudyInstanceUID=generate_uid())
    grid = read_dicom(source).grid
    found = []
    for changed in (label_map, label_map, label_map * 0):
        write_segmentation(tmp_path / "a.dcm", changed, grid, source, segments_of(LABELS, {}))
        found.append(pydicom.dcmread(tmp_path / "a.dcm").SOPInstanceUID)
    assert found[0] == found[1] != found[2]


DESCRIBED = sorted((ROOT / "config/datasets").glob("*.yaml"))


@pytest.mark.parametrize("path", DESCRIBED, ids=lambda path: path.stem)
def test_codes_that_are_shipped_mean_what_dicom_says(path):
    known = concepts["SCT"].values()
    meanings = {(code, said[0]) for codes in known for code, said in codes.items()}
    for code in yaml.safe_load(path.read_text()).get("label_codes", {}).values():
        assert code["scheme"] == "SCT"
        assert (code["value"], code["meaning"]) in meanings
