import shutil

import pytest

from layouts import make_btcv, touch_files
from segflow.datasets.converters.btcv import find_cases
from segflow.datasets.sources import Problem


@pytest.fixture
def raw(tmp_path):
    touch_files(
        tmp_path / "RawData",
        *(f"Training/img/img000{n}.nii.gz" for n in (1, 2)),
        *(f"Training/label/label000{n}.nii.gz" for n in (1, 2)),
        "Testing/img/img0061.nii.gz",
    )
    return tmp_path


def test_images_and_labels_match_by_number(raw):
    found = find_cases(raw)
    assert found.problems == []
    training = raw / "RawData" / "Training"
    assert [(case.case, case.patient, case.split) for case in found.cases] == [
        ("img0001", "img0001", "train"),
        ("img0002", "img0002", "train"),
        ("img0061", "img0061", "test"),
    ]
    assert found.cases[1].images == (training / "img/img0002.nii.gz",)
    assert found.cases[1].labels == (training / "label/label0002.nii.gz",)
    assert found.cases[2].labels is None


@pytest.mark.parametrize("folder", ["img", "averaged-training-images"])
def test_folders_may_lie_in_the_raw_folder(raw, folder):
    flat = raw / "flat"
    shutil.copytree(raw / "RawData/Training/img", flat / folder)
    shutil.copytree(raw / "RawData/Training/label", flat / "label")
    found = find_cases(flat)
    assert found.problems == []
    assert [case.files for case in found.cases] == [
        [flat / folder / f"img000{n}.nii.gz", flat / f"label/label000{n}.nii.gz"] for n in (1, 2)
    ]


def test_the_raw_folder_may_be_rawdata_itself(raw):
    assert find_cases(raw / "RawData") == find_cases(raw)


def test_test_images_are_optional(raw):
    shutil.rmtree(raw / "RawData" / "Testing")
    assert [case.split for case in find_cases(raw).cases] == ["train", "train"]


@pytest.mark.parametrize(
    ("lost", "file", "text", "action"),
    [
        ("label/label0001", "img/img0001", "the image has no label", "add the label"),
        ("img/img0001", "label/label0001", "the label has no image", "add the image"),
    ],
)
def test_a_file_without_its_partner_is_an_error(raw, lost, file, text, action):
    (raw / "RawData/Training" / f"{lost}.nii.gz").unlink()
    problem = Problem("img0001", f"RawData/Training/{file}.nii.gz", "error", text, action)
    assert find_cases(raw).problems == [problem]


def test_other_names_are_noted_and_left_out(raw):
    touch_files(raw / "RawData/Training", "img/DET0001.nii.gz", "img/._img0001.nii.gz")
    found = find_cases(raw)
    assert len(found.cases) == 3
    assert [(problem.file, problem.severity) for problem in found.problems] == [
        ("RawData/Training/img/DET0001.nii.gz", "note")
    ]


def test_another_layout_is_answered_with_what_was_found(tmp_path):
    (tmp_path / "Abdomen").mkdir()
    with pytest.raises(FileNotFoundError, match=r"labelNNNN\.nii\.gz of BTCV, found Abdomen/"):
        find_cases(tmp_path)


def test_the_miniature_is_complete(tmp_path):
    make_btcv(tmp_path)
    found = find_cases(tmp_path)
    assert found.problems == []
    assert [case.split for case in found.cases] == ["train"] * 8 + ["test"] * 2
