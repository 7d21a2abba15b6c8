import shutil

import pytest

from layouts import SAMPLES, make_brats2020, make_brats2021, make_brats2023, touch_files
from segflow.datasets.converters.brats import OPTIONS, find_cases
from segflow.datasets.sources import Problem


def case_2021(name, kinds=("flair", "t1", "t1ce", "t2", "seg")):
    return [f"{name}/{name}_{kind}.nii.gz" for kind in kinds]


def case_2023(name, kinds=("t1n", "t1c", "t2w", "t2f", "seg")):
    return [f"{name}/{name}-{kind}.nii.gz" for kind in kinds]


@pytest.fixture
def raw_2021(tmp_path):
    touch_files(
        tmp_path,
        *case_2021("BraTS2021_00000"),
        *case_2021("BraTS2021_01666", ("flair", "t1", "t1ce", "t2")),
    )
    return tmp_path


@pytest.fixture
def raw_2023(tmp_path):
    touch_files(
        tmp_path,
        *case_2023("BraTS-GLI-00005-000"),
        *case_2023("BraTS-GLI-00005-001"),
        *case_2023("BraTS-GLI-00020-001"),
        *case_2023("BraTS-GLI-00009-000", ("t1n", "t1c", "t2w", "t2f")),
    )
    return tmp_path


def test_channels_have_the_order_of_2021(raw_2021):
    found = find_cases(raw_2021, 2021)
    assert found.problems == []
    case, unlabelled = found.cases
    assert [path.name for path in case.files] == [
        "BraTS2021_00000_flair.nii.gz",
        "BraTS2021_00000_t1.nii.gz",
        "BraTS2021_00000_t1ce.nii.gz",
        "BraTS2021_00000_t2.nii.gz",
        "BraTS2021_00000_seg.nii.gz",
    ]
    assert (case.case, case.patient, case.split) == ("BraTS2021_00000",) * 2 + ("train",)
    assert (unlabelled.labels, unlabelled.split) == (None, "test")
    assert not case.follow_up


def test_the_default_of_the_option_is_that_of_the_function(raw_2021):
    assert find_cases(raw_2021, OPTIONS["edition"]["default"]) == find_cases(raw_2021)


def test_channels_have_the_order_of_2023(raw_2023):
    case = find_cases(raw_2023, 2023).cases[0]
    assert [path.name for path in case.files] == [
        f"BraTS-GLI-00005-000-{kind}.nii.gz" for kind in ("t1n", "t1c", "t2w", "t2f", "seg")
    ]


def test_later_time_points_are_follow_ups_of_the_same_patient(raw_2023):
    found = find_cases(raw_2023, 2023)
    assert found.problems == []
    assert [(c.case, c.patient, c.split, c.follow_up) for c in found.cases] == [
        ("BraTS-GLI-00005-000", "BraTS-GLI-00005", "train", False),
        ("BraTS-GLI-00005-001", "BraTS-GLI-00005", "train", True),
        ("BraTS-GLI-00009-000", "BraTS-GLI-00009", "test", False),
        # The first that is there, whatever its number.
        ("BraTS-GLI-00020-001", "BraTS-GLI-00020", "train", False),
    ]


def test_cases_may_lie_in_the_folders_of_the_archives(raw_2023, tmp_path):
    apart, expected = tmp_path / "apart", find_cases(raw_2023, 2023)
    for folder in sorted(raw_2023.glob("BraTS-*")):
        part = "Validation" if "00009" in folder.name else "Training"
        shutil.copytree(folder, apart / part / folder.name)
    found = find_cases(apart, 2023)
    assert sorted(case.case for case in found.cases) == sorted(c.case for c in expected.cases)
    assert found.problems == []


@pytest.mark.parametrize("kind", ["flair", "t1", "t1ce", "t2"])
def test_a_missing_sequence_is_an_error(raw_2021, kind):
    file = f"BraTS2021_00000/BraTS2021_00000_{kind}.nii.gz"
    (raw_2021 / file).unlink()
    touch_files(raw_2021, f"BraTS2021_00000/._BraTS2021_00000_{kind}.nii.gz")  # of macOS
    found = find_cases(raw_2021, 2021)
    problem = Problem("BraTS2021_00000", file, "error", "the file is missing", "add it")
    assert found.problems == [problem]
    assert [case.case for case in found.cases] == ["BraTS2021_01666"]


@pytest.mark.parametrize(
    ("edition", "example"), [(2021, "BraTS2021_NNNNN_flair"), (2023, "BraTS-GLI-NNNNN-TTT-t1n")]
)
def test_another_edition_is_answered_with_what_was_found(tmp_path, edition, example):
    other = {2021: case_2023("BraTS-GLI-00005-000"), 2023: case_2021("BraTS2021_00000")}
    touch_files(tmp_path, *other[edition])
    with pytest.raises(
        FileNotFoundError, match=rf"{example}.nii.gz of BraTS {edition}, found BraTS"
    ):
        find_cases(tmp_path, edition)


def test_the_miniatures_are_complete(tmp_path):
    make_brats2021(tmp_path / "2021")
    make_brats2023(tmp_path / "2023")
    for edition, n_patients in ((2021, 10), (2023, 8)):
        found = find_cases(tmp_path / str(edition), edition)
        assert found.problems == []
        assert sorted(case.split for case in found.cases) == ["test"] * 2 + ["train"] * 8
        assert len({case.patient for case in found.cases}) == n_patients


def test_the_real_cases_are_complete():
    if not SAMPLES.is_dir():
        pytest.skip("there are no samples")
    found = find_cases(SAMPLES / "BraTS2021")
    assert found.problems == []
    assert [case.case for case in found.cases] == ["BraTS2021_90001", "BraTS2021_90002"]
    assert all(path.is_file() for case in found.cases for path in case.files)


def test_the_edition_of_2020_is_not_compressed_and_has_one_odd_name(tmp_path):
    make_brats2020(tmp_path)
    found = find_cases(tmp_path, edition=2020)
    assert found.problems == []
    cases = {case.case: case for case in found.cases}
    assert [case.split for case in found.cases] == ["train"] * 8 + ["test"] * 2
    labels = {name: [path.name for path in case.labels or ()] for name, case in cases.items()}
    assert labels["BraTS20_Training_354"] == ["BraTS20_Training_354_seg.nii"]
    assert labels["BraTS20_Training_355"] == ["W39_1998.09.19_Segm.nii"]
    assert {len(case.images) for case in found.cases} == {4}
    cases["BraTS20_Training_354"].labels[0].unlink()
    [problem] = find_cases(tmp_path, edition=2020).problems
    assert (problem.case, problem.severity) == ("BraTS20_Training_354", "error")
