import pytest

from layouts import SAMPLES, make_busi, touch_files
from segflow.datasets.converters.busi import find_cases
from segflow.datasets.sources import Problem


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "Dataset_BUSI_with_GT"
    touch_files(
        folder,
        *(f"benign/benign ({n}){end}.png" for n in (1, 12, 100) for end in ("", "_mask")),
        *(f"benign/benign (12)_mask_{n}.png" for n in (1, 2, 10)),
        *(f"malignant/malignant (1){end}.png" for end in ("", "_mask")),
        *(f"normal/normal (133){end}.png" for end in ("", "_mask")),
    )
    return folder


def test_cases_are_named_by_class_and_number(raw):
    found = find_cases(raw)
    assert found.problems == []
    cases = sorted(found.cases, key=lambda case: case.case)
    assert [(c.case, c.patient, c.split, c.class_label) for c in cases] == [
        ("benign_001", "benign_001", "train", "benign"),
        ("benign_012", "benign_012", "train", "benign"),
        ("benign_100", "benign_100", "train", "benign"),
        ("malignant_001", "malignant_001", "train", "malignant"),
        ("normal_133", "normal_133", "train", "normal"),
    ]
    assert cases[0].images == (raw / "benign/benign (1).png",)


def test_all_masks_belong_to_the_reference_in_their_order(raw):
    case = next(case for case in find_cases(raw).cases if case.case == "benign_012")
    assert [path.name for path in case.labels] == [
        "benign (12)_mask.png",
        "benign (12)_mask_1.png",
        "benign (12)_mask_2.png",
        "benign (12)_mask_10.png",
    ]


def test_the_raw_folder_may_be_the_one_around(raw):
    assert find_cases(raw.parent) == find_cases(raw)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda raw: (raw / "normal/normal (133)_mask.png").unlink(),
            [("normal_133", "normal/normal (133).png", "the picture has no mask")],
        ),
        (
            lambda raw: (raw / "benign/benign (1).png").unlink(),
            [("benign_001", "benign/benign (1)_mask.png", "the mask has no picture")],
        ),
        (
            lambda raw: touch_files(raw, "benign/malignant (7).png", "benign/copy.png"),
            [
                ("", f"benign/{name}.png", "the name is neither 'benign (N).png' nor ...")
                for name in ("copy", "malignant (7)")
            ],
        ),
    ],
)
def test_what_does_not_fit_is_an_error(raw, change, expected):
    change(raw)
    problems = find_cases(raw).problems
    assert {problem.severity for problem in problems} == {"error"}
    found = [(p.case, p.file, p.problem.replace("'benign (N)_mask.png'", "...")) for p in problems]
    assert found == expected


def test_a_missing_mask_is_asked_for_by_name(raw):
    (raw / "benign/benign (1)_mask.png").unlink()
    assert find_cases(raw).problems == [
        Problem(
            "benign_001",
            "benign/benign (1).png",
            "error",
            "the picture has no mask",
            "add 'benign (1)_mask.png'",
        )
    ]


def test_files_of_macos_are_ignored(raw):
    before = find_cases(raw)
    touch_files(raw, "benign/._benign (1).png", "benign/.DS_Store")
    assert find_cases(raw) == before


def test_another_layout_is_answered_with_what_was_found(tmp_path):
    touch_files(tmp_path, "images/1.png")
    with pytest.raises(FileNotFoundError, match=r"'benign \(1\)\.png', \.\.\., found images/"):
        find_cases(tmp_path)


def test_the_miniature_is_complete(tmp_path):
    make_busi(tmp_path)
    found = find_cases(tmp_path)
    assert found.problems == []
    assert len(found.cases) == 14
    assert sorted(len(case.labels) for case in found.cases) == [1] * 13 + [2]


def test_the_real_pictures_have_their_masks():
    raw = SAMPLES / "Dataset_BUSI_with_GT"
    if not raw.is_dir():
        pytest.skip("there are no samples")
    found = find_cases(raw)
    assert found.problems == []
    labels = [case.class_label for case in found.cases]
    assert [labels.count(name) for name in ("benign", "malignant", "normal")] == [110, 70, 40]
    several = {case.case for case in found.cases if len(case.labels) == 2}
    benign = (4, 25, 54, 58, 83, 92, 93, 98, 100)
    assert several == {*(f"benign_{number:03d}" for number in benign), "malignant_053"}
    assert all(path.is_file() for case in found.cases for path in case.files)
