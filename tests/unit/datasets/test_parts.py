import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from segflow.datasets.parts import PartRule, assign_parts
from segflow.datasets.sources import SourceCase

HERE = Path(__file__).parents[3] / "workflow/scripts"
KEPT = "kept, because the published split was asked for"
MOVED = "its test images were moved to training"


def source(name, patient=None, split="train", **changes):
    return SourceCase(name, patient or name, split, (), (), **changes)


def splits(cases):
    return {case.case: case.split for case in cases}


def groups_of(cases):
    return {case.case: case.group for case in cases}


def random_cases(seed, published):
    """Return random cases of up to 30 patients with up to four visits, and near-duplicates."""
    draw = random.Random(seed)
    cases = []
    for patient in range(draw.randint(20, 30)):
        label = draw.choice(["benign", "malignant"])
        for visit in range(draw.choice([1, 1, 1, 2, 4])):
            split = draw.choice(["train", "train", "val", "test"]) if published else "train"
            name, later = f"c{patient:02d}_{visit}", visit > 0 and draw.random() < 0.5
            cases.append(source(name, f"p{patient}", split, class_label=label, follow_up=later))
    names = [case.case for case in cases]
    groups = {name: name for name in names}
    for _ in range(draw.randint(0, 4)):
        a, b = draw.sample(names, 2)
        groups[b] = groups[a]
    return cases, groups


def check_groups(given, assigned, groups):
    """Check that one patient, and one set of near-duplicates, is one group."""
    group = groups_of(assigned)
    kept = [case for case in given if case.case in group]
    for case in kept:
        for other in kept:
            together = case.patient == other.patient or groups[case.case] == groups[other.case]
            assert not together or group[case.case] == group[other.case]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("published", [False, True], ids=["unsplit", "published"])
def test_no_group_is_torn_apart_and_no_case_is_lost(seed, published):
    cases, groups = random_cases(seed, published)
    rule = PartRule(held_out=0.2, seed=seed)
    assigned, problems = assign_parts(cases, groups, rule)
    check_groups(cases, assigned, groups)
    sides = {
        split: {case.group for case in assigned if case.split == split}
        for split in ("train", "test")
    }
    assert sides["train"]
    assert not sides["train"] & sides["test"]
    assert {case.split for case in assigned} <= {"train", "test"}
    lost = {case.case for case in cases} - {case.case for case in assigned}
    assert all(case.follow_up for case in cases if case.case in lost)
    if published:
        assert not lost
        before = {case.case for case in cases if case.split == "test"}
        assert {case.case for case in assigned if case.split == "test"} <= before
    else:
        assert not any(case.follow_up for case in assigned if case.split == "test")
        assert bool(lost) == bool(problems)
    shuffled = random.Random(seed).sample(cases, len(cases))
    assert assign_parts(shuffled, groups, rule) == (assigned, problems)


@pytest.mark.parametrize("seed", range(10))
def test_the_published_split_is_kept_and_each_leak_is_told(seed):
    cases, groups = random_cases(seed, published=True)
    rule = PartRule(published=True, held_out=0.2, seed=seed)
    assigned, problems = assign_parts(cases, groups, rule)
    assert splits(assigned) == splits(cases)
    by_group = {}
    for case in assigned:
        by_group.setdefault(case.group, []).append(case)
    torn = [m[0].case for _, m in sorted(by_group.items()) if len({c.split for c in m}) > 1]
    assert [problem.case for problem in problems] == torn
    shuffled = random.Random(seed).sample(cases, len(cases))
    assert assign_parts(shuffled, groups, rule) == (assigned, problems)


@pytest.fixture
def leaky():
    return [
        source("x1", "x", "train"),
        source("x2", "x", "val"),
        source("x3", "x", "test"),
        source("y1", "y", "test"),
        source("z1", "z", "val"),
    ]


def test_a_leak_of_the_published_split_is_moved_to_training(leaky):
    assigned, [leak] = assign_parts(leaky, {}, PartRule(seed=1))
    assert splits(assigned) == {
        "x1": "train",
        "x2": "train",
        "x3": "train",
        "y1": "test",
        "z1": "train",
    }
    assert (leak.case, leak.file, leak.severity) == ("x1", "", "leak")
    assert leak.problem == "published split: patient x is in train (x1, x2) and in test (x3)"
    assert leak.action == MOVED


def test_a_leak_is_kept_where_the_published_split_is_asked_for(leaky):
    assigned, [leak] = assign_parts(leaky, {}, PartRule(published=True, seed=1))
    assert splits(assigned) == splits(leaky)
    text = "published split: patient x is in train (x1) and in val (x2) and in test (x3)"
    assert (leak.severity, leak.problem, leak.action) == ("leak", text, KEPT)


def test_a_leak_through_near_duplicates_names_the_group(leaky):
    groups = {case.case: case.case for case in leaky} | {"z1": "y1"}
    assigned, leaks = assign_parts(leaky, groups, PartRule(seed=1))
    assert [leak.problem for leak in leaks][1] == (
        "published split: group y of 2 patients is in train (z1) and in test (y1)"
    )
    assert splits(assigned)["y1"] == "train"


def test_a_leak_names_ten_cases_of_each_side():
    cases = [source(f"a{i:02d}", "p", "train") for i in range(12)]
    cases += [source(f"b{i:02d}", "p", "test") for i in range(10)]
    _, [leak] = assign_parts(cases, {}, PartRule(seed=1))
    first = ", ".join(f"a{i:02d}" for i in range(10))
    second = ", ".join(f"b{i:02d}" for i in range(10))
    assert leak.problem == (
        f"published split: patient p is in train ({first} and 2 more) and in test ({second})"
    )


def test_patients_joined_by_a_near_duplicate_are_one_group():
    cases = [source("1", "p9"), source("2", "p9"), source("3", "p1"), source("4", "p5")]
    assigned, _ = assign_parts(cases, {"2": "2", "3": "2"}, PartRule(seed=1))
    assert groups_of(assigned) == {"1": "p1", "2": "p1", "3": "p1", "4": "p5"}


def test_without_near_duplicates_the_converter_or_the_patient_says_the_group():
    cases = [source("1", "p", group="family"), source("2", "q", group="family"), source("3", "r")]
    assigned, _ = assign_parts(cases, {}, PartRule(seed=1))
    assert groups_of(assigned) == {"1": "family", "2": "family", "3": "r"}


def test_near_duplicates_join_the_groups_of_the_converter():
    cases = [source("1", "p", group="h"), source("2", "q", group="h"), source("3", "r", group="g")]
    assigned, _ = assign_parts(cases, {"2": "2", "3": "2"}, PartRule(seed=1))
    assert set(groups_of(assigned).values()) == {"g"}


def test_a_patient_and_a_near_duplicate_of_one_name_are_not_mixed_up():
    cases = [source("a", "b"), source("b", "c"), source("d", "e")]
    assigned, _ = assign_parts(cases, {"a": "a", "b": "b", "d": "b"}, PartRule(seed=1))
    assert groups_of(assigned) == {"a": "b", "b": "c", "d": "c"}


def test_groups_are_held_out_by_class():
    cases = [
        source(f"{label}{i}", class_label=label) for label in ("common", "rare") for i in range(10)
    ]
    cases += [source(f"more{i}", class_label="common") for i in range(20)]
    assigned, problems = assign_parts(cases, {}, PartRule(held_out=0.2, seed=3))
    counts = Counter(case.class_label for case in assigned if case.split == "test")
    assert counts == {"common": 6, "rare": 2}
    assert problems == []


@pytest.mark.parametrize("seed", range(5))
def test_rounding_by_class_keeps_the_share_of_all(seed):
    """Ten classes of 16 groups: a tenth of each is 1.6, of all 16."""
    cases = [source(f"{label}{i}", class_label=label) for label in "abcdefghij" for i in range(16)]
    assigned, _ = assign_parts(cases, {}, PartRule(held_out=0.1, seed=seed))
    counts = Counter(case.class_label for case in assigned if case.split == "test")
    assert sum(counts.values()) == 16
    assert {*counts.values()} == {1, 2}


@pytest.mark.parametrize(("held_out", "n_test"), [(0.1, 2), (0.25, 5), (0.45, 9), (0.5, 10)])
def test_a_share_of_a_set_without_classes_is_held_out(held_out, n_test):
    cases = [source(f"c{i:02d}") for i in range(20)]
    assigned, _ = assign_parts(cases, {}, PartRule(held_out=held_out, seed=1))
    assert Counter(splits(assigned).values()) == {"train": 20 - n_test, "test": n_test}


def test_the_seed_decides_what_is_held_out():
    cases = [source(f"c{i:02d}") for i in range(20)]
    one, same, other = (
        splits(assign_parts(cases, {}, PartRule(held_out=0.2, seed=seed))[0]) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_nothing_is_held_out_unless_asked_for():
    cases = [source("a", split="val"), source("b")]
    assigned, problems = assign_parts(cases, {}, PartRule(seed=1))
    assert (splits(assigned), problems) == ({"a": "train", "b": "train"}, [])


def test_published_test_cases_leave_nothing_to_hold_out(leaky):
    rule = PartRule(held_out=0.5, seed=1)
    assert assign_parts(leaky, {}, rule) == assign_parts(leaky, {}, PartRule(seed=1))


def test_later_visits_of_held_out_patients_are_left_out():
    cases = [source(f"{p}_{v}", p, follow_up=v > 0) for p in "abcdef" for v in range(3)]
    assigned, [note] = assign_parts(cases, {}, PartRule(held_out=0.5, seed=1))
    test = [case.case for case in assigned if case.split == "test"]
    assert len(test) == 3
    assert all(name.endswith("_0") for name in test)
    assert Counter(splits(assigned).values()) == {"test": 3, "train": 9}
    assert (note.case, note.file, note.severity) == ("", "", "note")
    assert note.problem == "6 later visits of patients who are held out"


def test_later_visits_of_held_out_patients_are_test_cases_if_asked_for():
    cases = [source(f"{p}_{v}", p, follow_up=v > 0) for p in "abcdef" for v in range(3)]
    rule = PartRule(held_out=0.5, later_visits=True, seed=1)
    assigned, problems = assign_parts(cases, {}, rule)
    assert Counter(splits(assigned).values()) == {"test": 9, "train": 9}
    assert problems == []


def test_a_patient_without_first_visit_is_trained_on():
    cases = [source(f"{i}") for i in range(4)] + [source("late", "q", follow_up=True)]
    for seed in range(5):
        assigned, _ = assign_parts(cases, {}, PartRule(held_out=0.5, seed=seed))
        assert splits(assigned)["late"] == "train"


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([], "held_out is 0.2, which needs 5 groups, found 0"),
        ([source(f"{i}", "p") for i in range(9)], "which needs 5 groups, found 1"),
        (
            [source(f"{i}", class_label="rare" if i < 4 else "common") for i in range(20)],
            "held_out is 0.2, which needs 5 groups of class 'rare', found 4",
        ),
    ],
)
def test_too_few_groups_to_hold_out_are_refused(cases, message):
    with pytest.raises(ValueError, match=message):
        assign_parts(cases, {}, PartRule(held_out=0.2, seed=1))


@pytest.mark.parametrize("held_out", [-0.1, 0.6, 1])
def test_a_share_out_of_range_is_refused(held_out):
    with pytest.raises(ValueError, match=f"held_out must be between 0 and 0.5, got {held_out}"):
        PartRule(held_out=held_out, seed=1)


DRAWN = {"val": 0.1, "test": 0.1, "seed": 7}


def test_a_published_split_by_rule_draws_case_by_case():
    cases = [source(f"c{i:03d}", f"p{i // 2}") for i in range(78)]
    rule = PartRule(published=True, random_split=DRAWN, seed=1)
    assigned, leaks = assign_parts(cases, {}, rule)
    assert Counter(splits(assigned).values()) == {"train": 62, "val": 8, "test": 8}
    pairs = zip(assigned[::2], assigned[1::2], strict=True)
    torn = sorted(one.group for one, other in pairs if one.split != other.split)
    assert [leak.problem.split()[3] for leak in leaks] == torn
    assert {leak.action for leak in leaks} == {KEPT}
    shuffled = random.Random(0).sample(cases, len(cases))
    assert assign_parts(shuffled, {}, replace(rule, seed=2)) == (assigned, leaks)
    drawn_otherwise, _ = assign_parts(cases, {}, replace(rule, random_split=DRAWN | {"seed": 8}))
    assert splits(drawn_otherwise) != splits(assigned)


def test_a_split_by_rule_does_not_count_unless_asked_for():
    cases = [source(f"c{i:03d}", f"p{i // 2}") for i in range(60)]
    with_rule = PartRule(held_out=0.2, random_split=DRAWN, seed=1)
    expected = assign_parts(cases, {}, PartRule(held_out=0.2, seed=1))
    assigned, problems = assign_parts(cases, {}, with_rule)
    assert assigned == expected[0]
    assert {problem.severity for problem in problems} == {"leak"}
    assert {problem.action for problem in problems} == {"groups are kept together instead"}
    assert expected[1] == []


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.1, -0.1)])
def test_impossible_shares_are_refused(val, test):
    with pytest.raises(ValueError, match="random_split needs shares that are not negative"):
        PartRule(random_split={"val": val, "test": test, "seed": 1}, seed=1)


def test_a_published_split_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="published split was asked for, but there is none"):
        assign_parts([source("a")], {}, PartRule(published=True, seed=1))


def test_what_the_start_of_the_workflow_needs_loads_nothing_heavy():
    code = (
        "import sys; from segflow.datasets.parts import *\n"
        "from segflow.datasets.sources import SourceCase\n"
        "cases = [SourceCase(n, 'p', s, (), ()) for n, s in (('a', 'train'), ('b', 'test'))]\n"
        "assign_parts(cases, {}, PartRule(seed=1))\n"
        "print(sorted({'numpy', 'scipy', 'sklearn'} & sys.modules.keys()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"
