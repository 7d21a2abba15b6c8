import shutil

import numpy as np
import pytest

from layouts import BREASTDM_DOUBLES, make_breastdm, make_breastdm_2d, touch_files
from segflow.datasets.converters.breastdm import OPTIONS, find_cases
from segflow.datasets.sources import Problem

SEQUENCES = ("VIBRANT", "VIBRANT+C2", "SUB2")


def volumes(split, patient, kinds=("images", "labels")):
    return [f"seg3D/{split}/{kind}/{patient}/{name}.npy" for kind in kinds for name in SEQUENCES]


@pytest.fixture
def raw(tmp_path):
    touch_files(
        tmp_path,
        *volumes("train", "BreaDM-Be-1801"),
        *volumes("train", "BreaDM-Ma-1805"),
        *volumes("val", "BreaDM-Be-1901"),
        *volumes("test", "BreaDM-Ma-2001"),
    )
    return tmp_path


@pytest.fixture
def raw_2d(tmp_path):
    touch_files(
        tmp_path / "seg",
        *(f"train/images/BreaDM-Be-1801/{name}/p-031.jpg" for name in SEQUENCES),
        *(f"train/labels/BreaDM-Be-1801/{name}/p-031.png" for name in SEQUENCES),
        *(f"test/images/BreaDM-Be-1801/{name}/p-031.jpg" for name in SEQUENCES),
        *(f"test/labels/BreaDM-Be-1801/{name}/p-031.png" for name in SEQUENCES),
        "val/images/BreaDM-Ma-1901/SUB2/p-007.JPG",
        "val/labels/BreaDM-Ma-1901/SUB2/p-007.jpg",
    )
    return tmp_path


def test_split_class_and_patient_come_from_the_folders(raw):
    found = find_cases(raw)
    assert found.problems == []
    assert [(c.case, c.patient, c.split, c.class_label) for c in found.cases] == [
        ("BreaDM-Be-1801", "BreaDM-Be-1801", "train", "benign"),
        ("BreaDM-Ma-1805", "BreaDM-Ma-1805", "train", "malignant"),
        ("BreaDM-Be-1901", "BreaDM-Be-1901", "val", "benign"),
        ("BreaDM-Ma-2001", "BreaDM-Ma-2001", "test", "malignant"),
    ]


def test_the_mask_of_the_subtraction_is_the_reference(raw):
    case = find_cases(raw).cases[0]
    images, labels = (raw / f"seg3D/train/{kind}/BreaDM-Be-1801" for kind in ("images", "labels"))
    assert case.images == tuple(images / f"{name}.npy" for name in SEQUENCES)
    assert case.labels == (labels / "SUB2.npy",)
    assert case.other_labels == (labels / "VIBRANT.npy", labels / "VIBRANT+C2.npy")


def test_the_defaults_of_the_options_are_those_of_the_function(raw):
    defaults = {name: schema["default"] for name, schema in OPTIONS.items()}
    assert find_cases(raw, **defaults) == find_cases(raw)


def test_sequences_are_the_channels_in_their_order(raw):
    case = find_cases(raw, sequences=["VIBRANT+C2", "VIBRANT"]).cases[0]
    assert [path.stem for path in case.images] == ["VIBRANT+C2", "VIBRANT"]
    assert [path.stem for path in case.labels] == ["SUB2"]
    assert [path.stem for path in case.other_labels] == ["VIBRANT+C2", "VIBRANT"]


def test_the_raw_folder_may_be_that_of_the_layout(raw, raw_2d):
    assert find_cases(raw / "seg3D").cases == find_cases(raw).cases
    assert find_cases(raw_2d / "seg", "seg").cases == find_cases(raw_2d, "seg").cases


def test_masks_of_patients_elsewhere_are_one_note(raw):
    before = find_cases(raw).cases
    orphans = [f"BreaDM-Ma-{number}" for number in range(2001, 2007)]
    for patient in orphans:
        touch_files(raw, *volumes("train", patient, ["labels"]))
    found = find_cases(raw)
    assert found.cases == before
    assert found.problems == [
        Problem(
            "",
            "seg3D/train/labels",
            "note",
            "18 masks of 6 patients without images: BreaDM-Ma-2001, BreaDM-Ma-2002, "
            "BreaDM-Ma-2003, BreaDM-Ma-2004, BreaDM-Ma-2005 and 1 more",
            "left them out",
        )
    ]


@pytest.mark.parametrize("file", volumes("train", "BreaDM-Ma-1805"))
def test_a_missing_sequence_or_mask_is_an_error(raw, file):
    (raw / file).unlink()
    found = find_cases(raw)
    problem = Problem("BreaDM-Ma-1805", file, "error", "the file is missing", "add it")
    assert found.problems == [problem]
    assert "BreaDM-Ma-1805" not in [case.case for case in found.cases]


def test_sequences_that_are_not_asked_for_may_be_missing(raw):
    for path in raw.rglob("VIBRANT.npy"):
        path.unlink()
    found = find_cases(raw, sequences=["SUB2"])
    assert found.problems == []
    assert [len(case.images) for case in found.cases] == [1] * 4
    assert [case.other_labels for case in found.cases] == [()] * 4


def test_a_slice_is_a_case_named_after_its_path(raw_2d):
    case = find_cases(raw_2d, "seg").cases[3]
    assert (case.case, case.patient) == ("BreaDM-Ma-1901_SUB2_p-007", "BreaDM-Ma-1901")
    assert (case.split, case.class_label) == ("val", "malignant")
    assert [str(path.relative_to(raw_2d / "seg")) for path in case.files] == [
        "val/images/BreaDM-Ma-1901/SUB2/p-007.JPG",
        "val/labels/BreaDM-Ma-1901/SUB2/p-007.jpg",
    ]


def test_slices_in_two_splits_are_told_apart(raw_2d):
    found = find_cases(raw_2d, "seg")
    assert found.problems == []
    names = ["SUB2_p-031", "VIBRANT_p-031", "VIBRANT_C2_p-031"]
    doubles = [case for case in found.cases if case.patient == "BreaDM-Be-1801"]
    expected = {f"BreaDM-Be-1801_{name}_{s}": s for name in names for s in ("train", "test")}
    assert {case.case: case.split for case in doubles} == expected


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("BreaDM-Ma-1802/p-001", "BreaDM-Ma-1802_p-001"),
        ("BreaDM-Ma-1802-001", "BreaDM-Ma-1802-001"),
        ("BreaDM-Ma-1802_SUB2 (3)", "BreaDM-Ma-1802_SUB2_3_"),
    ],
)
def test_slices_may_lie_flatter(tmp_path, place, name):
    touch_files(tmp_path / "seg/train", f"images/{place}.png", f"labels/{place}.png")
    [case] = find_cases(tmp_path, "seg").cases
    assert (case.case, case.patient, case.split) == (name, "BreaDM-Ma-1802", "train")


def test_slices_need_one_mask_and_a_patient(raw_2d):
    (raw_2d / "seg/train/labels/BreaDM-Be-1801/SUB2/p-031.png").unlink()
    touch_files(
        raw_2d / "seg",
        "val/labels/BreaDM-Ma-1901/SUB2/p-007.png",
        "test/images/unknown/p-001.jpg",
        "test/labels/BreaDM-Be-1999/SUB2/p-001.png",
        "test/labels/BreaDM-Be-1999/SUB2/p-002.png",
        "test/labels/BreaDM-Be-1999/SUB2/Thumbs.db",
    )
    problems = find_cases(raw_2d, "seg").problems
    assert [(p.severity, p.file.removeprefix("seg/"), p.problem) for p in problems] == [
        ("error", "train/images/BreaDM-Be-1801/SUB2/p-031.jpg", "the picture has 0 masks"),
        ("error", "val/images/BreaDM-Ma-1901/SUB2/p-007.JPG", "the picture has 2 masks"),
        ("note", "test/labels", "2 masks of 1 patient without images: BreaDM-Be-1999"),
        ("error", "test/images/unknown/p-001.jpg", "the path does not begin with a patient"),
    ]
    mask = "seg/train/labels/BreaDM-Be-1801/SUB2/p-031.png"
    assert problems[0].action == f"have one mask, {mask} or .jpg"


@pytest.mark.parametrize("layout", ["seg3D", "seg"])
def test_files_of_macos_are_ignored(raw, raw_2d, layout):
    before = find_cases(raw, layout)
    for path in [*raw.rglob("*.npy"), *raw.rglob("*.jpg"), *raw.rglob("*.png")]:
        path.with_name(f"._{path.name}").touch()
    assert find_cases(raw, layout) == before


@pytest.mark.parametrize(
    ("layout", "other", "expected"),
    [
        ("seg3D", "seg", "seg3D/train/images/BreaDM-Be-NNNN/VIBRANT.npy of BreastDM, found seg/"),
        ("seg", "seg3D", "SEQUENCE/SLICE.jpg of BreastDM, found seg3D/"),
    ],
)
def test_another_layout_is_answered_with_what_was_found(raw, raw_2d, layout, other, expected):
    shutil.rmtree(raw / layout)
    with pytest.raises(FileNotFoundError, match=expected):
        find_cases(raw, layout)
    assert find_cases(raw, other).cases


def test_masks_alone_are_no_data_set(tmp_path):
    touch_files(tmp_path, *volumes("train", "BreaDM-Be-1801", ["labels"]))
    with pytest.raises(FileNotFoundError, match="BreastDM, found seg3D/"):
        find_cases(tmp_path)


def test_the_miniature_of_the_volumes_has_their_quirks(tmp_path):
    make_breastdm(tmp_path)
    found = find_cases(tmp_path)
    assert [problem.severity for problem in found.problems] == ["note"]
    assert [c.split for c in found.cases] == ["train"] * 8 + ["val"] * 2 + ["test"] * 4
    blank, differing = 0, 0
    for case in found.cases:
        images = [np.load(path) for path in case.images]
        reference = np.load(case.labels[0])
        assert {array.shape for array in (*images, reference)} == {(40, 44, 8)}
        assert {array.dtype for array in (*images, reference)} == {np.dtype(np.float64)}
        assert max(array.max() for array in images) <= 255
        empty = [~array.any(axis=(0, 1)) for array in images]
        assert all((one == empty[0]).all() for one in empty)
        assert not (reference > 127)[..., empty[0]].any()
        assert (reference > 127).any()
        blank += empty[0].any()
        differing += any((np.load(path) != reference).any() for path in case.other_labels)
    assert blank > 0
    assert differing == 1


def test_the_miniature_of_the_slices_has_its_quirks(tmp_path):
    make_breastdm_2d(tmp_path)
    found = find_cases(tmp_path, "seg")
    assert found.problems == []
    patients = {split: {c.patient for c in found.cases if c.split == split} for split in SPLITS}
    assert patients["train"] & patients["test"] == set(BREASTDM_DOUBLES)
    assert len(patients["train"]) == 5
    assert len(patients["test"] - patients["train"]) == 2
    names = [case.case for case in found.cases]
    assert len(set(names)) == len(names)


SPLITS = ("train", "val", "test")
