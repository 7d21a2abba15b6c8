from itertools import permutations, product

import numpy as np
import pytest

from segflow.images.identity import voxel_key

IMAGE = np.random.default_rng(1).integers(-500, 500, (3, 4, 4)).astype(np.int16)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64, ">i2"])
def test_the_data_type_does_not_count(dtype):
    assert voxel_key(IMAGE.astype(dtype)) == voxel_key(IMAGE)


def test_order_and_direction_of_axes_do_not_count():
    turned = [
        IMAGE.transpose(axes)[tuple(slice(None, None, step) for step in steps)]
        for axes in permutations(range(3))
        for steps in product((1, -1), repeat=3)
    ]
    assert {voxel_key(array) for array in turned} == {voxel_key(IMAGE)}


def test_another_voxel_or_another_shape_is_another_image():
    other = IMAGE.copy()
    other[1, 2, 3] += 1
    swapped = IMAGE.copy()
    swapped[0, 0, [0, 1]] = IMAGE[0, 0, [1, 0]]
    keys = [voxel_key(array) for array in (IMAGE, other, swapped, IMAGE.reshape(4, 3, 4))]
    assert len(set(keys)) == 4


def test_minus_zero_is_zero():
    image = np.array([[[0.0, 1.0]]])
    assert voxel_key(image) == voxel_key(np.array([[[-0.0, 1.0]]]))


@pytest.mark.parametrize("value", [0, -7])
def test_a_constant_image_has_no_key(value):
    assert voxel_key(np.full((2, 3, 4), value)) == ""
