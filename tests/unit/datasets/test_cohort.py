import pytest
from scipy.stats import kruskal

from segflow.datasets.cohort import BETWEEN_CLASSES, BETWEEN_PARTS, describe_cohort
from segflow.datasets.folds import baseline_only, check_folds
from segflow.files.cases import Case

CLASSES = ["CN", "AD"]


def case(name, patient, label, split="train", **covariates):
    empty = dict.fromkeys(
        ("images", "label", "image_sha256", "label_sha256", "content", "shape", "spacing_mm"), ""
    )
    return Case(
        case=name,
        patient=patient,
        group=patient,
        split=split,
        class_label=label,
        covariates=covariates,
        **empty,
    )


CASES = [
    case("a_0", "a", "CN", age="70", sex="F", mmse="30", visit="baseline"),
    case("a_1", "a", "CN", age="71", sex="F", mmse="29", visit="follow-up"),
    case("b_0", "b", "CN", age="74", sex="M", mmse="28", visit="baseline"),
    case("c_0", "c", "AD", age="80", sex="F", mmse="20", visit="baseline"),
    case("d_0", "d", "AD", age="82", mmse="18", visit="baseline"),
    case("d_1", "d", "AD", age="83", mmse="17", visit="follow-up"),
    case("e_0", "e", "AD", split="test", age="60", sex="M", visit="baseline"),
]
FOLDS = [
    {"train": ["a_0", "a_1", "c_0"], "val": ["b_0", "d_0", "d_1"]},
    {"train": ["b_0", "d_0", "d_1"], "val": ["a_0", "a_1", "c_0"]},
]


def find(rows, **wanted):
    (row,) = (row for row in rows if wanted.items() <= row.items())
    return row


@pytest.fixture
def rows():
    return describe_cohort(CASES, FOLDS, CLASSES)


def test_numbers_count_each_subject_once_with_the_first_visit(rows):
    row = find(rows, fold="0", part="train", **{"class": "all"})
    assert (row["cases"], row["subjects"], row["F"], row["M"], row["sex unknown"]) == (
        3,
        2,
        2,
        0,
        0,
    )
    assert (row["age mean"], row["age sd"], row["age n"]) == ("75.00", "7.07", 2)
    assert (row["mmse mean"], row["cdr mean"], row["cdr n"]) == ("25.00", "", 0)


def test_an_unknown_sex_counts_by_itself(rows):
    row = find(rows, fold="0", part="val", **{"class": "AD"})
    assert (row["F"], row["M"], row["sex unknown"]) == (0, 0, 1)


def test_test_cases_stand_beside_all_training_cases(rows):
    row = find(rows, part="test", **{"class": "AD"})
    assert (row["fold"], row["cases"], row["age mean"]) == ("", 1, "60.00")
    assert find(rows, part="all training", **{"class": "all"})["subjects"] == 4


def test_differences_are_tested_between_classes_and_between_parts(rows):
    between = find(rows, part="all training", **{"class": BETWEEN_CLASSES})
    assert float(between["age mean"]) == pytest.approx(kruskal([70, 74], [80, 82]).pvalue, rel=5e-3)
    parts = find(rows, fold="0", part=BETWEEN_PARTS, **{"class": "all"})
    assert float(parts["age mean"]) == pytest.approx(kruskal([70, 80], [74, 82]).pvalue, rel=5e-3)
    # Of one sex only in all groups nothing can be tested.
    assert find(rows, fold="0", part="train", **{"class": BETWEEN_CLASSES})["F"] == ""


def test_folds_can_validate_first_visits_only():
    folds = baseline_only(FOLDS, CASES)
    assert [fold["val"] for fold in folds] == [["b_0", "d_0"], ["a_0", "c_0"]]
    assert [fold["train"] for fold in folds] == [fold["train"] for fold in FOLDS]
    training = [one for one in CASES if one.split == "train"]
    check_folds(folds, training, 2, "splits.json", baseline=True)
    with pytest.raises(ValueError, match="no fold validates: a_1, d_1"):
        check_folds(folds, training, 2, "splits.json")


def test_sessions_of_one_subject_on_both_sides_stop_the_run():
    torn = [{"train": ["a_0", "c_0", "d_0"], "val": ["a_1", "b_0", "d_1"]}, FOLDS[1]]
    training = [one for one in CASES if one.split == "train"]
    with pytest.raises(ValueError, match="fold 0 has groups on both sides: a, d"):
        check_folds(torn, training, 2, "splits.json", baseline=True)
