import gzip
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from segflow.images.nifti import (
    Grid,
    describe_difference,
    read_grid,
    read_image,
    read_labels,
    write_image,
)

OBLIQUE = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # a quarter turn around z


@pytest.fixture
def grid(make_grid):
    return make_grid((2, 3, 4), direction=OBLIQUE)


def assert_same(one, other):
    assert one.shape == other.shape
    for name in ("spacing_mm", "origin_mm", "direction"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_array_and_grid_survive_the_round_trip(tmp_path, grid, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    write_image(tmp_path / "image.nii.gz", array, grid)
    found, found_grid = read_image(tmp_path / "image.nii.gz")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array[None])
    assert_same(found_grid, grid)
    assert_same(read_grid(tmp_path / "image.nii.gz"), grid)


def test_axes_are_those_of_simpleitk(tmp_path, grid):
    array = np.zeros((2, 3, 4), np.uint8)
    array[1, 2, 3] = 7
    write_image(tmp_path / "image.nii.gz", array, grid)
    image = sitk.ReadImage(str(tmp_path / "image.nii.gz"))
    assert image.GetPixel(3, 2, 1) == 7
    # From the origin (10, 20, 30): 3 mm along x turned into -y, 4 mm along y turned into x.
    assert image.TransformIndexToPhysicalPoint((3, 2, 1)) == pytest.approx((14, 17, 33))


def test_a_2d_image_has_one_slice(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "image.png"))
    found, grid = read_image(tmp_path / "image.png")
    np.testing.assert_array_equal(found, array[None, None])
    assert grid == Grid((1, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    assert read_grid(tmp_path / "image.png") == grid


def test_a_2d_label_map_is_written_on_the_grid_of_its_image(tmp_path):
    grid = Grid((1, 3, 4), (1.0, 2.0, 0.5), (5.0, 6.0), (1.0, 0.0, 0.0, 1.0))
    array = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    write_image(tmp_path / "labels.nii.gz", array, grid)
    found, found_grid = read_labels(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(found, array)
    assert found_grid == grid


def test_colours_become_channels(tmp_path):
    array = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)  # (y, x, colour)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "image.png"))
    found, grid = read_image(tmp_path / "image.png")
    np.testing.assert_array_equal(found[:, 0], array.transpose(2, 0, 1))
    assert grid.shape == (1, 3, 4)
    with pytest.raises(ValueError, match=r"image\.png: a label map has one channel, found 3"):
        read_labels(tmp_path / "image.png")


def test_the_last_axis_of_a_4d_image_holds_channels(tmp_path, grid):
    channels = np.arange(48, dtype=np.float32).reshape(2, 2, 3, 4)
    for number, channel in enumerate(channels):
        write_image(tmp_path / f"{number}.nii.gz", channel, grid)
    parts = [sitk.ReadImage(str(tmp_path / f"{number}.nii.gz")) for number in range(2)]
    sitk.WriteImage(sitk.JoinSeries(parts), str(tmp_path / "all.nii.gz"))
    found, found_grid = read_image(tmp_path / "all.nii.gz")
    np.testing.assert_array_equal(found, channels)
    assert_same(found_grid, grid)
    assert_same(read_grid(tmp_path / "all.nii.gz"), grid)


@pytest.mark.parametrize("read", [read_image, read_labels, read_grid])
def test_an_unreadable_file_is_named(tmp_path, read):
    path = tmp_path / "image.nii.gz"
    path.write_text("not an image")
    with pytest.raises(ValueError, match=r"image\.nii\.gz: cannot be read \("):
        read(path)
    with pytest.raises(ValueError, match=r"missing\.nii\.gz: cannot be read \("):
        read(tmp_path / "missing.nii.gz")


def test_array_and_grid_must_fit(tmp_path, grid):
    with pytest.raises(ValueError, match=r"array of shape \(2, 3, 5\) on a grid of \(2, 3, 4\)"):
        write_image(tmp_path / "image.nii.gz", np.zeros((2, 3, 5)), grid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("", "")),
        ({"spacing_mm": (3.0, 2.0, 1.0 + 1e-7)}, ("", "")),
        ({"spacing_mm": (3.0, 2.0, 1.0001)}, ("", "spacing")),
        ({"spacing_mm": (3.0, 2.0, 1.1)}, ("spacing (3 2 1 against 3 2 1.1)", "")),
        ({"origin_mm": (10.0001, 20.0, 30.0)}, ("", "origin")),
        ({"origin_mm": (11.0, 20.0, 30.0)}, ("origin (10 20 30 against 11 20 30)", "")),
        ({"direction": (1, 1e-4, 0, -1e-4, 1, 0, 0, 0, 1)}, ("", "direction")),
        (
            {"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)},
            ("direction (1 0 0 0 1 0 0 0 1 against -1 0 0 0 -1 0 0 0 1)", ""),
        ),
        ({"shape": (2, 3, 5)}, ("shape (2 3 4 against 2 3 5)", "")),
    ],
)
def test_describe_difference_tells_rounding_from_another_place(make_grid, changes, expected):
    grid = make_grid((2, 3, 4))
    assert describe_difference(grid, replace(grid, **changes)) == expected


FLAT = {"origin_mm": (10.0, 20.0), "direction": (1.0, 0.0, 0.0, 1.0)}


@pytest.mark.parametrize(
    ("changes", "mismatch"),
    [
        ({}, ""),
        ({"spacing_mm": (1.0, 2.0, 1.0)}, ""),
        ({"spacing_mm": (1.0, 2.0, 5.0)}, "spacing (1 2 1 against 1 2 5)"),
        ({"origin_mm": (10.0, 25.0)}, "origin (10 20 against 10 25)"),
        ({"direction": (-1.0, 0.0, 0.0, 1.0)}, "direction (1 0 0 1 against -1 0 0 1)"),
    ],
)
def test_a_slice_is_compared_with_a_flat_image_in_what_both_have(make_grid, changes, mismatch):
    one = make_grid((1, 3, 4))
    flat = replace(one, **{"spacing_mm": (1.0, 2.0, 1.0), **FLAT, **changes})
    assert describe_difference(one, flat) == (mismatch, "dimensions (3 against 2)")


def test_a_sagittal_slice_is_compared_by_spacing_alone(make_grid):
    sagittal = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    one = make_grid((1, 3, 4), direction=sagittal)
    flat = replace(one, **FLAT)
    assert describe_difference(flat, one) == ("", "dimensions (2 against 3)")
    moved = replace(flat, spacing_mm=(1.0, 2.0, 3.0))
    assert describe_difference(moved, one)[0] == "spacing (1 2 3 against 1 2 1)"


def test_voxels_of_either_byte_order_are_written_alike(tmp_path, make_grid):
    array = np.arange(24, dtype=">f4").reshape(2, 3, 4)
    write_image(tmp_path / "image.nii.gz", array, make_grid((2, 3, 4)))
    np.testing.assert_array_equal(read_image(tmp_path / "image.nii.gz")[0][0], array)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", ">u4", "<i8", "<f4"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 4), (3, 4)])
def test_label_maps_are_read_as_images_are(tmp_path, dtype, shape):
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = nibabel.Nifti1Image(voxels.T, np.diag([2.0, 3.0, 4.0, 1.0]), dtype=dtype)
    if ">" in dtype:
        header = image.header.as_byteswapped(">")
        image = nibabel.Nifti1Image(voxels.T, image.affine, header)
    path = tmp_path / "labels.nii.gz"
    nibabel.save(image, path)
    (expected,), grid = read_image(path)
    found, found_grid = read_labels(path)
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found_grid) == (expected.dtype, grid)
    assert found.flags.writeable


@pytest.mark.parametrize(
    "changes", [{"scl_slope": 2.0, "scl_inter": 1.0}, {"vox_offset": 368}, {"scl_slope": 0.0}]
)
def test_label_maps_of_other_headers_are_read_as_images_are(tmp_path, make_grid, changes):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    write_image(tmp_path / "plain.nii.gz", voxels, make_grid(voxels.shape))
    content = gzip.decompress((tmp_path / "plain.nii.gz").read_bytes())
    header = nibabel.Nifti1Header(content[:348])
    for name, value in changes.items():
        header[name] = value
    path = tmp_path / "labels.nii.gz"
    margin = bytes(int(header["vox_offset"]) - 348)
    path.write_bytes(gzip.compress(header.binaryblock + margin + content[352:]))
    (expected,), grid = read_image(path)
    found, found_grid = read_labels(path)
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found_grid) == (expected.dtype, grid)


def test_a_4d_label_map_of_one_channel_is_read(tmp_path):
    voxels = np.arange(24, dtype=np.uint8).reshape(4, 3, 2, 1)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "labels.nii.gz")
    found, grid = read_labels(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(found, voxels[..., 0].T)
    assert grid.shape == (2, 3, 4)


def test_a_label_map_that_is_not_compressed_in_spite_of_its_name_is_read(tmp_path, make_grid):
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_image(tmp_path / "labels.nii.gz", voxels, make_grid(voxels.shape))
    content = (tmp_path / "labels.nii.gz").read_bytes()
    (tmp_path / "labels.nii.gz").write_bytes(gzip.decompress(content))
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz")[0], voxels)


@pytest.mark.parametrize("length", [10, 60, -9, -4, -1])
def test_a_truncated_label_map_is_refused(tmp_path, make_grid, length):
    path = tmp_path / "labels.nii.gz"
    voxels = np.random.default_rng(0).integers(0, 9, (2, 30, 40)).astype(np.uint8)
    write_image(path, voxels, make_grid(voxels.shape))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(
        ValueError, match=r"labels\.nii\.gz: cannot be read \(Compressed file ended"
    ):
        read_labels(path)


def test_a_damaged_label_map_is_refused(tmp_path, make_grid):
    path = tmp_path / "labels.nii.gz"
    voxels = np.zeros((2, 3, 4), np.uint8)
    write_image(path, voxels, make_grid(voxels.shape))
    content = path.read_bytes()
    path.write_bytes(content[:-8] + b"0000" + content[-4:])
    with pytest.raises(ValueError, match=r"labels\.nii\.gz: cannot be read \(CRC check failed"):
        read_labels(path)
    path.write_bytes(gzip.compress(gzip.decompress(content)[:-5]))
    with pytest.raises(ValueError, match=r"\(19 bytes of voxels, its header says 24\)"):
        read_labels(path)
