import numpy as np
import pandas as pd
import pytest
from PIL import Image

from segflow.images.nifti import write_image
from segflow.predictors.findings import Findings, describe_case, measure_labels, write_tables

LABELS = {"background": 0, "organ": 1, "lesion": 2}
REGIONS = {"background": 0, "whole": [1, 2], "core": [2]}


@pytest.fixture
def label_map():
    """Return two pieces of the organ, which touch by a corner alone or not at all, and a lesion."""
    array = np.zeros((4, 5, 6), np.uint8)
    array[0, 0, :2] = 1
    array[1, 1, 2] = 1  # by a corner: the same component
    array[3, 4, 5] = 1
    array[0, 0, 2] = 2
    return array


def test_volumes_and_components_of_labels(label_map, make_grid):
    grid = make_grid(label_map.shape)  # voxels of 6 mm3
    assert measure_labels(label_map, grid, LABELS) == [
        {"label": "organ", "voxels": 4, "volume_ml": 0.024, "area_mm2": "", "components": 2},
        {"label": "lesion", "voxels": 1, "volume_ml": 0.006, "area_mm2": "", "components": 1},
    ]


def test_regions_are_unions(label_map, make_grid):
    whole, core = measure_labels(label_map, make_grid(label_map.shape), REGIONS)
    assert (whole["voxels"], whole["components"]) == (5, 2)
    assert (core["voxels"], core["components"]) == (1, 1)


def test_pictures_have_areas_and_what_is_not_there_has_none(make_grid):
    array = np.zeros((1, 3, 3), np.uint8)
    array[0, 0, 0] = array[0, 1, 1] = 1
    organ, lesion = measure_labels(array, make_grid(array.shape), LABELS)
    assert (organ["area_mm2"], organ["volume_ml"], organ["components"]) == (4, "", 1)
    assert (lesion["voxels"], lesion["area_mm2"], lesion["components"]) == (0, 0, 0)


def test_a_case_gets_a_preview_and_rows(label_map, make_grid, tmp_path):
    grid = make_grid(label_map.shape)
    write_image(tmp_path / "a.nii.gz", label_map, grid)
    image = np.random.default_rng(0).normal(size=label_map.shape).astype(np.float32)
    write_image(tmp_path / "image.nii.gz", image, grid)
    measured = {
        "spacing_mm": {"x": 1.0, "y": 2.0, "z": 3.0},
        "size": {"x": 6, "y": 5, "z": 4},
        "orientation": "LPS",
        "intensities": [[-2.0, 2.0]],
        "warnings": ["one thing", "another"],
    }
    files = tmp_path / "a.nii.gz", tmp_path / "image.nii.gz", tmp_path / "image.nii.gz"
    written, facts = describe_case(Findings("a", *files, measured), LABELS, {}, ct=False)
    assert written == [tmp_path / "a.nii.gz", tmp_path / "previews/a.png"]
    write_tables(tmp_path, {"a": "k"}, {"a": facts})
    row = pd.read_csv(tmp_path / "segmentations.csv").iloc[0]
    assert row["warnings"] == "one thing; another"
    assert (row["size"], row["spacing_mm"], row["preview"]) == ("6 5 4", "1 2 3", "previews/a.png")
    assert list(pd.read_csv(tmp_path / "volumes.csv")["label"]) == ["organ", "lesion"]
    # A slice of 6 x 10 mm, twice, below its title: 480 pixels high, and 288 wide.
    with Image.open(tmp_path / "previews/a.png") as preview:
        picture = np.asarray(preview.convert("RGB"))
    assert picture.shape[1] == 2 * 288 + 3 * 10
    # The slice with most foreground is the lowest; its first voxel is of the organ, 40 % orange.
    grey, coloured = picture[50, 20].astype(float), picture[50, 20 + 288 + 10]
    expected = 0.6 * grey + 0.4 * np.array([0xE6, 0x9F, 0x00])
    np.testing.assert_allclose(coloured, expected, atol=1)
