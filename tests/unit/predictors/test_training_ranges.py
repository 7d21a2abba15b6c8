import numpy as np
import pytest

from segflow.predictors.training_ranges import (
    differences,
    gather_ranges,
    measure_image,
    ranges_of_fingerprint,
)

# Axes of the file: x towards the front, y upwards, z to the right; in ITK's directions.
SAGITTAL = (0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def measured(spacing=(1.0, 1.0, 3.0), size=(50, 60, 20), orientation="LPS", ends=(-1000.0, 900.0)):
    return {
        "spacing_mm": dict(zip("xyz", spacing, strict=True)),
        "size": dict(zip("xyz", size, strict=True)),
        "orientation": orientation,
        "intensities": [list(ends)],
    }


@pytest.fixture
def ranges():
    training = [measured(), measured((0.8, 0.8, 5.0), (40, 60, 30), "RAS", (-1024.0, 1500.0))]
    return gather_ranges(training, ["CT"], reoriented=False)


def test_an_image_is_measured_along_the_axes_of_its_file(draw, tmp_path):
    path = draw(tmp_path / "a.nii.gz", np.arange(24).reshape(2, 3, 4).astype(np.int16))
    found = measure_image([path], reoriented=False)
    assert found["spacing_mm"] == {"x": 1.0, "y": 2.0, "z": 3.0}
    assert found["size"] == {"x": 4, "y": 3, "z": 2}
    assert found["orientation"] == "LPS"
    assert found["intensities"] == [pytest.approx([0.005 * 23, 0.995 * 23])]


def test_axes_are_those_of_the_body_where_networks_see_all_images_in_one_orientation(
    draw, tmp_path
):
    array = np.zeros((2, 3, 4), np.int16)
    path = draw(tmp_path / "a.nii.gz", array, direction=SAGITTAL)
    found = measure_image([path], reoriented=True)
    assert found["orientation"] == "ASR"
    assert found["size"] == {"x": 2, "y": 4, "z": 3}
    assert found["spacing_mm"] == {"x": 3.0, "y": 1.0, "z": 2.0}


def test_a_picture_has_two_axes(draw, tmp_path):
    array = np.zeros((1, 3, 4), np.uint8)
    flat = {"origin_mm": (0.0, 0.0), "direction": (1.0, 0.0, 0.0, 1.0)}
    path = draw(tmp_path / "a.nii.gz", array, **flat)
    found = measure_image([path], reoriented=False)
    assert (found["size"], found["orientation"]) == ({"x": 4, "y": 3}, "")


def test_ranges_are_those_over_all_training_cases(ranges):
    assert ranges == {
        "n_cases": 2,
        "reoriented": False,
        "spacing_mm": {"x": [0.8, 1.0], "y": [0.8, 1.0], "z": [3.0, 5.0]},
        "size": {"x": [40, 50], "y": [60, 60], "z": [20, 30]},
        "orientations": ["LPS", "RAS"],
        "intensities": {"CT": {"low": [-1024.0, -1000.0], "high": [900.0, 1500.0]}},
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"spacing": (1.0005, 0.8, 4.0)}, []),
        ({"spacing": (1, 1, 7.5)}, ["spacing along z is 7.5 mm (training: 3 ... 5)"]),
        ({"spacing": (0.5, 1, 3)}, ["spacing along x is 0.5 mm (training: 0.8 ... 1)"]),
        ({"size": (50, 61, 20)}, ["size along y is 61 voxels (training: 60)"]),
        ({"size": (50, 60, 5)}, ["size along z is 5 voxels (training: 20 ... 30)"]),
        ({"orientation": "PIR"}, ["orientation is PIR (training: LPS, RAS)"]),
        (
            {"ends": (0.0, 1.0)},
            [
                "intensities of CT reach from 0 to 1 (training: from -1024 ... -1000, to "
                "900 ... 1500)"
            ],
        ),
        (
            {"ends": (-1000.0, 4000.0)},
            [
                "intensities of CT reach from -1000 to 4000 (training: from -1024 ... -1000, to "
                "900 ... 1500)"
            ],
        ),
    ],
)
def test_what_lies_outside_is_said_with_the_range_of_the_training(ranges, changes, expected):
    assert differences(measured(**changes), ranges) == expected


def test_orientation_does_not_count_where_networks_see_all_images_in_one():
    ranges = gather_ranges([measured(orientation="RAS")], ["CT"], reoriented=True)
    assert differences(measured(orientation="PIR"), ranges) == []


def test_a_fingerprint_tells_spacings_and_what_structures_look_like():
    fingerprint = {
        "spacings": [[3.0, 0.8, 0.9], [5.0, 1.0, 1.1]],
        "foreground_intensity_properties_per_channel": {"0": {"median": 100.0}},
    }
    ranges = ranges_of_fingerprint(fingerprint, ["CT"])
    assert ranges["spacing_mm"] == {"x": [0.9, 1.1], "y": [0.8, 1.0], "z": [3.0, 5.0]}
    assert differences(measured((1.0, 0.9, 4.0), (9, 9, 9)), ranges) == []
    found = differences(measured((1.0, 0.9, 6.0), ends=(0.0, 1.0)), ranges)
    assert found == [
        "spacing along z is 6 mm (training: 3 ... 5)",
        "intensities of CT reach from 0 to 1 (training: median of structures 100)",
    ]


def test_plans_alone_tell_intensities_only():
    plans = {"foreground_intensity_properties_per_channel": {"0": {"median": 100.0}}}
    assert "spacing_mm" not in ranges_of_fingerprint(plans, ["CT"])
