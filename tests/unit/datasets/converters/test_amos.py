from pathlib import Path

import pytest

from layouts import SAMPLES, make_amos22, touch_files
from segflow.datasets.converters.amos import OPTIONS, find_cases
from segflow.datasets.sources import Problem


@pytest.fixture
def raw(tmp_path):
    touch_files(
        tmp_path / "amos22",
        *(f"imagesTr/amos_{n}.nii.gz" for n in ("0001", "0499", "0500")),
        *(f"labelsTr/amos_{n}.nii.gz" for n in ("0001", "0499", "0500")),
        *(f"{kind}Va/amos_0008.nii.gz" for kind in ("images", "labels")),
        *(f"imagesTs/amos_{n}.nii.gz" for n in ("0002", "0600")),
        "labelsTs/amos_0600.nii.gz",
        "dataset.json",
    )
    return tmp_path


def test_parts_and_modalities_are_told_by_folders_and_numbers(raw):
    found = find_cases(raw)
    assert found.problems == []
    assert [(case.case, case.split, case.class_label) for case in found.cases] == [
        ("amos_0001", "train", "CT"),
        ("amos_0499", "train", "CT"),
        ("amos_0500", "train", "MRI"),
        ("amos_0008", "val", "CT"),
        ("amos_0002", "test", "CT"),
        ("amos_0600", "test", "MRI"),
    ]
    first, untold, told = (found.cases[index] for index in (0, 4, 5))
    assert [str(path.relative_to(raw)) for path in first.files] == [
        "amos22/imagesTr/amos_0001.nii.gz",
        "amos22/labelsTr/amos_0001.nii.gz",
    ]
    assert untold.labels is None
    assert told.labels == (raw / "amos22/labelsTs/amos_0600.nii.gz",)


def test_the_raw_folder_may_be_amos22_itself(raw):
    assert find_cases(raw / "amos22") == find_cases(raw)


@pytest.mark.parametrize(
    ("modalities", "expected"),
    [
        (["CT"], ["amos_0001", "amos_0499", "amos_0008", "amos_0002"]),
        (["MRI"], ["amos_0500", "amos_0600"]),
    ],
)
def test_one_modality_alone(raw, modalities, expected):
    # What is wrong with the others does not matter then.
    lost = "amos_0500" if modalities == ["CT"] else "amos_0001"
    (raw / f"amos22/labelsTr/{lost}.nii.gz").unlink()
    found = find_cases(raw, modalities)
    assert found.problems == []
    assert [case.case for case in found.cases] == expected


@pytest.mark.parametrize(
    ("lost", "file", "text"),
    [
        ("labelsTr/amos_0001", "imagesTr/amos_0001", "the image has no label"),
        ("labelsVa/amos_0008", "imagesVa/amos_0008", "the image has no label"),
        ("imagesTr/amos_0499", "labelsTr/amos_0499", "the label has no image"),
        ("imagesTs/amos_0600", "labelsTs/amos_0600", "the label has no image"),
    ],
)
def test_a_file_without_its_partner_is_an_error(raw, lost, file, text):
    (raw / "amos22" / f"{lost}.nii.gz").unlink()
    action = "add the label" if "has no label" in text else "add the image"
    name = Path(file).name
    problem = Problem(name, f"amos22/{file}.nii.gz", "error", text, action)
    assert find_cases(raw).problems == [problem]


def test_the_default_of_the_option_is_that_of_the_function(raw):
    assert find_cases(raw, OPTIONS["modalities"]["default"]) == find_cases(raw)


def test_other_names_are_noted_and_left_out(raw):
    before = find_cases(raw).cases
    touch_files(raw / "amos22", "imagesTr/average.nii.gz", "imagesTr/._amos_0001.nii.gz")
    found = find_cases(raw)
    assert found.cases == before
    assert found.problems == [
        Problem(
            "",
            "amos22/imagesTr/average.nii.gz",
            "note",
            r"the name does not fit (amos_\d{4})",
            "left it out",
        )
    ]


def test_another_layout_is_answered_with_what_was_found(raw):
    touch_files(raw / "labels", "labelsVa/amos_0008.nii.gz")
    with pytest.raises(FileNotFoundError, match="AMOS 2022 with CT or MRI, found labelsVa/"):
        find_cases(raw / "labels")
    for path in raw.rglob("amos_0[56]*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="AMOS 2022 with MRI, found amos22/, labels/"):
        find_cases(raw, ["MRI"])


def test_the_real_label_without_images_is_no_data_set():
    if not SAMPLES.is_dir():
        pytest.skip("there are no samples")
    with pytest.raises(FileNotFoundError, match=r"imagesTr/amos_NNNN\.nii\.gz and labelsTr"):
        find_cases(SAMPLES / "amos22")


def test_the_miniature_is_complete(tmp_path):
    make_amos22(tmp_path)
    found = find_cases(tmp_path)
    assert found.problems == []
    ct = find_cases(tmp_path, ["CT"]).cases
    assert [case.split for case in ct].count("train") == 8
    assert {case.class_label for case in found.cases} == {"CT", "MRI"}
