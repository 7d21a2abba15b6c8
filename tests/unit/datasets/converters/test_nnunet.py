import json
import shutil
from pathlib import Path

import pytest

from segflow.datasets.converters import msd
from segflow.datasets.converters.nnunet import describe, find_cases
from segflow.images.nifti import read_image
from user_layouts import make_nnunet

DESCRIPTION = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


@pytest.fixture
def raw(tmp_path):
    for name in (
        *("imagesTr/a_0000", "imagesTr/a_0001", "labelsTr/a"),
        *("imagesTr/b_1_0000", "imagesTr/b_1_0001", "labelsTr/b_1"),
        *("imagesTs/c_0000", "imagesTs/c_0001"),
        *("imagesTs/d_0000", "imagesTs/d_0001", "labelsTs/d"),
    ):
        path = tmp_path / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return write(tmp_path)


def write(raw, without=(), **changes):
    description = {k: v for k, v in {**DESCRIPTION, **changes}.items() if k not in without}
    (raw / "dataset.json").write_text(json.dumps(description))
    return raw


def files(raw):
    return {
        case.case: (case.split, [path.relative_to(raw).as_posix() for path in case.files])
        for case in find_cases(raw).cases
    }


def errors(raw):
    catalogue = find_cases(raw)
    assert all(problem.severity == "error" for problem in catalogue.problems)
    return [(problem.file, problem.problem) for problem in catalogue.problems]


def test_cases_have_their_channels_label_and_split(raw):
    assert files(raw) == {
        "a": (
            "train",
            ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"],
        ),
        "b_1": (
            "train",
            ["imagesTr/b_1_0000.nii.gz", "imagesTr/b_1_0001.nii.gz", "labelsTr/b_1.nii.gz"],
        ),
        "c": ("test", ["imagesTs/c_0000.nii.gz", "imagesTs/c_0001.nii.gz"]),
        "d": (
            "test",
            ["imagesTs/d_0000.nii.gz", "imagesTs/d_0001.nii.gz", "labelsTs/d.nii.gz"],
        ),
    }
    catalogue = find_cases(raw)
    assert catalogue.problems == []
    assert [case.labels is None for case in catalogue.cases] == [False, False, True, False]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".png"])
def test_the_miniature_is_read_in_every_format(tmp_path, ending):
    catalogue = find_cases(make_nnunet(tmp_path, ending))
    assert catalogue.problems == []
    assert [case.split for case in catalogue.cases] == ["train"] * 8 + ["test"] * 2
    first = catalogue.cases[0]
    assert len(first.images) == (1 if ending == ".png" else 2)
    assert all(case.labels for case in catalogue.cases)
    for path in first.files:
        assert read_image(path)[0].any()


def test_nnunet_finds_the_same_files_in_the_miniature(tmp_path):
    utils = pytest.importorskip("nnunetv2.utilities.utils")
    raw = make_nnunet(tmp_path)
    theirs = utils.get_filenames_of_train_images_and_targets(str(raw))
    ours = {
        case.case: {"images": [str(path) for path in case.images], "label": str(case.labels[0])}
        for case in find_cases(raw).cases
        if case.split == "train"
    }
    assert ours == theirs


def test_files_of_macos_and_of_other_endings_are_ignored(raw):
    before = find_cases(raw)
    for path in list(raw.rglob("*.nii.gz")):
        path.with_name(f"._{path.name}").touch()
        path.with_name(path.name.replace(".nii.gz", ".json")).touch()
    assert find_cases(raw) == before


def test_a_missing_label_is_named(raw):
    (raw / "labelsTr/a.nii.gz").unlink()
    assert errors(raw) == [("imagesTr/a_0000.nii.gz", "has no partner in labelsTr")]


def test_missing_and_surplus_channels_are_named(raw):
    (raw / "imagesTs/c_0000.nii.gz").unlink()
    (raw / "imagesTs/d_0002.nii.gz").touch()
    assert errors(raw) == [
        ("imagesTs/c_0001.nii.gz", "found channels 0001, but dataset.json names 2"),
        ("imagesTs/d_0000.nii.gz", "found channels 0000, 0001, 0002, but dataset.json names 2"),
    ]
    assert find_cases(raw).problems[0].action == "expected 0000 (T1), 0001 (T2)"


def test_one_file_may_hold_all_channels(raw):
    for path in raw.rglob("*_0001.nii.gz"):
        path.unlink()
    assert errors(raw) == []
    assert files(raw)["c"] == ("test", ["imagesTs/c_0000.nii.gz"])


def test_labels_without_image_and_images_without_channel_are_named(raw):
    (raw / "labelsTr/e.nii.gz").touch()
    (raw / "labelsTs/f.nii.gz").touch()
    (raw / "imagesTr/g.nii.gz").touch()
    assert errors(raw) == [
        ("imagesTr/g.nii.gz", "the name has no channel"),
        ("labelsTr/e.nii.gz", "has no partner in imagesTr"),
        ("labelsTs/f.nii.gz", "has no partner in imagesTs"),
    ]


def listed(raw, **entries):
    return write(raw, dataset=entries)


def test_dataset_json_may_list_the_training_cases(raw):
    (raw / "elsewhere").mkdir()
    for name in ("x.nii.gz", "y.nii.gz", "z.nii.gz"):
        (raw / "elsewhere" / name).touch()
    listed(
        raw,
        one={
            "images": ["elsewhere/x.nii.gz", str(raw / "elsewhere/y.nii.gz")],
            "label": "./elsewhere/../elsewhere/z.nii.gz",
        },
    )
    found = files(raw)
    assert found["one"] == (
        "train",
        ["elsewhere/x.nii.gz", "elsewhere/y.nii.gz", "elsewhere/z.nii.gz"],
    )
    assert set(found) == {"one", "c", "d"}


def test_variables_in_listed_files_are_filled_in(raw, monkeypatch):
    monkeypatch.setenv("SCANS", "imagesTr")
    entry = {"images": ["$SCANS/a_0000.nii.gz", "${SCANS}/a_0001.nii.gz"], "label": "labelsTr/a"}
    listed(raw, a=entry)
    assert files(raw)["a"][1][:2] == ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"images": ["../x", "y"], "label": "z"}, "../x lies outside the raw folder"),
        ({"images": ["x", "y"], "label": "/z"}, "/z lies outside the raw folder"),
        ({"images": ["x", "y", "w"], "label": "z"}, "3 images for 2 channels"),
        ({"images": [], "label": "z"}, "0 images for 2 channels"),
        ({"images": ["x", "y"]}, "dataset: one: expected a list of images and a label"),
        ({"images": "x", "label": "z"}, "dataset: one: expected a list of images and a label"),
        ("x", "dataset: one: expected a list of images and a label"),
    ],
)
def test_a_listed_case_that_cannot_be_is_named(raw, entry, problem):
    (error,) = errors(listed(raw, one=entry))
    assert error[0] == "dataset.json"
    assert error[1].startswith(problem)


def test_an_empty_list_is_an_error(raw):
    assert errors(listed(raw))[0] == (
        "dataset.json",
        "dataset: expected cases with their images and label",
    )


def test_describe_returns_channels_and_labels_in_order(raw):
    write(raw, channel_names={"1": "T2", "0": "T1"}, labels={"organ": 2, "background": "0", "x": 1})
    described = describe(raw)
    assert described == {
        "channels": ["T1", "T2"],
        "labels": {"background": 0, "organ": 2, "x": 1},
    }
    assert list(described["labels"]) == ["background", "organ", "x"]


def test_describe_returns_regions_with_their_order(raw):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
    write(raw, labels=labels, regions_class_order=[1, 2, 3])
    assert describe(raw) == {
        "channels": ["T1", "T2"],
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
        "regions_class_order": [1, 2, 3],
    }


def test_an_order_without_regions_does_not_count(raw):
    write(raw, labels={"background": 0, "organ": [1]}, regions_class_order=[1])
    assert describe(raw) == {"channels": ["T1", "T2"], "labels": {"background": 0, "organ": 1}}


def test_describe_reads_the_form_of_version_1(raw):
    labels = {"0": "Background", "2": "tumour", "1": "liver"}
    write(raw, without=["channel_names", "file_ending"], modality={"0": "CT"}, labels=labels)
    expected = {"channels": ["CT"], "labels": {"background": 0, "liver": 1, "tumour": 2}}
    assert describe(raw) == expected
    for path in raw.glob("images*/*_0001.nii.gz"):
        path.unlink()
    assert set(files(raw)) == {"a", "b_1", "c", "d"}


def test_describe_reads_the_embedded_task_of_the_decathlon(hippocampus):
    assert msd.describe(hippocampus) == {
        "channels": ["MRI"],
        "labels": {"background": 0, "Anterior": 1, "Posterior": 2},
    }


def test_describe_reads_a_published_task_of_the_decathlon():
    task = Path(__file__).parents[4].parent / "shared/data/Task04_Hippocampus"
    if not task.is_dir():
        pytest.skip("the published task is not here")
    assert msd.describe(task)["labels"] == {"background": 0, "Anterior": 1, "Posterior": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": ["labels"]}, "the key 'labels' is missing, found channel_names, numTraining"),
        ({"without": ["channel_names"]}, "the key 'channel_names' is missing"),
        ({"without": ["file_ending"]}, "the key 'file_ending' is missing"),
        ({"file_ending": "nii.gz"}, "file_ending: expected an ending with its dot"),
        ({"file_ending": 3}, "file_ending: expected text that is not empty, found 3"),
        ({"channel_names": ["T1"]}, "channel_names: expected an object"),
        ({"channel_names": {"1": "T1"}}, "channel_names: expected the keys 0 to 0, found 1"),
        ({"labels": {}}, "labels: expected an object that is not empty"),
        ({"labels": {"background": 0}}, "labels: expected the background with value 0 and at"),
        ({"labels": {"organ": 1, "lesion": 2}}, "labels: expected the background with value 0"),
        ({"labels": {"background": 0, "organ": "one"}}, "labels: organ: expected a whole number"),
        ({"labels": {"background": 0, "organ": 1.5}}, "labels: organ: expected a whole number"),
        ({"labels": {"background": 0, "organ": [0, 1]}}, "labels: organ: expected a whole number"),
        ({"labels": {"background": 0, "void": 0}}, "labels: 'background' is there twice"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, "labels: 'a' is there twice"),
        (
            {"labels": {"background": 0, "ignore": 1}},
            "labels: expected the background with value 0 and at least one label",
        ),
        (
            {"labels": {"background": 0, "all": [1, 2], "core": 2}},
            "the key 'regions_class_order' is missing",
        ),
        (
            {"labels": {"background": 0, "all": [1, 2], "core": 2}, "regions_class_order": [1]},
            "regions_class_order: expected 2 whole numbers",
        ),
    ],
)
def test_an_incomplete_dataset_json_is_answered_in_one_line(raw, changes, message):
    write(raw, **changes)
    ((file, problem),) = errors(raw)
    assert file == "dataset.json"
    assert problem.startswith(message)
    assert "\n" not in problem
    if "file_ending" not in changes and changes.get("without") != ["file_ending"]:
        with pytest.raises(ValueError, match=r"dataset\.json: ") as error:
            describe(raw)
        assert str(error.value) == f"{raw / 'dataset.json'}: {problem}"


@pytest.mark.parametrize("text", ['{"labels": ', "", "[1, 2]", "\ufeff{}"])
def test_a_damaged_dataset_json_is_answered_in_one_line(raw, text):
    (raw / "dataset.json").write_text(text)
    ((file, problem),) = errors(raw)
    assert file == "dataset.json"
    assert "\n" not in problem
    with pytest.raises(ValueError, match=r"dataset\.json: "):
        describe(raw)


def test_another_layout_is_answered_with_what_was_found(raw):
    shutil.rmtree(raw / "imagesTr")
    with pytest.raises(FileNotFoundError, match=r"expected dataset.json.*found dataset.json, im"):
        find_cases(raw)
    (raw / "dataset.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected dataset.json"):
        find_cases(raw)
    with pytest.raises(FileNotFoundError, match=r"dataset.json: no such file"):
        describe(raw)


def test_a_task_of_the_decathlon_is_another_layout(hippocampus):
    with pytest.raises(FileNotFoundError, match=r"with files NAME_0000\.nii\.gz"):
        find_cases(hippocampus)


def test_what_is_ignored_is_no_label_that_regions_paint(raw):
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    write(raw, labels=labels, regions_class_order=[1, 2])
    assert describe(raw)["labels"] == labels
    assert describe(raw)["regions_class_order"] == [1, 2]
