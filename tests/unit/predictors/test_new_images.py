import numpy as np
import pytest
from pydicom.uid import generate_uid

from dicom_files import (
    PATIENT,
    UID_ROOT,
    slice_tags,
    write_mammogram,
    write_segmentation,
    write_series,
)
from segflow.predictors.new_images import find_images, unlike_training

VOLUME = np.zeros((4, 3, 2), np.int16)


def found(folder, names, n_channels):
    for name in names:
        (folder / name).touch()
    cases, problems = find_images(folder, n_channels)
    assert problems == []
    return {case.case: [path.name for path in case.images] for case in cases}


def problems_of(folder, n_channels=1, output=None):
    """Return what is wrong with each case."""
    cases, problems = find_images(folder, n_channels, output)
    assert not {case.case for case in cases} & {problem.case for problem in problems}
    return {problem.case: problem.problem for problem in problems}


@pytest.mark.parametrize(
    ("names", "n_channels", "expected"),
    [
        (["b.nii.gz", "a.nii.gz"], 1, {"a": ["a.nii.gz"], "b": ["b.nii.gz"]}),
        (["a_0000.nii.gz"], 1, {"a": ["a_0000.nii.gz"]}),
        (["a_1_0000.nii.gz"], 1, {"a_1": ["a_1_0000.nii.gz"]}),
        (
            ["a_0001.nii.gz", "a_0000.nii.gz"],
            2,
            {"a": ["a_0000.nii.gz", "a_0001.nii.gz"]},
        ),
        (["a.nii.gz", "notes.txt", "a.json"], 1, {"a": ["a.nii.gz"]}),
        (["a.nii.gz", "._a.nii.gz"], 1, {"a": ["a.nii.gz"]}),
        (["a.nii.gz", "b_0000.nii.gz"], 1, {"a": ["a.nii.gz"], "b": ["b_0000.nii.gz"]}),
        (["scan_2024.nii.gz"], 1, {"scan_2024": ["scan_2024.nii.gz"]}),
    ],
)
def test_both_ways_to_name_images(tmp_path, names, n_channels, expected):
    assert found(tmp_path, names, n_channels) == expected


def test_new_cases_are_test_cases_without_reference(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    (case,), _ = find_images(tmp_path, 1)
    assert (case.split, case.patient, case.labels) == ("test", "a", None)


@pytest.mark.parametrize("names", [[], ["._a.nii.gz"], ["notes.txt"]])
def test_a_folder_without_images_is_an_error(tmp_path, names):
    with pytest.raises(FileNotFoundError, match=r"expected images CASE_0000\.nii\.gz, found none"):
        found(tmp_path, names, 1)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="scans: no such folder of new images"):
        find_images(tmp_path / "scans", 1)


@pytest.mark.parametrize(
    ("names", "n_channels", "expected"),
    [
        (
            ["a_0000.nii.gz"],
            2,
            {"a": "case 'a' needs ['a_0000', 'a_0001'], found ['a_0000']"},
        ),
        (
            ["a_0001.nii.gz", "b.nii.gz"],
            2,
            {"a": "case 'a' needs ['a_0000', 'a_0001'], found ['a_0001']"},
        ),
        (
            ["a_0000.nii.gz", "a_0001.nii.gz"],
            1,
            {"a": "case 'a' needs ['a_0000'], found ['a_0000', 'a_0001']"},
        ),
        (
            ["a.nii.gz", "a_0000.nii.gz"],
            1,
            {"a": "case 'a' needs ['a_0000'], found ['a', 'a_0000']"},
        ),
        (["a.nii.gz", "a.nrrd"], 1, {"a": "case 'a' is there in several files"}),
        (["a.nii.gz", "a.NII"], 1, {"a": "case 'a' is there in several files"}),
        (["a.png", "a/1.dcm"], 1, {"a": "case 'a' is there in several files"}),
        (
            ["a_0000.nii.gz", "b_0001.nii.gz"],
            2,
            {
                "a": "case 'a' needs ['a_0000', 'a_0001'], found ['a_0000']",
                "b": "case 'b' needs ['b_0000', 'b_0001'], found ['b_0001']",
            },
        ),
        (
            ["s/1.dcm", "s/2.dcm", "s/mask.nii.gz"],
            1,
            {"s": "DICOM files and files of other formats (mask.nii.gz) are mixed"},
        ),
        (
            ["who/one/1.dcm", "who/two/1.dcm", "a.nii.gz"],
            1,
            {"who": "DICOM files lie in folders inside it (one, two)"},
        ),
    ],
)
def test_all_that_is_wrong_is_said_case_by_case(tmp_path, names, n_channels, expected):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert problems_of(tmp_path, n_channels) == expected


def test_an_empty_folder_among_the_images_is_an_error_but_not_where_segmentations_go(tmp_path):
    for name in ("empty", "out", "old/.ledger"):
        (tmp_path / name).mkdir(parents=True)
    write_series(tmp_path / "old/dicom_seg", VOLUME)  # as if another run had written there
    (tmp_path / "a.nii.gz").touch()
    assert problems_of(tmp_path, output=tmp_path / "out") == {"empty": "the folder is empty"}


def test_folders_of_dicom_are_images_and_the_rest_is_named(tmp_path, capsys):
    write_series(tmp_path / "series", VOLUME)
    place = slice_tags((3.0, 2.0, 1.0), (0.0, 0.0, 0.0), np.eye(3), 0)
    write_segmentation(tmp_path / "series/seg.dcm", [(1, np.ones((3, 2)), place)], ["a"])
    for name in ("out/a.nii.gz", "notes.txt", "b.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cases, _ = find_images(tmp_path, 1)
    images = {case.case: case.images for case in cases}
    assert images == {"b": (tmp_path / "b.nii.gz",), "series": (tmp_path / "series",)}
    assert capsys.readouterr().err == f"{tmp_path}: not looked at: notes.txt, out\n"


def test_loose_slices_of_a_series_are_one_problem_and_mammograms_are_images(tmp_path):
    write_series(tmp_path, VOLUME)
    for name in ("left.dcm", "right"):  # DICOM files often have no suffix
        write_mammogram(tmp_path / name, VOLUME[0], "L", SeriesInstanceUID=UID_ROOT + "7")
    cases, (problem,) = find_images(tmp_path, 1)
    assert [case.case for case in cases] == ["left", "right"]
    assert problem.problem == ("4 slices of one DICOM series (02.dcm, 03.dcm, 06.dcm, 10.dcm)")
    assert problem.action == "put them into a folder"


@pytest.mark.parametrize(
    ("tags", "severity", "text"),
    [
        (
            {"NumberOfSeriesRelatedInstances": 6},
            "error",
            "NumberOfSeriesRelatedInstances is 6, but there are 4 images; the series is cut short",
        ),
        (
            {"NumberOfSlices": 5},
            "error",
            "NumberOfSlices is 5, but there are 4 images; the series is cut short",
        ),
        ({"ImagesInAcquisition": 9}, "note", "ImagesInAcquisition is 9, but there are 4 images"),
        ({"ImagesInAcquisition": 4, "NumberOfSlices": 4}, None, None),
    ],
)
def test_headers_tell_of_images_that_are_not_there(tmp_path, tags, severity, text):
    write_series(tmp_path / "s", VOLUME, InstanceNumber=1, **tags)
    _, problems = find_images(tmp_path, 1)
    assert [(one.severity, one.problem) for one in problems] == [(severity, text)] * bool(text)


def test_a_stack_that_begins_late_is_noted_and_no_message_names_the_patient(tmp_path):
    write_series(tmp_path / "s", VOLUME, InstanceNumber=12, SeriesInstanceUID=generate_uid())
    cases, (problem,) = find_images(tmp_path, 1)
    assert [case.case for case in cases] == ["s"]
    assert problem.severity == "note"
    assert "the first InstanceNumber is 12" in problem.problem
    assert PATIENT not in str(problem)


SOLID = {"dimensions": [3], "formats": [".nii.gz"], "reading": {}}
PICTURES = {"dimensions": [2], "formats": [".png"], "reading": {}}


@pytest.mark.parametrize(
    ("images", "orientation", "described", "configuration", "words"),
    [
        ("a.nii.gz", "LPS", SOLID, "3d_fullres", []),
        ("a.png", "", SOLID, "3d_fullres", ["is 2D, but", "knows no spacing"]),
        ("a.npy", "LPS", SOLID, "2d", ["knows no spacing"]),
        ("a.npy", "LPS", {**SOLID, "reading": {"spacing_mm": [1, 1, 1]}}, "2d", []),
        ("a.nii.gz", "LPS", PICTURES, "2d", ["is 3D, but the network learned from 2D"]),
        ("a.png", "", PICTURES, "2d", []),
        ("a.png", "", {"reading": {}}, "3d_fullres", ["is 2D, but"]),
        ("a.png", "", {"reading": {}}, "2d", []),
    ],
)
def test_new_images_are_like_those_of_the_training(
    make_case, images, orientation, described, configuration, words
):
    case = make_case("a", images=images, orientation=orientation)
    problems = unlike_training([case], described, [configuration])
    assert len(problems) == len(words)
    assert all(word in problem.problem for word, problem in zip(words, problems, strict=True))
