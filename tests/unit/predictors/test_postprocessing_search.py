import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing
from scipy import ndimage

from plain_postprocessing import plain_steps
from predictions import make_predictions, spoil
from segflow.evaluation.bootstrap import mean_intervals
from segflow.evaluation.lesions import LesionRule
from segflow.evaluation.metrics import joint_histogram, overlap
from segflow.evaluation.one_case import Settings, evaluate_case
from segflow.files.labels import foreground
from segflow.images.nifti import read_labels, write_image
from segflow.predictors.component_tables import describe_components, tabulate_cases
from segflow.predictors.components import compare_pieces, read_table
from segflow.predictors.pooled_cases import Cohort
from segflow.predictors.postprocessing import postprocess_cases
from segflow.predictors.postprocessing_search import Search, choose_steps, search
from segflow.predictors.steps import Step, read_steps, run_steps
from segflow.predictors.thresholds import pick_volumes

ONE = {"background": 0, "organ": 1}
PLAIN = {"background": 0, "a": 1, "b": 2, "c": 3}
NESTED = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3}
CROSSED = {"background": 0, "left": [1, 2], "right": [2, 3], "b": 2}
SHARED = Path(__file__).parents[4] / "shared/data"
NNUNET = Search(adopt="in_sample", operations=("keep_largest",), largest=(1,))
SMALL = (1, 13, 17), (6, 9, 8), (3, 12, 10)


def drawn(*rows):
    return np.array([[list(map(int, row)) for row in rows]], np.uint8)


def cohort_of(references, predictions, labels, rule=None, voxel_mm3=None):
    voxel_mm3 = voxel_mm3 or dict.fromkeys(references, 1.0)
    tables = {
        case: compare_pieces(predictions[case], references[case], voxel_mm3[case])
        for case in references
    }
    return Cohort(tables, labels, rule)


def dice_of(reference, prediction, labels):
    histogram = joint_histogram(reference, prediction, 4)
    return [overlap(histogram, values, 1.0)["dice"] for values in foreground(labels).values()]


def lesion_f1_of(reference, prediction, values, rule, voxel_mm3):
    """Match as many components as can be, by masks of single components and augmenting paths."""
    lesions = []
    for label_map in (reference, prediction):
        found, count = ndimage.label(np.isin(label_map, values), np.ones((3, 3, 3)))
        masks = [found == number for number in range(1, count + 1)]
        lesions.append([mask for mask in masks if mask.sum() * voxel_mm3 >= rule.min_volume_mm3])
    near = [
        [
            j
            for j, guess in enumerate(lesions[1])
            if (true & guess).any()
            and (true & guess).sum() / (true | guess).sum() >= rule.threshold
        ]
        for true in lesions[0]
    ]
    partner = {}

    def finds(i, seen):
        for j in near[i]:
            if j not in seen:
                seen.add(j)
                if j not in partner or finds(partner[j], seen):
                    partner[j] = i
                    return True
        return False

    n_matched = sum(finds(i, set()) for i in range(len(near)))
    total = len(lesions[0]) + len(lesions[1])
    return 2 * n_matched / total if total else np.nan


def random_steps(generator, scopes, largest_volume):
    """Return some fills and removals."""
    steps = []
    for operations, most in ((["fill_holes"], 2), (["keep_largest", "drop_small"], 4)):
        for _ in range(generator.integers(0, most)):
            labels = scopes[generator.integers(len(scopes))]
            operation = operations[generator.integers(len(operations))]
            volume = float(np.exp(generator.uniform(0, np.log(largest_volume))))
            parameter = int(generator.integers(1, 4)) if operation == "keep_largest" else volume
            steps.append(Step("scope", labels, operation, parameter))
    return steps


def check_scores(references, predictions, labels, seed, n_chains, voxel_mm3, largest_volume):
    generator = np.random.default_rng(seed)
    names = tuple(foreground(labels))[-2:]
    rule = LesionRule(names, "iou", 0.1, 3.0)
    cohort = cohort_of(references, predictions, labels, rule, voxel_mm3)
    scopes = [*cohort.scopes.values()]
    for _ in range(n_chains):
        steps = random_steps(generator, scopes, largest_volume)
        scores = cohort.score(run_steps(cohort.pool, steps))
        for number, case in enumerate(cohort.cases):
            after = plain_steps(predictions[case], steps, voxel_mm3[case])
            np.testing.assert_array_equal(
                scores.dice[number], dice_of(references[case], after, labels)
            )
            expected = [
                lesion_f1_of(
                    references[case], after, foreground(labels)[name], rule, voxel_mm3[case]
                )
                for name in names
            ]
            np.testing.assert_array_equal(scores.lesion_f1[number], expected)


@pytest.mark.parametrize("labels", [PLAIN, NESTED, CROSSED], ids=["plain", "nested", "crossed"])
@pytest.mark.parametrize("seed", range(25))
def test_scores_from_tables_are_those_of_images(labels, seed):
    generator = np.random.default_rng(seed)
    references, predictions, voxel_mm3 = {}, {}, {}
    for case in "xyz":
        shape = SMALL[generator.integers(len(SMALL))]
        share = generator.uniform(0, 0.7)
        parts = [1 - share, share / 2, share / 4, share / 4]
        maps = [generator.choice(4, shape, p=parts).astype(np.uint8) for _ in range(2)]
        kept = generator.random(shape) < 0.6
        references[case] = maps[0]
        predictions[case] = np.where(kept, *maps)
        voxel_mm3[case] = generator.uniform(0.5, 3)
    check_scores(references, predictions, labels, seed, 4, voxel_mm3, 60)


def test_scores_of_real_cases_too(hippocampus):
    generator = np.random.default_rng(0)
    references = {
        path.name: read_labels(path)[0].astype(np.uint8)
        for path in sorted((hippocampus / "labelsTr").glob("*.nii.gz"))[:4]
    }
    predictions = {case: spoil(label_map, generator) for case, label_map in references.items()}
    labels = {"background": 0, "anterior": 1, "posterior": 2}
    check_scores(references, predictions, labels, 1, 6, dict.fromkeys(references, 1.0), 2000)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("kits19", {"background": 0, "kidney": [1, 2], "tumour": 2}),
        ("kits23", {"background": 0, "all": [1, 2, 3], "masses": [2, 3], "tumour": 2}),
        ("kits23", PLAIN),
    ],
)
def test_scores_of_real_crops_too(name, labels):
    files = sorted((SHARED / name).rglob("segmentation.nii.gz"))[:2]
    if not files:
        pytest.skip(f"{name} is not there")
    generator = np.random.default_rng(2)
    references = {}
    for path in files:
        label_map = read_labels(path)[0].astype(np.uint8)
        places = np.argwhere(label_map > 1).mean(0).astype(int)
        box = tuple(slice(max(0, place - 30), place + 30) for place in places)
        references[path.parent.name] = label_map[box]
    predictions = {case: spoil(label_map, generator) for case, label_map in references.items()}
    check_scores(references, predictions, labels, 3, 4, dict.fromkeys(references, 0.6), 20000)


def test_scores_by_hand():
    reference = drawn("11110", "00000", "22000")
    prediction = drawn("01110", "00000", "20020")
    rule = LesionRule(("b",), "voxels", 1, 0.0)
    cohort = cohort_of({"x": reference}, {"x": prediction}, PLAIN, rule)
    scores = cohort.score(cohort.untouched)
    # 2 * 3 / (4 + 3); 2 * 1 / (2 + 2); c is nowhere. Of two lesions one is true.
    np.testing.assert_array_equal(scores.dice, [[6 / 7, 0.5, np.nan]])
    np.testing.assert_array_equal(scores.lesion_f1, [[2 / 3]])
    after = run_steps(cohort.pool, [Step("b", (2,), "drop_small", 2.0)])
    np.testing.assert_array_equal(cohort.score(after).dice, [[6 / 7, 0, np.nan]])
    np.testing.assert_array_equal(cohort.score(after).lesion_f1, [[0]])


@pytest.mark.parametrize(
    ("wrong", "volumes", "count", "expected"),
    [
        ([], [1, 2], 5, []),
        ([1, 1, 3], [1, 1, 3, 90], 5, [2, 20]),  # sqrt(3) and sqrt(270), rounded
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], 3, [1.4, 3.5, 6]),
        ([4], [4], 5, [5]),  # sqrt(4 * 6), rounded
        ([1.001], [1.001, 1.002], 5, [1.0015]),
        ([1, 1 + 1e-7], [1, 1 + 1e-7, 3], 5, [2]),  # one volume, read from two headers
    ],
)
def test_volumes_lie_between_a_wrong_piece_and_the_next_one(wrong, volumes, count, expected):
    assert pick_volumes(np.array(wrong), np.array(volumes), count) == expected


def test_components_are_described():
    reference = drawn("111000", "111000", "000000", "000000")
    prediction = drawn("111002", "101000", "111000", "000001")
    rows = list(describe_components(cohort_of({"x": reference}, {"x": prediction}, PLAIN)))
    shown = [tuple(row.values()) for row in rows if row["scope"] != "c"]
    assert shown == [
        ("x", "foreground", "component", 8, 8.0, 5, 1, 1),
        ("x", "foreground", "component", 1, 1.0, 0, 2, 1),
        ("x", "foreground", "component", 1, 1.0, 0, 3, 1),
        ("x", "foreground", "hole", 1, 1.0, 1, 1, 0),
        ("x", "a", "component", 8, 8.0, 5, 1, 1),
        ("x", "a", "component", 1, 1.0, 0, 2, 1),
        ("x", "a", "hole", 1, 1.0, 1, 1, 0),
        ("x", "b", "component", 1, 1.0, 0, 1, 1),
    ]


ORGAN = drawn("1111000", "1111000", "0000000", "0000000")
ISLAND = drawn("1111000", "1111000", "0000000", "0000001")  # Dice 16/17
SPLIT = drawn("1101000", "1101000", "0000000", "0000000")  # without the small part 8/12 from 12/14
CLEAN = drawn("1111000", "1111000", "0000000", "0000000")


def test_a_step_that_helps_is_adopted_and_its_gain_is_honest():
    names = ["c1", "c2", "c3", "c4", "c5"]
    cohort = cohort_of(dict.fromkeys(names, ORGAN), dict.fromkeys(names, ISLAND), ONE)
    found = search(cohort, Search(), {"c1": 0, "c2": 0, "c3": 1, "c4": 1, "c5": 1})
    assert [(step["scope"], step["operation"]) for step in found["steps"]] == [
        ("foreground", "keep_largest")
    ]
    gain = 1 - 16 / 17
    assert found["gain"]["in_sample"] == pytest.approx(gain)
    assert found["gain"]["cross_fitted"] == pytest.approx(gain)
    assert found["gain"]["ci"] == pytest.approx([gain, gain])
    expected = {"before": 16 / 17, "in_sample": 1.0, "cross_fitted": 1.0}
    assert found["gain"]["dice"]["organ"] == pytest.approx(expected)
    assert json.loads(json.dumps(found)) == found


def mixed_cohort():
    """Return a cohort in which keeping the largest helps fold 0 and harms fold 1."""
    maps = {"c1": ISLAND, "c2": ISLAND, "c3": SPLIT, "c4": SPLIT}
    bigger = drawn("1111000", "1111000", "0000000", "1111111")
    maps["c1"] = maps["c2"] = bigger  # a false part of 7 voxels: Dice 16/23
    return cohort_of(dict.fromkeys(maps, ORGAN), maps, ONE)


FOLDS = {"c1": 0, "c2": 0, "c3": 1, "c4": 1}


def test_gain_is_measured_where_it_was_not_chosen():
    # In sample: c1 and c2 rise by 7/23, c3 and c4 fall by 12/14 - 8/12 = 4/21: adopted.
    # Fold 0 is measured with what fold 1 chooses, nothing; fold 1 with what fold 0 chooses.
    what = replace(NNUNET, adopt="cross_fitted")
    found = search(mixed_cohort(), what, FOLDS)
    assert found["gain"]["in_sample"] == pytest.approx((7 / 23 - 4 / 21) / 2)
    assert found["gain"]["cross_fitted"] == pytest.approx(-4 / 21 / 2)
    assert len(found["proposed"]) == 1
    assert found["steps"] == []
    assert [len(part["chosen_by_the_others"]) for part in found["parts"]] == [0, 1]
    assert [part["cases"] for part in found["parts"]] == [["c1", "c2"], ["c3", "c4"]]
    insisted = search(mixed_cohort(), NNUNET, FOLDS)
    assert insisted["steps"] == insisted["proposed"] == found["proposed"]


def gains_of(cases, groups=None, seed=0):
    """Return the gain of keeping the largest, whose cases' gains are those given, by fold."""
    maps, folds = {}, {}
    for number, kind in enumerate(cases):
        maps[f"c{number}"] = {"gains": ISLAND, "loses": SPLIT, "same": ORGAN}[kind]
        folds[f"c{number}"] = number % 2
    cohort = cohort_of(dict.fromkeys(maps, ORGAN), maps, ONE)
    what = replace(NNUNET, adopt="confirmed", seed=seed)
    return search(cohort, what, folds, groups)


def test_the_interval_is_that_of_the_mean_over_groups():
    cases = ["gains"] * 12 + ["same"] * 4
    found = gains_of(cases)
    values = np.array([1 / 17] * 12 + [0] * 4)[:, None]
    assert found["gain"]["cross_fitted"] == pytest.approx(values.mean())
    # Groups are sorted by name, and so are the cases.
    order = np.argsort([f"c{number}" for number in range(16)])
    expected = mean_intervals(values[order], np.arange(16), 0)[:, 0]
    assert found["gain"]["ci"] == pytest.approx(expected)
    assert found["steps"] == found["proposed"] != []
    groups = {f"c{number}": f"p{number // 2}" for number in range(16)}
    wider = gains_of(cases, groups)["gain"]
    assert wider["cross_fitted"] == found["gain"]["cross_fitted"]
    assert np.diff(wider["ci"]) > np.diff(found["gain"]["ci"])


def test_few_groups_have_no_interval_and_confirm_nothing():
    for groups in (None, {f"c{number}": f"p{number // 3}" for number in range(12)}):
        found = gains_of(["gains"] * (12 if groups else 4), groups)
        assert found["gain"]["ci"] is None
        assert found["gain"]["cross_fitted"] > 0
        assert found["steps"] == [] != found["proposed"]
        assert "so few groups of cases" in found["not_adopted"]


def test_a_gain_whose_interval_holds_0_is_not_adopted():
    found = gains_of(["gains"] * 2 + ["same"] * 22)
    low, high = found["gain"]["ci"]
    assert low < 0 < found["gain"]["cross_fitted"] < high
    assert found["not_adopted"] == "the interval of the cross-fitted gain holds 0"
    assert found["steps"] == [] != found["proposed"]
    cases = {f"c{number}": (ORGAN, ISLAND if number < 2 else ORGAN) for number in range(24)}
    maps = [{case: pair[side] for case, pair in cases.items()} for side in (0, 1)]
    folds = {case: number % 2 for number, case in enumerate(cases)}
    before = search(cohort_of(*maps, ONE), replace(NNUNET, adopt="cross_fitted"), folds)
    assert before["steps"] == before["proposed"] == found["proposed"]
    assert before["not_adopted"] == ""


def test_a_gain_by_which_a_label_falls_where_it_was_not_chosen_is_not_adopted():
    """In fold 1 all foreground hangs together, so a false part of a can be told; not in fold 0.

    There the step costs b one voxel of seven, and a gains more.
    """
    rows = ["1111222", "1111222", "0000000", "0000000"]
    apart = [*rows[:3], "0000002"]
    references, predictions, folds = {}, {}, {}
    for number in range(12):
        truth = rows if number % 2 else apart
        references[f"c{number}"] = drawn(*truth, "0000000")
        predictions[f"c{number}"] = drawn(*truth, "1111000")
        folds[f"c{number}"] = number % 2
    cohort = cohort_of(references, predictions, {"background": 0, "a": 1, "b": 2})
    found = search(cohort, replace(NNUNET, adopt="confirmed"), folds)
    assert found["gain"]["ci"][0] > 0
    assert found["gain"]["dice"]["b"]["cross_fitted"] == pytest.approx((6 + 6 * 12 / 13) / 12)
    assert found["gain"]["dice"]["a"]["cross_fitted"] == 1
    assert found["not_adopted"] == "the cross-fitted mean Dice of a label falls"
    assert found["steps"] == [] != found["proposed"]
    before = search(cohort, replace(NNUNET, adopt="cross_fitted"), folds)
    assert before["steps"] == before["proposed"] == found["proposed"]


def test_few_made_cohorts_without_a_true_gain_are_changed():
    """Islands that are wrong as often as right: a step that helps in one half harms in another."""
    adopted = {"confirmed": 0, "cross_fitted": 0}
    for seed in range(30):
        generator = np.random.default_rng(seed)
        references, predictions = {}, {}
        for number in range(20):
            truth = np.zeros((1, 12, 12), np.uint8)
            truth[0, 2:7, 2:7] = 1
            guess = truth.copy()
            for place in ((0, 10), (9, 1), (10, 9)):
                truth[0][place] = generator.random() < 0.5
                guess[0][place] = generator.random() < 0.7
            references[f"c{number}"], predictions[f"c{number}"] = truth, guess
        folds = {case: number % 5 for number, case in enumerate(references)}
        for adopt in adopted:
            cohort = cohort_of(references, predictions, ONE)
            adopted[adopt] += bool(search(cohort, Search(adopt=adopt), folds)["steps"])
    assert adopted["confirmed"] <= 3 < adopted["cross_fitted"]


def test_one_fold_is_divided_by_groups():
    cases = [f"c{number}" for number in range(12)]
    cohort = cohort_of(dict.fromkeys(cases, ORGAN), dict.fromkeys(cases, ISLAND), ONE)
    groups = {case: f"p{number // 2}" for number, case in enumerate(cases)}
    found = search(cohort, Search(seed=3), dict.fromkeys(cases, 0), groups)
    assert found["gain"]["cross_fitted"] == pytest.approx(1 / 17)
    parts = [{groups[case] for case in part["cases"]} for part in found["parts"]]
    assert len(parts) == 5
    assert sum(map(len, parts)) == 6
    assert len(found["steps"]) == 1


def test_one_group_cannot_be_cross_fitted():
    cohort = cohort_of({"x": ORGAN}, {"x": ISLAND}, ONE)
    found = search(cohort, Search(), {"x": 0})
    assert found["gain"]["cross_fitted"] is found["gain"]["ci"] is None
    assert len(found["proposed"]) == 1
    assert found["steps"] == found["parts"] == []
    assert found["not_adopted"] == "one group of cases cannot be cross-fitted"


def test_a_step_that_lowers_one_label_is_refused_though_the_mean_rises():
    reference = drawn("1110000", "0000000", "2200020", "0000000")
    prediction = drawn("1110000", "0000000", "2200020", "0011111")
    two = {"background": 0, "a": 1, "b": 2}
    cohort = cohort_of({"x": reference}, {"x": prediction}, two)
    # All foreground: 1s below the single 2 touch it, so the largest component holds both.
    steps, trials = choose_steps(cohort, NNUNET, np.ones(1, bool))
    # Foreground: the part of six is kept, and a falls from 6/11 to 0. a alone: five are kept.
    # b alone would lose a true voxel.
    assert steps == []
    assert [trial["adopted"] for trial in trials] == [False, False, False]


def test_dropping_goes_on_top_of_keeping():
    """Keeping two removes the false part of five in x; what drops it would take z, too."""
    maps = {
        "x": drawn("11100111", "11100111", "00000000", "11111000"),
        "y": drawn("11100000", "11100000", "00000000", "11000000"),
        "z": drawn("11000011", "11000010", "00000000", "00000000"),
    }
    references = {case: label_map.copy() for case, label_map in maps.items()}
    for case in "xy":
        references[case][0, 3] = 0
    cohort = cohort_of(references, maps, ONE)
    steps, trials = choose_steps(cohort, Search(), np.ones(3, bool))
    assert [(step.operation, step.parameter) for step in steps] == [
        ("keep_largest", 2),
        ("drop_small", 2.4),
    ]
    adopted = [trial for trial in trials if trial["adopted"]]
    assert [trial["after"] for trial in adopted] == [0, 1]
    assert [trial["objective"] for trial in adopted] == pytest.approx([5 / 29 / 3, 2 / 14 / 3])


def test_a_false_component_of_an_empty_case_counts_as_in_nnunet():
    """Its Dice is 0 with it, and undefined without: the mean rises from 0.5 to 1."""
    nothing = np.zeros_like(ORGAN)
    speck = drawn("0000000", "0000000", "0000000", "0000010")
    cohort = cohort_of({"x": ORGAN, "y": nothing}, {"x": ORGAN, "y": speck}, ONE)
    steps, trials = choose_steps(cohort, Search(), np.ones(2, bool))
    assert [(step.operation, step.parameter) for step in steps] == [("drop_small", 3.0)]
    assert [trial["objective"] for trial in trials if trial["adopted"]] == [0.5]


def test_a_label_must_stay_defined_somewhere():
    nothing = np.zeros_like(ORGAN)
    speck = drawn("0000000", "0000000", "0000000", "0000010")
    cohort = cohort_of({"x": nothing}, {"x": speck}, ONE)
    assert choose_steps(cohort, Search(), np.ones(1, bool))[0] == []


def test_holes_are_filled_first():
    reference = np.ones((1, 7, 7), np.uint8)
    prediction = reference.copy()
    prediction[0, 2, 2] = prediction[0, 4, 2:4] = 0
    cohort = cohort_of({"x": reference}, {"x": prediction}, ONE)
    steps, trials = choose_steps(cohort, Search(), np.ones(1, bool))
    assert [(step.operation, step.parameter) for step in steps] == [("fill_holes", 2.4)]
    assert [trial["operation"] for trial in trials] == ["fill_holes"] * 2 + ["keep_largest"] * 3
    assert trials[1]["objective"] == pytest.approx(1 - 92 / 95)


def test_detection_is_an_objective():
    """One false lesion far smaller than what it spoils: it hardly moves the Dice."""
    reference = drawn("2222000", "2222000", "0000000", "0000000")
    prediction = drawn("2222000", "2222000", "0000000", "0000002")
    two = {"background": 0, "a": 1, "b": 2}
    rule = LesionRule(("b",), "iou", 0.1, 0.0)
    cohort = cohort_of({"x": reference}, {"x": prediction}, two, rule)
    rises = {}
    for objective in ("dice", "lesion_f1", "mixed"):
        what = Search(objective=objective, adopt="in_sample")
        rises[objective] = search(cohort, what, {"x": 0})["gain"]["in_sample"]
    expected = {"dice": 1 / 17, "lesion_f1": 1 / 3, "mixed": (1 / 17 + 1 / 3) / 2}
    assert rises == pytest.approx(expected)


def test_the_order_of_cases_does_not_matter():
    generator = np.random.default_rng(5)
    references, predictions = {}, {}
    for number in range(6):
        reference = np.zeros((6, 12, 12), np.uint8)
        reference[1:5, 2:9, 2:6] = 1
        reference[1:5, 2:9, 6:10] = 2
        references[f"c{number}"] = reference
        predictions[f"c{number}"] = spoil(reference, generator)
    folds = {f"c{number}": number % 3 for number in range(6)}
    labels = {"background": 0, "a": 1, "b": 2}
    found = [
        search(
            cohort_of({case: references[case] for case in names}, predictions, labels),
            Search(adopt="in_sample"),
            folds,
        )
        for names in (sorted(references), sorted(references)[::-1])
    ]
    assert found[0] == found[1]
    assert read_steps(found[0])


@pytest.fixture
def forked(monkeypatch):
    """Let nnU-Net fork its workers: to start them anew takes far longer than their work."""
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: fork)


def decide_by_nnunet(folder, labels):
    """Return the labels of the steps that nnU-Net adopts, in order."""
    regions = any(isinstance(value, list) for value in labels.values())
    description = {
        "labels": labels,
        "file_ending": ".nii.gz",
        "channel_names": {"0": "CT"},
        **({"regions_class_order": list(range(1, len(labels)))} if regions else {}),
    }
    plans = {"image_reader_writer": "SimpleITKIO", "configurations": {}}
    _, adopted = determine_postprocessing(
        str(folder / "predictions"), str(folder / "references"), plans, description, 1, False
    )
    chosen = [kwargs["labels_or_regions"] for kwargs in adopted]
    return [tuple(c) if isinstance(c, list | tuple) else (c,) for c in chosen]


def decide(folder, labels):
    """Return what was tried, and the labels of the steps that the search adopts."""
    cases = sorted(path.name[:-7] for path in (folder / "references").glob("*.nii.gz"))
    files = [
        {case: folder / kind / f"{case}.nii.gz" for case in cases}
        for kind in ("references", "predictions")
    ]
    tables = tabulate_cases(folder / "tables", *files, dict.fromkeys(cases, ""), labels, 1)
    found = search(Cohort(tables, labels), NNUNET, dict.fromkeys(cases, 0))
    return found["trials"], [step.labels for step in read_steps(found)]


def draw_folder(folder, seed, make_grid):
    """Draw five cases of an organ with a core and a tip; in odd seeds some have two organs.

    Faults are of one kind in some folders, and of all kinds in others.
    """
    generator = np.random.default_rng(seed)
    kinds = [(1, 4), (2, 3), (3, 4), (1, 2)][seed // 2 % 4]
    for number in range(5):
        reference = np.zeros((6, 24, 24), np.uint8)
        for column in (2, 14):
            if column == 14 and not (seed % 2 and generator.random() < 0.5):
                continue
            reference[1:5, 3:18, column : column + 8] = 1
            reference[2:4, 6:14, column + 2 : column + 6] = 2
            reference[2:4, 8:12, column + 3 : column + 5] = 3
        prediction = np.roll(reference, generator.integers(-1, 2, 2), (1, 2))
        for _ in range(generator.integers(0, 4)):
            start = generator.integers(0, [5, 20, 20])
            size = generator.integers(1, 4, 3)
            prediction[tuple(map(slice, start, start + size))] = generator.integers(*kinds)
        grid = make_grid(reference.shape)
        for kind, label_map in (("references", reference), ("predictions", prediction)):
            write_image(folder / kind / f"c{number}.nii.gz", label_map, grid)


@pytest.mark.parametrize("seed", range(8))
def test_with_its_candidates_the_decision_is_that_of_nnunet(seed, tmp_path, make_grid, forked):
    draw_folder(tmp_path, seed, make_grid)
    assert decide(tmp_path, PLAIN)[1] == decide_by_nnunet(tmp_path, PLAIN)


@pytest.mark.parametrize("seed", range(5))
def test_with_regions_it_is_that_of_nnunet_unless_another_region_gets_worse(
    seed, tmp_path, make_grid, forked
):
    """It looks at all regions where nnU-Net looks at the step's own: so in folder 4."""
    draw_folder(tmp_path, seed, make_grid)
    trials, mine = decide(tmp_path, NESTED)
    theirs = decide_by_nnunet(tmp_path, NESTED)
    refused = theirs[len(mine) :]
    assert mine == theirs[: len(mine)]
    assert refused == ([(3,)] if seed == 4 else [])
    if refused:
        change = trials[-1]["dice"]
        assert trials[-1]["scope"] == "tip"
        assert change["tip"] > 0 > change["whole"]


@pytest.mark.parametrize("name", ["hippocampus", "kits19"])
def test_on_real_cases_the_decision_is_that_of_nnunet(name, hippocampus, draw, tmp_path, forked):
    files = sorted((hippocampus / "labelsTr").glob("*.nii.gz"))[:6]
    labels = {"background": 0, "anterior": 1, "posterior": 2}
    if name == "kits19":
        files = sorted((SHARED / name).rglob("segmentation.nii.gz"))
        if not files:
            pytest.skip(f"{name} is not there")
    for number, path in enumerate(files):
        label_map = read_labels(path)[0].astype(np.uint8)
        places = np.argwhere(label_map == label_map.max()).mean(0).astype(int)
        label_map = label_map[tuple(slice(max(0, place - 40), place + 40) for place in places)]
        draw(tmp_path / "references" / f"c{number}.nii.gz", label_map)
    make_predictions(sorted((tmp_path / "references").iterdir()), tmp_path / "predictions", 7)
    mine = decide(tmp_path, labels)[1]
    assert mine == decide_by_nnunet(tmp_path, labels)
    assert mine


def test_tables_are_made_once(draw, tmp_path, capsys):
    files = [{}, {}]
    for case in "xy":
        files[0][case] = draw(tmp_path / f"references/{case}.nii.gz", ORGAN)
        files[1][case] = draw(tmp_path / f"predictions/{case}.nii.gz", ISLAND)
    folder = tmp_path / "tables"
    first = tabulate_cases(folder, *files, {"x": "1", "y": "2"}, ONE, 1)
    tabulate_cases(folder, *files, {"x": "1", "y": "3"}, ONE, 1)
    draw(files[0]["x"], CLEAN)  # the same content
    tabulate_cases(folder, *files, {"x": "1", "y": "3"}, ONE, 1)
    draw(files[0]["x"], SPLIT)
    last = tabulate_cases(folder, *files, {"x": "1", "y": "3"}, ONE, 2)
    lines = [line for line in capsys.readouterr().out.splitlines() if "finished" in line]
    assert [line.split()[1] for line in lines] == ["0", "1", "2", "1"]
    assert first["x"].reference.voxels.tolist() == [8]
    assert last["x"].reference.voxels.tolist() == [4, 2]


@pytest.mark.parametrize("axis", range(3))
def test_areas_of_flat_images_do_not_depend_on_their_thickness(draw, tmp_path, axis):
    label_map = np.expand_dims(drawn("1101", "1000", "0000")[0], axis)
    found = []
    for thickness_mm in (1.0, 5.0):
        spacing = [2.0, 0.5]
        spacing.insert(axis, thickness_mm)
        path = draw(tmp_path / f"{thickness_mm}.nii.gz", label_map, spacing_mm=tuple(spacing))
        cohort = Cohort(
            {"x": read_table(path, path, ONE)}, ONE, LesionRule(("organ",), "iou", 0.1, 3.0)
        )
        rows = [row["volume_mm3"] for row in describe_components(cohort)]
        found.append((rows, cohort.score(cohort.untouched).lesion_f1.tolist()))
        target = tmp_path / "after" / path.name
        steps = [{"scope": "organ", "labels": [1], "operation": "drop_small", "parameter": 3}]
        postprocess_cases({path.name[:-7]: "k"}, tmp_path, target.parent, {"steps": steps}, 1)
        assert read_labels(target)[0].sum() == 3
    assert found[0] == found[1] == ([3.0, 1.0], [[1.0]])


def test_lesions_are_matched_as_in_the_evaluation(draw, tmp_path):
    reference, prediction = np.zeros((2, 1, 6, 16), np.uint8)
    # Each of the two lesions shares two voxels with the first part of the prediction.
    reference[0, 0, 0:5] = reference[0, 1, 0:2] = reference[0, 0, 6:16] = 1
    prediction[0, 0, 3:8] = prediction[0, 1, 0:2] = 1
    generator = np.random.default_rng(0)
    maps = {"drawn": (reference, prediction)}
    for number in range(12):
        noise = generator.random((2, 3, 9, 11))
        maps[f"random_{number}"] = tuple((noise < 0.25).astype(np.uint8))
    for overlap_name, threshold in (("voxels", 1), ("iou", 0.1), ("dice", 0.1)):
        rule = LesionRule(("organ",), overlap_name, threshold, 4.0)  # mm2 of two pixels
        tables, expected = {}, []
        for name, pair in sorted(maps.items()):
            paths = [draw(tmp_path / f"{name}_{n}.nii.gz", one) for n, one in enumerate(pair)]
            tables[name] = read_table(*paths, ONE)
            found = evaluate_case(*paths, Settings(ONE, lesions=rule))[0]
            expected.append(found["organ"]["lesion_f1"])
        cohort = Cohort(tables, ONE, rule)
        assert cohort.score(cohort.untouched).lesion_f1[:, 0].tolist() == expected
        assert expected[0] == 1
