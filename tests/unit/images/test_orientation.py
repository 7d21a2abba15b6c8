from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIOWithReorient

from segflow.images.nifti import read_image
from segflow.images.orientation import (
    LETTERS,
    orientation_of,
    reorient,
    reorient_grid,
    with_flat_axis_last,
)

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ORIENTATIONS = ["".join(letters) for lines in permutations(LETTERS) for letters in product(*lines)]


@pytest.fixture
def stored(draw, tmp_path):
    """Store the array in an orientation, of which SimpleITK makes the file."""

    def stored(orientation):
        path = draw(tmp_path / "lps.nii.gz", ARRAY)
        turned = sitk.DICOMOrient(sitk.ReadImage(str(path)), orientation)
        sitk.WriteImage(turned, str(tmp_path / f"{orientation}.nii.gz"))
        return tmp_path / f"{orientation}.nii.gz"

    return stored


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientations_are_those_of_itk(stored, orientation):
    (array,), grid = read_image(stored(orientation))
    assert orientation_of(grid) == orientation
    np.testing.assert_array_equal(reorient(array, orientation, "LPS"), ARRAY)
    np.testing.assert_array_equal(reorient(ARRAY[None], "LPS", orientation)[0], array)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
def test_nnunets_reader_does_what_is_undone_here(stored, orientation):
    path = stored(orientation)
    array, properties = SimpleITKIOWithReorient().read_images([str(path)])
    original = properties["sitk_stuff"]["original_orientation"]
    np.testing.assert_array_equal(reorient(array, "RAS", original), read_image(path)[0])


@pytest.mark.parametrize("orientation", ORIENTATIONS[::7])
def test_voxels_keep_their_place(stored, orientation):
    (_, grid), (_, other) = (read_image(stored(name)) for name in ("LPS", orientation))
    found = reorient_grid(grid, orientation)
    assert found.shape == other.shape
    for name in ("spacing_mm", "origin_mm", "direction"):
        assert getattr(found, name) == pytest.approx(getattr(other, name), abs=1e-4)


def test_an_oblique_grid_has_the_orientation_of_the_nearest_axes(make_grid):
    angle = np.radians(30)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, -1]]
    assert orientation_of(make_grid(ARRAY.shape, direction=tuple(np.ravel(turn)))) == "LPI"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((48, 1, 40), "LSP"),
        ((48, 40, 1), "PSL"),
        ((1, 48, 40), "LPS"),
        ((3, 4, 5), "LPS"),
        ((1, 1, 5), "LPS"),
    ],
)
def test_the_flat_axis_becomes_z(make_grid, shape, expected):
    grid = make_grid(shape)
    assert with_flat_axis_last(grid) == expected
    if expected != "LPS":
        assert reorient_grid(grid, expected).shape[0] == 1


def test_a_flat_image_has_no_orientation(make_grid):
    flat = replace(make_grid((1, 3, 4)), origin_mm=(0.0, 0.0), direction=(1.0, 0.0, 0.0, 1.0))
    assert orientation_of(flat) == with_flat_axis_last(flat) == ""
