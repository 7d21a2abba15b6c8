import base64
import gzip
import io
import json

import numpy as np
import pytest
from PIL import Image

from segflow.images.display import windowed
from segflow.report.viewer import ViewedCase, steps_of, write_script

LABELS = {"background": 0, "one": 1, "two": 2, "ignore": 3}


def read(script):
    """Return name and content of a case, as the page would get them."""
    assert script.startswith("segflowCase(")
    name, content = json.loads("[" + script.removeprefix("segflowCase(").rstrip(");\n") + "]")
    return name, content


def unpack(content, name):
    text = content["maps"][name]
    while text.startswith("="):
        text = content["maps"][text[1:]]
    values = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)
    return values.reshape(content["shape"])


def picture(content, name):
    data = content["images"][name].removeprefix("data:image/jpeg;base64,")
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))


def test_voxels_lie_as_they_are_shown(make_grid):
    """Of an image in RAS, x and y turn round: the first voxel, right and back, comes last."""
    labels = np.zeros((2, 3, 4), np.int16)
    labels[0, 0, 0] = 1  # lowest, hindmost, rightmost
    labels[1, 2, 3] = 2
    ras = (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)  # direction cosines in ITK's LPS
    grid = make_grid(labels.shape, direction=ras)
    # In ITK, the direction -1, -1, 1 grows to the right and forwards: an image in RAS.
    case = ViewedCase("d/c", {"MRI": np.zeros(labels.shape)}, frozenset(), {"m/raw": labels}, grid)
    name, content = read(write_script(case, LABELS))
    assert name == "d/c"
    assert content["shape"] == [2, 3, 4]
    assert content["spacing"] == [3, 2, 1]
    expected = labels[:, ::-1, ::-1]
    np.testing.assert_array_equal(unpack(content, "m/raw"), expected)


def test_axes_in_another_order_are_brought_in_line(make_grid):
    """A sagittal series: the file's z goes to the left, its y upwards, its x backwards."""
    labels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    # Columns are where x, y and z of the file point: x backwards, y upwards, z to the left.
    grid = make_grid(labels.shape, direction=(0.0, 0, 1, 1, 0, 0, 0, 1, 0))
    case = ViewedCase("d/c", {"MRI": np.zeros(labels.shape)}, frozenset(), {"m/raw": labels}, grid)
    content = read(write_script(case, {"background": 0}))[1]
    assert content["shape"] == [3, 4, 2]  # upwards, backwards, to the left
    assert content["spacing"] == [2, 1, 3]
    np.testing.assert_array_equal(unpack(content, "m/raw"), labels.transpose(1, 2, 0))


def test_equal_maps_are_there_once_and_nothing_ignored_is_shown(make_grid):
    reference = np.zeros((1, 4, 4), np.int16)
    reference[0, 0], reference[0, 1] = 1, 3
    said = np.full((1, 4, 4), 2, np.int16)
    maps = {"reference": reference, "m/raw": said, "m/postprocessed": said.copy()}
    case = ViewedCase("d/c", {"US": np.ones((1, 4, 4))}, frozenset(), maps, make_grid((1, 4, 4)))
    content = read(write_script(case, LABELS))[1]
    assert content["maps"]["m/postprocessed"] == "=m/raw"
    shown = unpack(content, "m/postprocessed")
    assert (shown[0, 1] == 0).all()
    assert (shown[0, [0, 2, 3]] == 2).all()
    assert unpack(content, "reference").sum() == 4
    assert reference.sum() == 16  # the case itself is as it was


def test_slices_are_rows_and_columns_of_one_picture(make_grid):
    image = np.zeros((3, 8, 8), np.float32)
    for place in range(3):
        image[place] = 100 + 50 * place
    lps = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
    grid = make_grid(image.shape, direction=lps)
    case = ViewedCase("d/c", {"CT": image}, frozenset({"CT"}), {"m/raw": image * 0}, grid)
    found = picture(read(write_script(case, LABELS))[1], "CT")
    assert found.shape == (16, 16)  # two beside two, one of which stays black
    # 255 / 450 grey values an HU from -175 on.
    for (row, column), value in {(0, 0): 156, (0, 8): 184, (8, 0): 213, (8, 8): 0}.items():
        assert abs(int(found[row + 4, column + 4]) - value) <= 2


def test_values_that_are_no_numbers_and_empty_images_are_black():
    assert windowed(np.array([np.nan, 0.0, 0.0]), ct=False).tolist() == [0, 0, 0]
    grey = windowed(np.array([0.0, 1.0, 2.0, 3.0, np.inf]), ct=False)
    assert grey[0] == 0
    assert grey[3] == 255


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "expected"),
    [
        ((10, 100, 100), (3, 1, 1), [1, 1, 1]),
        ((100, 512, 512), (3, 0.8, 0.8), [1, 3, 3]),
        ((1, 4096, 3328), (1, 0.07, 0.07), [1, 2, 2]),
        ((300, 300, 300), (1, 1, 1), [2, 2, 2]),
    ],
)
def test_large_images_are_thinned_along_their_finest_axes(make_grid, shape, spacing_mm, expected):
    assert steps_of(make_grid(shape, spacing_mm=spacing_mm)) == expected


def test_a_thinned_case_has_the_spacing_of_what_is_left(make_grid):
    shape = (1, 2100, 2100)
    labels = np.zeros(shape, np.uint8)
    labels[0, 2, 4] = 1
    case = ViewedCase(
        "d/c", {"X": labels}, frozenset(), {"m/raw": labels}, make_grid(shape, spacing_mm=(1, 1, 1))
    )
    content = read(write_script(case, LABELS))[1]
    assert content["full"] == [1, 2100, 2100]
    assert content["shape"] == [1, 1050, 1050]
    assert content["spacing"] == [1, 2, 2]
    assert np.argwhere(unpack(content, "m/raw")).tolist() == [[0, 1, 2]]
