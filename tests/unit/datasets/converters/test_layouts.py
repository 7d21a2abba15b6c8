"""Every shipped data set, from a miniature of its published layout to checked folds."""

import csv

import pytest

from conversion import RULE, convert, describe, gather, without_brain
from inbreast import make_inbreast
from layouts import BREASTDM_DOUBLES, LAYOUTS
from make_splits import main as make_splits
from segflow.datasets.dataset_json import make_dataset_json
from segflow.files.content import read_json
from segflow.run.descriptions import load_descriptions
from user_layouts import make_adni

SMALL = {"contours": ["Mass"], "mammography": {"iterations": 6, "margin_px": 5}}
MAKERS = LAYOUTS | {
    "adni": make_adni,
    "adni_by_session": make_adni,
    "inbreast": lambda folder: make_inbreast(folder, 6),
}


def run(name, folder, published=False, n_folds=2):
    """Convert both parts of a miniature, gather its cases and divide them into folds."""
    raw = folder / "raw"
    raw.mkdir()
    MAKERS[name](raw)
    dataset = describe(name)
    if "brain" in dataset["reading"]:
        dataset = without_brain(dataset)
    if name == "inbreast":
        dataset["reading"] |= SMALL
    rule = RULE | {
        "published": published,
        "random_split": dataset.get("random_split"),
        "held_out": 0.3 if "held_out" in dataset else 0.0,
    }
    for part in ("train", "test"):
        convert(raw, dataset, folder, part, rule=rule)
    gather(folder, published)
    splits = folder / "splits.json"
    make_splits(folder / "train.csv", None, published, n_folds, 1, splits, folder / "nnunet.json")
    return read(folder / "cases.csv"), read(folder / "problems.csv"), read_json(splits)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_shipped_data_set_has_a_miniature():
    assert MAKERS.keys() | {"hippocampus"} == load_descriptions("dataset").keys()


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_miniature_is_converted_and_divided_without_leaks(tmp_path, name):
    cases, problems, folds = run(name, tmp_path)
    assert not [problem for problem in problems if problem["severity"] == "error"]
    test = [case for case in cases if case["split"] == "test"]
    training = {case["case"]: case for case in cases if case["split"] == "train"}
    assert len(training) >= 8
    groups = [{training[name]["group"] for name in fold[side]} for fold in folds for side in fold]
    for train, val in zip(groups[::2], groups[1::2], strict=True):
        assert not train & val
    assert not {case["group"] for case in test} & {c["group"] for c in training.values()}
    folder = tmp_path / "converted"
    assert len(list(folder.glob("imagesTr/*_0000.nii.gz"))) == len(training)
    assert len(list(folder.glob("imagesTs/*_0000.nii.gz"))) == len(test)
    labelled = [case for case in training.values() if case["label"]]
    assert len(list(folder.glob("labelsTr/*.nii.gz"))) == len(labelled)


def leaks(problems):
    return [problem for problem in problems if problem["severity"] == "leak"]


def test_the_published_split_of_breastdm_leaks_and_is_used_without_its_leaks(tmp_path):
    cases, problems, _ = run("breastdm_2d", tmp_path)
    assert len(leaks(problems)) == len(BREASTDM_DOUBLES)
    assert all("moved to training" in leak["action"] for leak in leaks(problems))
    patients = {case["patient"] for case in cases if case["split"] == "test"}
    assert patients
    assert not patients & set(BREASTDM_DOUBLES)


def test_the_published_split_of_breastdm_can_be_asked_for(tmp_path):
    cases, problems, folds = run("breastdm_2d", tmp_path, published=True, n_folds=1)
    assert len(leaks(problems)) == len(BREASTDM_DOUBLES)
    for case in cases:
        assert (case["split"] == "test") == (case["published_split"] == "test")
    val = {case["case"] for case in cases if case["published_split"] == "val"}
    assert [set(fold["val"]) for fold in folds] == [val]


def test_one_published_fold_cannot_become_two(tmp_path):
    with pytest.raises(ValueError, match="1 fold, but n_folds is 2"):
        run("pancreas", tmp_path, published=True, n_folds=2)


def test_labels_of_brats_2021_become_consecutive(tmp_path):
    run("brats2021", tmp_path)
    description = make_dataset_json(load_descriptions("dataset")["brats2021"], [])
    assert description["reading"]["label_values"] == {"4": 3}
    assert description["regions_class_order"] == [2, 1, 3]


def test_a_split_by_session_has_subjects_on_both_sides_and_says_so(tmp_path):
    cases, problems, (fold,) = run("adni_by_session", tmp_path, published=True, n_folds=1)
    patients = {case["case"]: case["patient"] for case in cases}
    test = {case["patient"] for case in cases if case["split"] == "test"}
    training, validation = ({patients[name] for name in fold[side]} for side in ("train", "val"))
    torn = (training & validation) | (training & test) | (validation & test)
    assert torn
    assert all(
        "kept, because the published split was asked for" in p["action"] for p in leaks(problems)
    )
    named = {name for problem in leaks(problems) for name in torn if name in problem["problem"]}
    assert named == torn
