import shutil

import pytest

from segflow.datasets.converters.msd import find_cases
from segflow.datasets.sources import Problem


@pytest.fixture
def raw(tmp_path):
    for folder, names in {
        "imagesTr": ["a", "b"],
        "labelsTr": ["a", "b"],
        "imagesTs": ["c", "d"],
        "labelsTs": ["d"],
    }.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.nii.gz").touch()
    return tmp_path


def test_cases_have_their_files_and_split(raw):
    found = {
        case.case: (case.split, [str(path.relative_to(raw)) for path in case.files])
        for case in find_cases(raw).cases
    }
    assert found == {
        "a": ("train", ["imagesTr/a.nii.gz", "labelsTr/a.nii.gz"]),
        "b": ("train", ["imagesTr/b.nii.gz", "labelsTr/b.nii.gz"]),
        "c": ("test", ["imagesTs/c.nii.gz"]),
        "d": ("test", ["imagesTs/d.nii.gz", "labelsTs/d.nii.gz"]),
    }


@pytest.mark.parametrize(
    ("lost", "expected"),
    [(["labelsTs"], ["a", "b", "c", "d"]), (["labelsTs", "imagesTs"], ["a", "b"])],
)
def test_test_images_and_their_labels_are_optional(raw, lost, expected):
    for folder in lost:
        shutil.rmtree(raw / folder)
    found = find_cases(raw)
    assert [case.case for case in found.cases] == expected
    assert not any(case.labels for case in found.cases if case.split == "test")
    assert found.problems == []


def test_files_of_macos_are_ignored(raw):
    before = find_cases(raw)
    for path in raw.rglob("*.nii.gz"):
        path.with_name(f"._{path.name}").touch()
    (raw / ".DS_Store").touch()
    assert find_cases(raw) == before


@pytest.mark.parametrize(
    ("lost", "alone"),
    [
        ("labelsTr/a", "imagesTr/a"),
        ("imagesTr/b", "labelsTr/b"),
        ("imagesTs/d", "labelsTs/d"),
    ],
)
def test_a_file_without_partner_is_an_error(raw, lost, alone):
    (raw / f"{lost}.nii.gz").unlink()
    folder, name = lost.split("/")
    problem = Problem(name, f"{alone}.nii.gz", "error", f"has no partner in {folder}", "add it")
    assert find_cases(raw).problems == [problem]


def test_all_files_without_partner_are_named_at_once(raw):
    for lost in ("labelsTr/a", "imagesTr/b"):
        (raw / f"{lost}.nii.gz").unlink()
    found = find_cases(raw)
    assert [problem.case for problem in found.problems] == ["a", "b"]
    assert [(case.case, case.labels) for case in found.cases if case.split == "train"] == [
        ("a", None)
    ]


def test_another_layout_is_answered_with_what_was_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected imagesTr.*found an empty folder"):
        find_cases(tmp_path)
    (tmp_path / "training").mkdir()
    (tmp_path / "README").touch()
    with pytest.raises(FileNotFoundError, match=r"found README, training/$"):
        find_cases(tmp_path)


def test_the_embedded_cases_are_complete(hippocampus):
    found = find_cases(hippocampus)
    assert found.problems == []
    assert {case.split for case in found.cases} == {"train", "test"}
    assert all(path.is_file() for case in found.cases for path in case.files)
