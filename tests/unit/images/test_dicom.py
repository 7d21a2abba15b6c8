import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_files import (
    DATE,
    NATIVE,
    PATIENT,
    PATIENT_ID,
    UID_ROOT,
    make_dicom,
    save_dicom,
    slice_tags,
    write_dicom,
    write_mammogram,
    write_multiframe,
    write_series,
)
from segflow.images.dicom import read_dicom
from segflow.images.dicom_headers import is_dicom, patient_of
from segflow.images.nifti import Grid

FLAT = (1.0, 0.0, 0.0, 1.0)
SPACING_MM, ORIGIN_MM = (3.5, 0.75, 0.5), (-12.5, 40.25, -101.0)


def rotation(*angles):
    """Return a rotation around x, y and z, by degrees."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*np.deg2rad(angles))
    return np.reshape(turn.GetMatrix(), (3, 3))


OBLIQUE = rotation(20, -35, 50)


@pytest.fixture
def volume():
    return np.random.default_rng(0).integers(0, 4000, (5, 6, 8)).astype(np.uint16)


@pytest.fixture
def series(tmp_path, volume):
    write_series(tmp_path / "series", volume)
    return tmp_path / "series"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 4000, (48, 64)).astype(np.uint16)


def refused(path, match):
    """Check that a file is refused with its name, in one line and without the patient's data."""
    with pytest.raises(ValueError, match=match) as caught:
        read_dicom(path)
    message = str(caught.value)
    assert message.startswith(str(path.parent))
    assert "\n" not in message
    assert not any(secret in message for secret in (PATIENT, PATIENT_ID, DATE, UID_ROOT))


def edit(path, **tags):
    """Change tags of a file; None takes one away."""
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def read_with_gdcm(files):
    """Return array and grid as SimpleITK reads them from files that are sorted already."""
    image = sitk.ReadImage([str(file) for file in files])
    grid = Grid(
        image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection()
    )
    return sitk.GetArrayFromImage(image), grid


def assert_same(one, other):
    assert one.shape == other.shape
    for name in ("spacing_mm", "origin_mm", "direction"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-5)


@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE, rotation(90, 0, 0), rotation(0, 180, 0)])
def test_a_series_is_as_gdcm_reads_it(tmp_path, volume, axes):
    files = write_series(
        tmp_path / "series",
        volume.astype(np.int16),
        SPACING_MM,
        ORIGIN_MM,
        axes,
        RescaleSlope=2,
        RescaleIntercept=-1024,
    )
    found = read_dicom(tmp_path / "series")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "series"))
    assert list(names) == [str(file) for file in files]
    array, grid = read_with_gdcm(names)
    np.testing.assert_array_equal(found.array, array[None])
    np.testing.assert_array_equal(found.array[0], volume.astype(int) * 2 - 1024)
    assert_same(found.grid, grid)
    assert found.grid.spacing_mm == pytest.approx(SPACING_MM, abs=1e-6)
    assert found.grid.origin_mm == pytest.approx(ORIGIN_MM)
    assert found.array.dtype == np.int16
    assert found.photometric == "MONOCHROME2"
    assert found.laterality == ""


def test_each_slice_has_its_own_slope_and_intercept(tmp_path):
    files = write_series(tmp_path / "pet", np.full((3, 2, 2), 10, np.uint16))
    for file, slope, intercept in zip(files, (0.5, 2.0, 0.25), (0, 1, -4), strict=True):
        edit(file, RescaleSlope=slope, RescaleIntercept=intercept)
    array = read_dicom(tmp_path / "pet").array
    assert array.dtype == np.float32
    assert array[0, :, 0, 0].tolist() == [5.0, 21.0, -1.5]


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "dtype", "expected"),
    [
        (np.uint8([0, 255]), 1, 0, np.int16, [0, 255]),
        (np.int16([-5, 7]), 1, 0, np.int16, [-5, 7]),
        (np.uint16([0, 32768]), 1, 0, np.uint16, [0, 32768]),
        (np.uint16([0, 65535]), 1, -1024, np.int32, [-1024, 64511]),
        (np.int16([-3, 2]), -20000, 0, np.int32, [60000, -40000]),
        (np.uint16([1, 3]), 0.5, 0, np.float32, [0.5, 1.5]),
        (np.uint16([1, 3]), 1, 0.5, np.float32, [1.5, 3.5]),
        (np.uint16([1, 3]), 10**9, 10**9, np.float32, [2e9, 4e9]),
    ],
)
def test_the_data_type_holds_the_values(tmp_path, stored, slope, intercept, dtype, expected):
    tags = {"RescaleSlope": slope, "RescaleIntercept": intercept, "PixelSpacing": [1, 1]}
    array = read_dicom(write_dicom(tmp_path / "one.dcm", stored[None], **tags)).array
    assert array.dtype == dtype
    assert array.ravel().tolist() == expected


def test_bits_of_overlays_are_no_part_of_the_values(tmp_path):
    pixels = np.array([[5, 0x8005], [0x4FFF, 0]], np.uint16)
    tags = {"BitsStored": 12, "HighBit": 11, "PixelSpacing": [1, 1]}
    path = write_dicom(tmp_path / "one.dcm", pixels, **tags)
    assert read_dicom(path).array.ravel().tolist() == [5, 5, 0xFFF, 0]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PixelSpacing": [2.0, 0.5]}, (1.0, 2.0, 0.5)),  # between rows, between columns
        ({"ImagerPixelSpacing": [0.07, 0.08]}, (1.0, 0.07, 0.08)),
        ({"PixelSpacing": [2, 3], "ImagerPixelSpacing": [4, 5]}, (1.0, 2.0, 3.0)),
        ({"PixelSpacing": [], "NominalScannedPixelSpacing": [4, 5]}, (1.0, 4.0, 5.0)),
    ],
)
def test_a_single_image_is_flat(tmp_path, volume, tags, expected):
    path = write_dicom(tmp_path / "one", volume[0], **tags)
    found = read_dicom(path)
    np.testing.assert_array_equal(found.array, volume[:1][None])
    assert found.grid == Grid((1, 6, 8), expected, (0.0, 0.0), FLAT)


def test_a_folder_of_one_image_is_like_the_file(tmp_path, volume):
    (tmp_path / "folder").mkdir()
    path = write_mammogram(tmp_path / "folder" / "one.dcm", volume[0], "L")
    assert read_dicom(path.parent).grid == read_dicom(path).grid


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"ImageLaterality": "L"}, "L"),
        ({"ImageLaterality": "R", "Laterality": "L"}, "R"),
        ({"ImageLaterality": "", "Laterality": "R"}, "R"),
        ({"ImageLaterality": "B"}, ""),
        ({"ImageLaterality": "U"}, ""),
        ({"ImageLaterality": None}, ""),
    ],
)
def test_laterality_is_left_right_or_unknown(tmp_path, volume, tags, expected):
    path = write_mammogram(tmp_path / "one.dcm", volume[0], "L", **tags)
    assert read_dicom(path).laterality == expected


def test_monochrome1_is_told_and_not_inverted(tmp_path, volume):
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    found = read_dicom(write_mammogram(tmp_path / "one.dcm", volume[0], "L", **tags))
    assert found.photometric == "MONOCHROME1"
    np.testing.assert_array_equal(found.array[0, 0], volume[0])


def test_colours_are_three_channels(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)  # (y, x, colour)
    found = read_dicom(write_dicom(tmp_path / "one.dcm", pixels, PixelSpacing=[1, 1]))
    np.testing.assert_array_equal(found.array[:, 0], pixels.transpose(2, 0, 1))
    assert found.photometric == "RGB"


def test_luma_and_chroma_become_red_green_and_blue(tmp_path):
    # Mid grey, and pure red as JPEG defines it: Y = 0.299 * 255, Cb = 128 - 0.1687 * 255, Cr = 255.
    pixels = np.array([[[128, 128, 128], [76, 85, 255]]], np.uint8)
    tags = {"PixelSpacing": [1, 1], "PhotometricInterpretation": "YBR_FULL"}
    found = read_dicom(write_dicom(tmp_path / "one.dcm", pixels, **tags))
    assert found.photometric == "RGB"
    np.testing.assert_allclose(found.array[:, 0, 0].T, [[128] * 3, [254, 0, 0]], atol=1)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 1, 2]])
def test_frames_of_one_file_are_slices(tmp_path, volume, order):
    path = write_multiframe(tmp_path / "one.dcm", volume, order, SPACING_MM, ORIGIN_MM, OBLIQUE)
    found = read_dicom(path)
    np.testing.assert_array_equal(found.array[0], volume.astype(int) * 2 - 5)
    files = write_series(tmp_path / "series", volume, SPACING_MM, ORIGIN_MM, OBLIQUE)
    assert_same(found.grid, read_with_gdcm(files)[1])


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, JPEG2000Lossless])
def test_transfer_syntaxes_hold_the_same_values(tmp_path, pixels, syntax):
    path = write_dicom(tmp_path / "one.dcm", pixels, syntax, PixelSpacing=[1, 1])
    np.testing.assert_array_equal(read_dicom(path).array[0, 0], pixels)


@pytest.mark.parametrize(
    ("compressor", "name"),
    [
        ("JPEG", "JPEG Lossless, Non-Hierarchical, First-Order Prediction"),
        ("JPEG2000", "JPEG 2000 Image Compression (Lossless Only)"),
    ],
)
def test_what_gdcm_compresses_without_loss_is_read_as_it_was(tmp_path, pixels, compressor, name):
    image = sitk.GetImageFromArray(pixels[None])
    image.SetMetaData("0028|0030", "0.5\\0.25")
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(tmp_path / "one.dcm"))
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(image)
    path = tmp_path / "one.dcm"
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.name.startswith(name)
    np.testing.assert_array_equal(read_dicom(path).array[0, 0], pixels)


@pytest.mark.parametrize(
    "kind", ["bigendian", "implicit", "padded", "RLE", "jp2klossless", "jpeg_ls_lossless"]
)
def test_scanner_files_of_all_syntaxes_hold_the_same_values(kind):
    expected = read_dicom(pydicom_file("MR_small.dcm"))
    found = read_dicom(pydicom_file(f"MR_small_{kind}.dcm"))
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.grid == expected.grid


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "SC_rgb_jpeg_gdcm.dcm"]
)
def test_files_of_others_are_as_gdcm_reads_them(name):
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(pydicom_file(name))))
    channels = np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]
    np.testing.assert_array_equal(read_dicom(pydicom_file(name)).array, channels)


def pydicom_file(name):
    return Path(get_testdata_file(name, download=False))


def test_values_of_the_header_are_neither_warned_of_nor_logged(tmp_path, volume, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, while it writes what it should not
        path = write_mammogram(
            tmp_path / "one.dcm", volume[0], "L", SeriesInstanceUID=UID_ROOT + "A"
        )
        edit(path, PatientID=PATIENT_ID * 10)
    caplog.clear()
    assert read_dicom(path).laterality == "L"
    assert patient_of(path) == PATIENT_ID * 10
    assert not caplog.records


def test_other_files_of_a_folder_are_passed_over(series):
    expected = read_dicom(series)
    for name in (".hidden", "._00.dcm", "DICOMDIR", "notes.txt", "thumbs.db", "regions.xml"):
        (series / name).write_bytes(b"something else")
    (series / "more").mkdir()
    np.testing.assert_array_equal(read_dicom(series).array, expected.array)


@pytest.mark.parametrize("name", ["IM0042", "1.2.826.5", "05.dcm", "05.IMA"])
def test_a_damaged_slice_is_not_passed_over(series, name):
    (series / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{name}: not a DICOM file \(it has no prefix DICM\)"):
        read_dicom(series)


@pytest.mark.parametrize("name", [None, "notes.txt", "README"])
def test_a_folder_without_dicom_files_is_refused(tmp_path, name):
    if name:
        (tmp_path / name).write_text("words")
    refused(tmp_path, f"{tmp_path.name}: no DICOM files in this folder")


def test_a_file_that_is_not_dicom_is_refused(tmp_path):
    (tmp_path / "one.dcm").write_text("words")
    refused(tmp_path / "one.dcm", r"one\.dcm: not a DICOM file")
    with pytest.raises(FileNotFoundError):
        read_dicom(tmp_path / "none.dcm")


def test_two_series_in_one_folder_are_refused(series, volume):
    write_dicom(series / "other.dcm", volume[0], SeriesInstanceUID=UID_ROOT + "2")
    refused(series, r"2 series in one folder \(files of each: [0-9a-f]{8}: 5, [0-9a-f]{8}: 1\)")


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (2, "slices 2 and 3 of 4 are 6 mm apart, the usual gap is 3 mm; is one missing?"),
        (1, "slices 1 and 2 of 4 are 6 mm apart, the usual gap is 3 mm; is one missing?"),
    ],
)
def test_a_missing_slice_is_found(tmp_path, volume, lost, message):
    write_series(tmp_path / "series", volume)[lost].unlink()
    refused(tmp_path / "series", message.replace("?", r"\?"))


def test_rounded_positions_are_no_missing_slice(tmp_path, volume):
    # Slices of 1.25 mm, whose positions were written with one digit.
    for file, height in zip(
        write_series(tmp_path / "series", volume), (0, 1.2, 2.5, 3.8, 5), strict=True
    ):
        edit(file, ImagePositionPatient=[0, 0, height])
    assert read_dicom(tmp_path / "series").grid.spacing_mm[0] == pytest.approx(1.25)


def test_slices_at_one_place_are_refused(tmp_path, volume):
    write_series(tmp_path / "series", volume)
    place = slice_tags((3.0, 2.0, 1.0), (10.0, 20.0, 30.0), np.eye(3), 2)
    write_dicom(tmp_path / "series" / "again.dcm", volume[2], **place)
    refused(tmp_path / "series", "1 of 6 slices lie where another one lies")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PixelSpacing": [2, 2]}, "differ in spacing: 4 of 5 have 2 1, others 2 2"),
        (
            {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
            "differ in orientation: 4 of 5 have 1 0 0 0 1 0, others 0 1 0 0 0 -1",
        ),
        ({"Rows": 8, "Columns": 6}, "differ in rows and columns: 4 of 5 have 6 8, others 8 6"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "slices of MONOCHROME1 and MONOCHROME2"),
        ({"ImagePositionPatient": [16, 20, 33]}, r"shifted in plane by up to 6 mm"),
        ({"ImagePositionPatient": None}, r"\.dcm: no ImagePositionPatient, which a series needs"),
        (
            {"ImageOrientationPatient": None, "PixelSpacing": []},
            "no ImageOrientationPatient and no PixelSpacing",
        ),
        ({"ImagePositionPatient": [1, 2]}, "ImagePositionPatient is not 3 numbers"),
        ({"PixelSpacing": [0, 1]}, "a spacing of 0 1 mm; it must be above 0"),
        ({"RescaleSlope": 0}, "RescaleSlope is 0"),
        ({"Rows": None}, r"no image, or cut short \(the header gives no Rows, no"),
    ],
)
def test_a_slice_unlike_the_others_is_refused(tmp_path, volume, tags, message):
    file = write_series(tmp_path / "series", volume)[1]
    edit(file, **tags)
    refused(tmp_path / "series", message)


def test_a_tilted_gantry_is_refused(tmp_path, volume):
    files = write_series(tmp_path / "series", volume)
    for index, file in enumerate(files):
        edit(file, ImagePositionPatient=[10, 20 + index, 30 + 3 * index])
    refused(tmp_path / "series", "shifted in plane by up to 4 mm, as with a tilted gantry")


def test_directions_must_be_at_right_angles(tmp_path, volume):
    tags = {"ImageOrientationPatient": [1, 0, 0, 0.5, 1, 0]}
    write_series(tmp_path / "series", volume, **tags)
    refused(tmp_path / "series", "ImageOrientationPatient is 1 0 0 0.5 1 0; two directions")


def test_rounded_directions_become_a_rotation(tmp_path, volume):
    rounded = [round(float(value), 3) for value in OBLIQUE[:, :2].T.flat]
    write_series(tmp_path / "series", volume, axes=OBLIQUE, ImageOrientationPatient=rounded)
    axes = np.reshape(read_dicom(tmp_path / "series").grid.direction, (3, 3))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(axes, OBLIQUE, atol=1e-3)


def test_a_single_image_needs_a_spacing(tmp_path, volume):
    path = write_dicom(tmp_path / "one.dcm", volume[0])
    refused(path, "neither PixelSpacing nor ImagerPixelSpacing nor NominalScannedPixelSpacing")


def test_indices_of_a_palette_are_no_values(tmp_path, volume):
    tags = {"PhotometricInterpretation": "PALETTE COLOR", "PixelSpacing": [1, 1]}
    refused(write_dicom(tmp_path / "one.dcm", volume[0], **tags), "'PALETTE COLOR' is not read")


def test_frames_without_positions_are_refused(tmp_path, volume):
    path = write_dicom(tmp_path / "one.dcm", volume, NumberOfFrames=5, PixelSpacing=[1, 1])
    refused(path, "5 frames, of which 0 have a position of their own")


STATED_MM = (3, 0.5, 0.25)


@pytest.mark.parametrize("tags", [{}, {"PixelSpacing": [0, 0]}])
def test_the_spacing_of_a_single_image_may_be_stated(tmp_path, volume, tags):
    image = read_dicom(write_dicom(tmp_path / "one.dcm", volume[0], **tags), STATED_MM)
    assert (image.grid.spacing_mm, image.stated) == ((1, 0.5, 0.25), ["spacing of pixels"])
    given = write_dicom(tmp_path / "two.dcm", volume[0], PixelSpacing=[2, 2])
    assert (read_dicom(given, STATED_MM).grid.spacing_mm, read_dicom(given).stated) == (
        (1, 2, 2),
        [],
    )


def test_the_distance_of_frames_may_be_stated(tmp_path, volume):
    path = write_dicom(tmp_path / "one.dcm", volume, NumberOfFrames=5)
    image = read_dicom(path, STATED_MM)
    np.testing.assert_array_equal(image.array[0], volume)
    assert image.grid == Grid(volume.shape, STATED_MM, (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert image.stated == ["places of the frames", "spacing of pixels"]


def test_the_pixels_of_a_series_may_be_stated(tmp_path, volume):
    write_series(tmp_path / "series", volume, PixelSpacing=None)
    assert read_dicom(tmp_path / "series", STATED_MM).grid.spacing_mm[1:] == (0.5, 0.25)


def test_missing_pixel_data_are_refused(tmp_path, volume):
    path = write_dicom(tmp_path / "one.dcm", volume[0], PixelSpacing=[1, 1])
    edit(path, PixelData=None)
    refused(path, "the pixel data are missing or cut short")


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, pixels, syntax, kept):
    path = write_dicom(tmp_path / "one.dcm", pixels, syntax, PixelSpacing=[1, 1])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    refused(path, r"one\.dcm: .*(cut short|damaged|cannot be decoded)")


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("MR_small_RLE.dcm", "RLE Lossless"),
        ("MR_small_jp2klossless.dcm", "JPEG 2000"),
        ("MR_small_jpeg_ls_lossless.dcm", "JPEG-LS Lossless"),
        ("SC_rgb_jpeg_gdcm.dcm", "JPEG Lossless"),
        ("SC_rgb_jpeg_dcmtk.dcm", "JPEG Baseline"),
        ("JPGExtended.dcm", "JPEG Extended"),
    ],
)
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_truncated_frame_is_refused(tmp_path, name, syntax, kept):
    dataset = pydicom.dcmread(pydicom_file(name))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: int(kept * len(frame)) // 2 * 2]])
    dataset.save_as(tmp_path / "one.dcm")
    refused(tmp_path / "one.dcm", rf"pixel data \({syntax}.* cannot be decoded")


def test_a_syntax_without_decoder_is_named(tmp_path, volume):
    dataset = make_dicom(volume[0], PixelSpacing=[1, 1])
    dataset.PixelData = encapsulate([b"some film\xff\xd9 "])
    dataset["PixelData"].is_undefined_length = True
    path = save_dicom(tmp_path / "one.dcm", dataset)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    dataset.save_as(path, enforce_file_format=True)
    refused(
        path, r"pixel data \(MPEG-4 AVC/H\.264 High Profile.*\) cannot be decoded \(No .* decoders"
    )


def test_dicom_is_known_by_its_prefix_or_suffix(tmp_path, volume, series):
    assert is_dicom(write_dicom(tmp_path / "IM0001", volume[0]))
    (tmp_path / "one.DCM").touch()
    (tmp_path / "notes").write_text("words")
    (tmp_path / "empty").mkdir()
    assert is_dicom(tmp_path / "one.DCM")
    assert is_dicom(series)
    assert not is_dicom(tmp_path / "notes")
    assert not is_dicom(tmp_path / "empty")


def test_the_patient_is_read_from_a_file_or_a_series(tmp_path, volume, series):
    assert patient_of(series) == PATIENT_ID
    assert patient_of(next(series.iterdir())) == PATIENT_ID
    for identifier in ("", None):
        path = write_dicom(tmp_path / "one.dcm", volume[0], PatientID=identifier)
        assert patient_of(path) == ""
    (tmp_path / "two.dcm").write_text("words")
    with pytest.raises(ValueError, match=r"two\.dcm: not a DICOM file"):
        patient_of(tmp_path / "two.dcm")
