import gzip
import re
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from segflow.images.nifti import read_image
from segflow.images.raw_files import is_clean, knows_its_grid, read_label_map, read_volume

READING = {"spacing_mm": [3, 2, 1], "picture_mode": "grey", "contours": ["Mass"]}
ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
QUARTER_TURN = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_every_format_gives_what_simpleitk_reads(draw, tmp_path, suffix, dtype):
    path = draw(tmp_path / f"image{suffix}", ARRAY.astype(dtype), direction=QUARTER_TURN)
    volume = read_volume(path, READING)
    array, grid = read_image(path)
    assert (volume.array.dtype, volume.grid, volume.repairs) == (dtype, grid, [])
    np.testing.assert_array_equal(volume.array, array)


def test_the_last_axis_of_four_holds_the_channels(draw, tmp_path):
    paths = [draw(tmp_path / f"{number}.nii.gz", ARRAY + 100 * number) for number in range(3)]
    both = sitk.JoinSeries([sitk.ReadImage(str(path)) for path in paths])
    sitk.WriteImage(both, str(tmp_path / "all.nii.gz"))
    volume = read_volume(tmp_path / "all.nii.gz", READING)
    assert volume.grid == read_image(paths[0])[1]
    for number in range(3):
        np.testing.assert_array_equal(volume.array[number], ARRAY + 100 * number)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 400])
def test_what_is_no_nifti_is_said_to_be_none(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(ValueError, match=rf"{name}: cannot be read as NIfTI"):
        read_volume(path, READING)


def sheared(path, amount):
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[0, 1] = 2 * amount
    nibabel.save(nibabel.Nifti1Image(ARRAY.T, affine), path)
    return path


def test_axes_that_are_nearly_at_right_angles_are_mended(tmp_path):
    volume = read_volume(sheared(tmp_path / "a.nii.gz", 0.01), READING)
    assert len(volume.repairs) == 1
    matrix = np.reshape(volume.grid.direction, (3, 3))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert volume.grid.spacing_mm == pytest.approx((3, 2, 2), rel=1e-3)


def test_sheared_axes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.nii\.gz: the axes are not at right angles"):
        read_volume(sheared(tmp_path / "a.nii.gz", 0.2), READING)


def test_an_array_is_read_as_row_column_slice_with_the_data_sets_spacing(tmp_path):
    np.save(tmp_path / "a.npy", np.moveaxis(ARRAY, 0, -1).astype(np.float64))
    volume = read_volume(tmp_path / "a.npy", READING)
    np.testing.assert_array_equal(volume.array[0], ARRAY)
    assert volume.array.dtype == np.float32
    assert (volume.grid.shape, volume.grid.spacing_mm) == ((2, 3, 4), (3, 2, 1))


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 0, 3)), np.zeros((1, 2, 3, 4))])
def test_an_array_needs_two_or_three_axes(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=r"a\.npy: needs 2 or 3 axes that are not empty"):
        read_volume(tmp_path / "a.npy", READING)


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy: cannot be read as an array"):
        read_volume(tmp_path / "a.npy", READING)


def test_a_damaged_metaimage_is_noticed(draw, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (8, 32, 32), np.uint8)
    path = draw(tmp_path / "a.mha", noise)
    content = bytearray(path.read_bytes())
    assert b"CompressedData = True" in content
    content[-1] ^= 0xFF  # of the checksum
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mha: .*damaged compressed data"):
        read_volume(path, READING)


def test_a_label_map_has_one_channel(draw, tmp_path):
    paths = [draw(tmp_path / f"{number}.nii.gz", ARRAY) for number in range(2)]
    both = sitk.JoinSeries([sitk.ReadImage(str(path)) for path in paths])
    sitk.WriteImage(both, str(tmp_path / "all.nii.gz"))
    with pytest.raises(ValueError, match="a label map has one channel, found 2"):
        read_label_map(tmp_path / "all.nii.gz", (2, 3, 4), READING)


@pytest.mark.parametrize(
    ("name", "grid"),
    [("a_0000.nii.gz", True), ("a.b.PNG", False), ("a.NPY", False), ("a.xml", False), ("a", True)],
)
def test_pictures_arrays_and_contours_know_no_grid(tmp_path, name, grid):
    assert knows_its_grid(tmp_path / name) == grid


@pytest.mark.parametrize("name", ["a.NII.GZ", "a.Nii.Gz", "a.nii.GZ", "a.NII", "a.NRRD", "a.MHA"])
def test_the_case_of_a_suffix_changes_nothing(draw, tmp_path, name):
    lower = draw(tmp_path / name.lower(), ARRAY)
    path = tmp_path / name
    lower.rename(path)
    np.testing.assert_array_equal(read_volume(path, READING).array[0], ARRAY)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"damaged|cannot be read"):
        read_volume(path, READING)


@pytest.mark.parametrize("name", ["a.NII.GZ", "a.NII"])
def test_nan_is_kept_whatever_the_case_of_the_suffix(tmp_path, name):
    array = np.where(ARRAY == 5, np.nan, ARRAY)
    path = tmp_path / name
    nibabel.Nifti1Image(array.T, np.eye(4)).to_filename(tmp_path / name.lower())
    (tmp_path / name.lower()).rename(path)
    assert np.isnan(read_volume(path, READING).array).sum() == 1


def test_an_upper_case_array_is_read(tmp_path):
    with (tmp_path / "a.NPY").open("wb") as file:
        np.save(file, ARRAY)
    assert read_volume(tmp_path / "a.NPY", READING).array.shape == (1, 4, 2, 3)


def save(path, **texts):
    image = nibabel.Nifti1Image(ARRAY.T, np.eye(4))
    for name, text in texts.items():
        image.header[name] = text
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("texts", [{}, {"descrip": b"FSL5.0"}, {"aux_file": b"none"}])
def test_a_header_without_words_is_clean(tmp_path, texts):
    assert is_clean(save(tmp_path / "a.nii.gz", **texts))


@pytest.mark.parametrize("field", ["descrip", "aux_file", "intent_name", "db_name"])
def test_a_header_with_words_is_not(tmp_path, field):
    assert not is_clean(save(tmp_path / "a.nii.gz", **{field: b"Doe John"}))


def test_a_name_in_the_gzip_header_or_an_extension_is_not_clean(tmp_path):
    content = gzip.decompress(save(tmp_path / "a.nii.gz").read_bytes())
    with gzip.open(tmp_path / "doe.nii.gz", "wb") as file:  # stores the name
        file.write(content)
    assert not is_clean(tmp_path / "doe.nii.gz")
    image = nibabel.Nifti1Image(ARRAY.T, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"John Doe"))
    nibabel.save(image, tmp_path / "extended.nii.gz")
    assert not is_clean(tmp_path / "extended.nii.gz")


def with_spacings(path, pixdim, sform=None):
    """Write a NIfTI file whose header gives these spacings along x, y, z, and this sform."""
    content = bytearray(nibabel.Nifti1Image(ARRAY.T, np.eye(4)).to_bytes())
    struct.pack_into("<3f", content, 80, *pixdim)
    struct.pack_into("<2h", content, 252, 0, 0 if sform is None else 1)
    for row, values in enumerate([] if sform is None else np.diag([*sform, 1.0])[:3]):
        struct.pack_into("<4f", content, 280 + 16 * row, *values)
    path.write_bytes(content)
    return path


UNSTATED = {key: value for key, value in READING.items() if key != "spacing_mm"}


@pytest.mark.parametrize(
    ("pixdim", "sform", "spacing_mm"),
    [
        ((1, 2, 4), None, (4, 2, 1)),
        ((1, -2, 4), None, (4, 2, 1)),
        ((1, -2, 4), (1, 2, 4), (4, 2, 1)),
        ((1, 2, 4), (1, -2, 4), (4, 2, 1)),
        ((1, 0, 4), (1, 2, 4), (4, 2, 1)),
        ((1, np.nan, 4), (1, 2, 4), (4, 2, 1)),
    ],
)
def test_a_spacing_that_the_header_gives_anywhere_is_known(tmp_path, pixdim, sform, spacing_mm):
    volume = read_volume(with_spacings(tmp_path / "a.nii", pixdim, sform), UNSTATED)
    assert volume.grid.spacing_mm == pytest.approx(spacing_mm)
    assert bool(volume.repairs) == (not pixdim[1] > 0)


@pytest.mark.parametrize(
    ("pixdim", "sform", "message"),
    [
        ((1, 0, 4), None, "the header gives no spacing along y"),
        ((1, 2, np.nan), None, "the header gives no spacing along z"),
        ((1, 2, 5), (1, 2, 4), "the spacing along z is 5 mm by pixdim and 4 mm by the sform"),
    ],
)
def test_a_spacing_that_cannot_be_known_must_be_stated(tmp_path, pixdim, sform, message):
    path = with_spacings(tmp_path / "a.nii", pixdim, sform)
    with pytest.raises(ValueError, match=rf"{message}; mend the header or state reading.spacing_m"):
        read_volume(path, UNSTATED)
    volume = read_volume(path, READING)
    wrong = [axis for axis, word in enumerate("zyx") if f"along {word}" in message]
    expected = [4, 2, 1]
    expected[wrong[0]] = READING["spacing_mm"][wrong[0]]
    assert volume.grid.spacing_mm == pytest.approx(expected)
    assert len(volume.repairs) == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [("a.mha", rb"ElementSpacing = .*\n"), ("a.nrrd", rb"space directions: .*\n")],
)
def test_a_text_header_without_spacing_must_be_helped(draw, tmp_path, name, line):
    path = draw(tmp_path / name, ARRAY)
    path.write_bytes(re.sub(line, b"", path.read_bytes(), count=1))
    with pytest.raises(ValueError, match=rf"{name}: the header gives no spacing along x"):
        read_volume(path, UNSTATED)
    assert read_volume(path, READING).grid.spacing_mm == (3, 2, 1)


def test_one_slice_needs_no_spacing_across(tmp_path):
    content = bytearray(nibabel.Nifti1Image(ARRAY[:1].T, np.eye(4)).to_bytes())
    struct.pack_into("<3f", content, 80, 2, 2, 0)
    struct.pack_into("<2h", content, 252, 0, 0)
    (tmp_path / "a.nii").write_bytes(content)
    assert read_volume(tmp_path / "a.nii", UNSTATED).grid.spacing_mm == (1, 2, 2)
