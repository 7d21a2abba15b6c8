import numpy as np
import pytest

from segflow.images.nifti import Grid
from segflow.images.preparation import drop_blank_slices, follow, prepare_mammogram
from segflow.images.raw_files import Volume

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
FLAT = (1.0, 0.0, 0.0, 1.0)


def volume(array):
    array = np.asarray(array, np.float32)
    return Volume(array, Grid(array.shape[1:], (3.0, 2.0, 1.0), (0.0, 0.0, 0.0), AXIAL))


def test_slices_that_are_blank_in_every_channel_are_dropped_from_image_and_reference():
    array = np.zeros((2, 4, 2, 2))
    array[0, 1, 0, 0] = array[1, 2, 0, 0] = 1  # slices 0 and 3 are blank
    labels = np.zeros((4, 2, 2), np.uint8)
    labels[1:3, 0, 0], labels[3, 1, 1] = 1, 1
    found, label_map, notes = drop_blank_slices(volume(array), labels)
    np.testing.assert_array_equal(found.array, array[:, 1:3])
    np.testing.assert_array_equal(label_map, labels[1:3])
    assert found.grid.shape == (2, 2, 2)
    assert notes == [
        "2 of 4 slices are blank",
        "1 voxel of the reference on blank slices",
    ]


def test_an_image_without_blank_slices_stays_the_same():
    whole = volume(np.arange(8).reshape(1, 2, 2, 2))
    found, label_map, notes = drop_blank_slices(whole, None)
    assert found is whole
    assert (label_map, notes) == (None, [])


def test_an_image_of_blank_slices_is_refused():
    with pytest.raises(ValueError, match="every slice is blank"):
        drop_blank_slices(volume(np.ones((1, 2, 2, 2))), None)


@pytest.mark.parametrize(
    ("flipped", "origin", "direction"),
    [
        # The box starts at row 2, column 1 and ends before row 5, column 4.
        (False, (10 + 1 * 0.5, 20 + 2 * 2.0), (1, 0, 0, 1)),
        (True, (10 + 3 * 0.5, 20 + 2 * 2.0), (-1, 0, 0, 1)),
    ],
)
def test_each_pixel_keeps_its_place(flipped, origin, direction):
    grid = Grid((1, 6, 7), (1.0, 2.0, 0.5), (10.0, 20.0), FLAT)
    found = follow(grid, (slice(2, 5), slice(1, 4)), flipped)
    assert found == Grid((1, 3, 3), (1.0, 2.0, 0.5), origin, direction)


def test_a_mammogram_has_one_slice():
    with pytest.raises(ValueError, match="one slice and one channel, found 2 and 1"):
        prepare_mammogram(volume(np.zeros((1, 2, 4, 4))), None, {}, "")
