import shutil

import numpy as np
import pytest

from layouts import make_pancreas, touch_files
from segflow.datasets.converters.pancreas import find_cases
from segflow.datasets.sources import Problem
from segflow.images.nifti import read_labels


@pytest.fixture
def raw(tmp_path):
    touch_files(
        tmp_path / "data",
        *(f"train/subtype0/quiz_0_041{end}.nii.gz" for end in ("_0000", "")),
        *(f"train/subtype2/quiz_2_074{end}.nii.gz" for end in ("_0000", "")),
        *(f"validation/subtype1/quiz_1_090{end}.nii.gz" for end in ("_0000", "")),
        "test/quiz_037_0000.nii.gz",
    )
    return tmp_path


def test_part_and_subtype_come_from_the_folders(raw):
    found = find_cases(raw)
    assert found.problems == []
    assert [(c.case, c.patient, c.split, c.class_label) for c in found.cases] == [
        ("quiz_0_041", "quiz_0_041", "train", "subtype0"),
        ("quiz_2_074", "quiz_2_074", "train", "subtype2"),
        ("quiz_1_090", "quiz_1_090", "val", "subtype1"),
        ("quiz_037", "quiz_037", "test", ""),
    ]
    folder = raw / "data/train/subtype0"
    assert found.cases[0].images == (folder / "quiz_0_041_0000.nii.gz",)
    assert found.cases[0].labels == (folder / "quiz_0_041.nii.gz",)
    assert found.cases[3].labels is None


def test_the_raw_folder_may_be_data_itself(raw):
    assert find_cases(raw / "data") == find_cases(raw)


def test_a_name_that_contradicts_its_folder_is_an_error(raw):
    (raw / "data/train/subtype2").rename(raw / "data/train/subtype1")
    file = "data/train/subtype1/quiz_2_074_0000.nii.gz"
    text = "the name says subtype 2, the folder is subtype1"
    problem = Problem("quiz_2_074", file, "error", text, "move or rename it")
    assert find_cases(raw).problems == [problem]


@pytest.mark.parametrize(
    ("lost", "text"),
    [("", "the image has no label"), ("_0000", "the label has no image")],
)
def test_a_file_without_its_partner_is_an_error(raw, lost, text):
    (raw / f"data/validation/subtype1/quiz_1_090{lost}.nii.gz").unlink()
    [problem] = find_cases(raw).problems
    assert (problem.case, problem.severity, problem.problem) == ("quiz_1_090", "error", text)


def test_other_names_are_noted_and_left_out(raw):
    before = find_cases(raw).cases
    strange = "data/train/subtype0/quiz_41_0000.nii.gz"
    touch_files(raw, strange, "data/train/subtype0/._quiz_0_041_0000.nii.gz")
    found = find_cases(raw)
    assert found.cases == before
    assert [(problem.file, problem.severity) for problem in found.problems] == [(strange, "note")]


def test_test_and_validation_parts_are_optional(raw):
    for part in ("test", "validation"):
        shutil.rmtree(raw / "data" / part)
    assert [case.split for case in find_cases(raw).cases] == ["train", "train"]


def test_another_layout_is_answered_with_what_was_found(tmp_path):
    touch_files(tmp_path, "ML-Quiz-3DMedImg.zip")
    with pytest.raises(FileNotFoundError, match=r"subtype\{0,1,2\}/quiz.*found ML-Quiz-3DMedImg"):
        find_cases(tmp_path)


def test_the_miniature_is_complete_and_its_labels_are_inexact(tmp_path):
    make_pancreas(tmp_path)
    found = find_cases(tmp_path)
    assert found.problems == []
    assert [case.split for case in found.cases].count("train") == 9
    values = np.unique(read_labels(found.cases[0].labels[0])[0])
    assert values.tolist() == [0, 1.0000001, 2.0000001]
