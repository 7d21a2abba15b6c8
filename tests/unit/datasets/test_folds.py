import random

import pytest

from segflow.datasets.folds import check_folds, describe_folds, make_folds


@pytest.fixture
def cases(make_case):
    """Return 12 cases of 8 groups, four of which hold two cases."""
    names = [f"c{number:02d}" for number in range(12)]
    return [make_case(name, group=f"g{number % 8}") for number, name in enumerate(names)]


def test_each_case_is_validated_once_and_no_group_is_torn(cases):
    group_of = {case.case: case.group for case in cases}
    folds = make_folds(cases, 4, seed=1)
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(group_of)
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == sorted(group_of)
        training, validation = ({group_of[name] for name in fold[s]} for s in ("train", "val"))
        assert not training & validation


def test_folds_do_not_depend_on_the_order_of_cases(cases):
    shuffled = random.Random(0).sample(cases, len(cases))
    assert make_folds(shuffled, 4, seed=1) == make_folds(cases, 4, seed=1)


def test_the_seed_decides(cases):
    assert make_folds(cases, 4, seed=1) == make_folds(cases, 4, seed=1)
    assert make_folds(cases, 4, seed=1) != make_folds(cases, 4, seed=2)


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_balanced(make_case, seed):
    classes = {f"c{number:02d}": "rare" if number < 4 else "common" for number in range(20)}
    cases = [make_case(name, class_label=label) for name, label in classes.items()]
    for fold in make_folds(cases, 4, seed):
        labels = [classes[name] for name in fold["val"]]
        assert (labels.count("rare"), labels.count("common")) == (1, 4)


@pytest.mark.parametrize("seed", range(40))
def test_a_rare_label_is_in_every_fold(make_case, seed):
    cases = [
        make_case(f"c{number:02d}", label_voxels=f"{100 + number} {50 * (number < 6)}")
        for number in range(60)
    ]
    for fold in make_folds(cases, 5, seed):
        assert len(fold["val"]) == 12
        assert sum(name < "c06" for name in fold["val"]) in (1, 2)


@pytest.mark.parametrize("seed", range(20))
def test_small_and_large_labels_are_in_every_fold(make_case, seed):
    sizes = {f"c{number:02d}": number for number in range(30)}
    cases = [make_case(name, label_voxels=str(1 + size)) for name, size in sizes.items()]
    for fold in make_folds(cases, 5, seed):
        thirds = [sizes[name] // 10 for name in fold["val"]]
        assert [thirds.count(third) for third in range(3)] == [2, 2, 2]


@pytest.mark.parametrize("seed", range(20))
def test_groups_with_rare_labels_are_spread_whole(make_case, seed):
    """Of ten groups of three cases, five have a case with the second label."""
    cases = [
        make_case(f"c{n:02d}", group=f"g{n // 3}", label_voxels=f"9 {int(n % 6 == 0)}")
        for n in range(30)
    ]
    for fold in make_folds(cases, 5, seed):
        assert len(fold["val"]) == 6
        assert sum(int(name[1:]) % 6 == 0 for name in fold["val"]) == 1


def test_the_table_says_what_folds_hold_and_lack(make_case):
    cases = [
        make_case("a", class_label="x", label_voxels="10 0", group="g"),
        make_case("b", class_label="x", label_voxels="30 5", group="g"),
        make_case("c", class_label="y", label_voxels="0 0"),
    ]
    labels = {"background": 0, "liver": 1, "organ": [1, 2], "cyst": 3}
    rows = describe_folds([{"train": ["a", "b"], "val": ["c"]}], cases, labels)
    volume = 3 * 2 * 1  # of a voxel of the cases
    assert rows[0] == {
        "fold": "0",
        "part": "train",
        "cases": "2",
        "groups": "1",
        "class x": "2",
        "class y": "0",
        "cases with liver": "2",
        "median mm3 of liver": str(20 * volume),
        "cases with organ": "2",
        "median mm3 of organ": str(45 * volume // 2),
        "cases with cyst": "0",
        "median mm3 of cyst": "",
        "lacks": "class y",
    }
    assert rows[1]["lacks"] == "class x, liver, organ"


@pytest.mark.parametrize("n_folds", [1, 9])
def test_an_impossible_number_of_folds_is_refused(cases, n_folds):
    message = f"n_folds is {n_folds} for 8 groups; allowed are 2 to as many as there are groups"
    with pytest.raises(ValueError, match=message):
        make_folds(cases, n_folds, seed=1)


def test_a_class_that_is_too_rare_is_named(cases, make_case):
    cases += [make_case("r1", class_label="rare"), make_case("r2", class_label="rare")]
    with pytest.raises(ValueError, match="n_folds is 3, but class 'rare' has only 2 groups"):
        make_folds(cases, 3, seed=1)


@pytest.fixture
def four(make_case):
    return [make_case(name, group=name[0]) for name in ("a1", "a2", "b1", "c1")]


GOOD = [
    {"train": ["b1", "c1"], "val": ["a1", "a2"]},
    {"train": ["a1", "a2"], "val": ["b1", "c1"]},
]


def test_good_folds_pass(four):
    check_folds(GOOD, four, 2, "splits.json")


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (GOOD[:1], "1 fold, but n_folds is 2"),
        ([GOOD[0], {"train": ["a1"]}], "fold 1 needs cases under 'train' and under 'val'"),
        ([GOOD[0], {"train": [], "val": ["b1"]}], "fold 1 needs cases under 'train' and under"),
        ([GOOD[0], {**GOOD[1], "test": []}], "fold 1 needs cases under 'train' and under 'val'"),
        ([GOOD[0], {"train": ["x"], "val": ["b1", "c1"]}], "fold 1 names unknown cases: x"),
        (
            [GOOD[0], {"train": ["a1"], "val": ["b1", "b1", "c1"]}],
            "fold 1 names a case twice under 'val'",
        ),
        (
            [GOOD[0], {"train": ["a1", "a1"], "val": ["b1", "c1"]}],
            "fold 1 names a case twice under 'train'",
        ),
        (
            [{"train": ["a1", "b1"], "val": ["a2", "c1"]}, {"train": ["a1"], "val": ["b1"]}],
            "fold 0 has groups on both sides: a",
        ),
        (
            [GOOD[0], {"train": ["b1"], "val": ["a1", "c1"]}],
            "case 'a1' is validated in folds 0 and 1",
        ),
        ([GOOD[0], {"train": ["a1"], "val": ["b1"]}], "cases that no fold validates: c1"),
    ],
)
def test_bad_folds_are_refused(four, folds, message):
    with pytest.raises(ValueError, match=f"^splits.json: {message}"):
        check_folds(folds, four, 2, "splits.json")


def test_all_problems_are_in_one_message(four):
    folds = [{"train": ["x"], "val": ["a1"]}, {"train": ["a2"], "val": ["a1"]}, GOOD[1]]
    with pytest.raises(ValueError, match=r"3 folds, .*fold 0 names unknown.*fold 1 has groups"):
        check_folds(folds, four, 2, "splits.json")


def test_made_folds_pass_the_check(cases):
    check_folds(make_folds(cases, 4, seed=1), cases, 4, "splits.json")
