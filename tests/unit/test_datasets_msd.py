import shutil

import pytest

from segflow.datasets.msd import find_cases


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
        for case in find_cases(raw)
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
    cases = find_cases(raw)
    assert [case.case for case in cases] == expected
    assert not any(case.label for case in cases if case.split == "test")


def test_files_of_macos_are_ignored(raw):
    before = find_cases(raw)
    for path in raw.rglob("*.nii.gz"):
        path.with_name(f"._{path.name}").touch()
    (raw / ".DS_Store").touch()
    assert find_cases(raw) == before


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("labelsTr/a", "imagesTr/a.nii.gz has no partner in labelsTr"),
        ("imagesTr/b", "labelsTr/b.nii.gz has no partner in imagesTr"),
        ("imagesTs/d", "labelsTs/d.nii.gz has no partner in imagesTs"),
    ],
)
def test_a_file_without_partner_is_named(raw, lost, message):
    (raw / f"{lost}.nii.gz").unlink()
    with pytest.raises(ValueError, match=message):
        find_cases(raw)


def test_another_layout_is_answered_with_what_was_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected imagesTr.*found an empty folder"):
        find_cases(tmp_path)
    (tmp_path / "training").mkdir()
    (tmp_path / "README").touch()
    with pytest.raises(FileNotFoundError, match=r"found README, training$"):
        find_cases(tmp_path)


def test_the_embedded_cases_are_complete(hippocampus):
    cases = find_cases(hippocampus)
    assert {case.split for case in cases} == {"train", "test"}
    assert all(path.is_file() for case in cases for path in case.files)
