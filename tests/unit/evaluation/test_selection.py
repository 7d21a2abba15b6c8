import json

import numpy as np
import pandas as pd
import pytest

from segflow.evaluation.metrics import METRICS, Metric
from segflow.evaluation.selection import estimate, rank, select_predictor
from segflow.evaluation.summaries import arrange
from segflow.files.cases import write_cases, write_rows
from select_predictor import main

DICE = Metric("Dice", "", "higher")
MEMBERS = {"a": {"a": 1.0}, "b": {"b": 1.0}, "a_and_b": {"a": 1.0, "b": 1.0}}


def rows(predictor, values, stage="raw", split="val", label="l", folds="0011"):
    """Return one row a case, ``c0`` on."""
    return [
        {
            "predictor": predictor,
            "split": split,
            "stage": stage,
            "fold": fold if split == "val" else "all",
            "case": f"{split[0]}{number}",
            "label": label,
            "dice": value,
        }
        for number, (fold, value) in enumerate(zip(folds, values, strict=True))
    ]


def choose(*parts, members=MEMBERS, metric=DICE):
    table = pd.DataFrame([row for part in parts for row in part])
    return select_predictor(arrange(table, ["dice"]), members, "dice", metric)


def test_evaluated_regions_have_no_part_in_the_choice():
    parts = [rows("a", [0.9] * 4), rows("b", [0.8] * 4)]
    parts += [rows("a", [0.1] * 4, label="region"), rows("b", [0.9] * 4, label="region")]
    table = pd.DataFrame([row for part in parts for row in part])
    chosen = [
        select_predictor(arrange(table, ["dice"], apart), MEMBERS, "dice", DICE)["predictor"]
        for apart in ([], ["region"])
    ]
    assert chosen == ["b", "a"]


def test_the_best_mean_is_chosen_and_all_are_ranked():
    choice = choose(
        rows("a", [0.9, 0.8, 0.7, 0.6]),
        rows("b", [0.6, 0.6, 0.6, 0.6]),
        rows("a_and_b", [0.9, 0.9, 0.8, 0.6]),
    )
    assert (choice["predictor"], choice["stage"]) == ("a_and_b", "raw")
    assert choice["members"] == {"a": 1.0, "b": 1.0}
    assert choice["in_sample"] == {
        "n": 4,
        "n_undefined": 0,
        "n_infinite": 0,
        "mean": pytest.approx(0.8),
    }
    ranked = [(row["predictor"], row["n_members"], row["mean"]) for row in choice["ranking"]]
    assert ranked == [
        ("a_and_b", 2, pytest.approx(0.8)),
        ("a", 1, pytest.approx(0.75)),
        ("b", 1, pytest.approx(0.6)),
    ]
    assert choice["test"] is None


def test_labels_are_averaged_case_by_case_where_they_are_defined():
    first = rows("a", [0.9, 0.5, np.nan, 0.2], label="l")
    second = rows("a", [0.5, np.nan, np.nan, 0.4], label="m")
    choice = choose(first, second)
    assert choice["in_sample"] == {
        "n": 3,
        "n_undefined": 1,
        "n_infinite": 0,
        "mean": pytest.approx((0.7 + 0.5 + 0.3) / 3),
    }


def test_the_stage_is_chosen_too():
    choice = choose(
        rows("a", [0.5] * 4), rows("a", [0.6] * 4, "postprocessed"),
        rows("b", [0.7] * 4), rows("b", [0.4] * 4, "postprocessed"),
    )  # fmt: skip
    assert [(row["predictor"], row["stage"]) for row in choice["ranking"]] == [
        ("b", "raw"),
        ("a", "postprocessed"),
        ("a", "raw"),
        ("b", "postprocessed"),
    ]


def test_of_equal_ones_fewer_members_then_the_name_then_the_raw_stage_decide():
    one, other = [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]  # sums that differ in the last bit
    choice = choose(
        rows("a_and_b", one, "postprocessed"), rows("a_and_b", other),
        rows("b", other, "postprocessed"), rows("b", one),
        rows("a", one, "postprocessed"), rows("a", other),
    )  # fmt: skip
    assert [(row["predictor"], row["stage"]) for row in choice["ranking"]] == [
        ("a", "raw"),
        ("a", "postprocessed"),
        ("b", "raw"),
        ("b", "postprocessed"),
        ("a_and_b", "raw"),
        ("a_and_b", "postprocessed"),
    ]


def test_the_order_of_the_rows_does_not_matter():
    generator = np.random.default_rng(0)
    parts = [rows(name, generator.random(4)) for name in MEMBERS]
    every = [row for part in parts for row in part]
    shuffled = [every[place] for place in generator.permutation(len(every))]
    assert choose(every) == choose(shuffled)


def test_a_cross_fitted_estimate_measures_each_fold_with_the_choice_of_the_others():
    # a is better on fold 0, b on fold 1: chosen on the other fold, each is measured where it is
    # worse.
    choice = choose(rows("a", [0.9, 0.9, 0.5, 0.5]), rows("b", [0.4, 0.4, 0.8, 0.8]))
    assert choice["predictor"] == "a"
    assert choice["in_sample"]["mean"] == pytest.approx(0.7)
    fitted = choice["cross_fitted"]
    assert fitted["choices"] == {
        "0": {"predictor": "b", "stage": "raw"},
        "1": {"predictor": "a", "stage": "raw"},
    }
    assert fitted["mean"] == pytest.approx((0.4 + 0.4 + 0.5 + 0.5) / 4)
    assert "1 of 2 folds choose the same" in choice["note"]


def test_an_estimate_in_sample_is_optimistic_and_a_cross_fitted_one_is_not():
    # Twenty candidates without any difference between them: every true mean is one half.
    generator = np.random.default_rng(1)
    members = {f"p{number}": {"m": 1.0} for number in range(20)}
    in_sample, fitted = [], []
    for _ in range(60):
        folds = "".join(str(number % 5) for number in range(20))
        parts = [rows(name, generator.random(20), folds=folds) for name in members]
        choice = choose(*parts, members=members)
        in_sample.append(choice["in_sample"]["mean"])
        fitted.append(choice["cross_fitted"]["mean"])
    error = np.std(fitted) / np.sqrt(len(fitted))
    assert abs(np.mean(fitted) - 0.5) < 3 * error
    assert np.mean(in_sample) - 0.5 > 10 * error


def test_one_fold_has_no_cross_fitted_estimate():
    choice = choose(rows("a", [0.5] * 4, folds="0000"))
    assert choice["cross_fitted"] is None
    assert "With one fold only there is no cross-fitted estimate." in choice["note"]


def test_test_cases_measure_the_choice_and_have_no_part_in_it():
    choice = choose(
        rows("a", [0.9] * 4), rows("a", [0.2, 0.4], split="test", folds="00"),
        rows("b", [0.8] * 4), rows("b", [1.0, 1.0], split="test", folds="00"),
    )  # fmt: skip
    assert choice["predictor"] == "a"
    assert choice["test"]["mean"] == pytest.approx(0.3)
    assert "On the 2 test cases, which had no part in any choice, it is 0.3000." in choice["note"]


def choose_by_distance(values, penalty_mm=100.0, folds="0011"):
    """Choose by HD95; the penalty of every case is the same."""
    parts = [rows(name, column, folds=folds) for name, column in values.items()]
    table = pd.DataFrame([row for part in parts for row in part]).rename(columns={"dice": "hd95"})
    penalties = dict.fromkeys(table["case"], penalty_mm)
    members = {name: {name: 1.0} for name in values}
    splits = arrange(table, ["hd95"], (), penalties)
    return select_predictor(splits, members, "hd95", METRICS["hd95"])


def test_missing_half_of_the_objects_is_not_better():
    choice = choose_by_distance(
        {"careful": [5.0, 6.0, 7.0, 8.4], "lazy": [np.inf, 1.0, np.inf, 1.0]}
    )
    assert choice["predictor"] == "careful"
    careful, lazy = choice["ranking"]
    assert careful == {
        "predictor": "careful",
        "stage": "raw",
        "n_members": 1,
        "n": 4,
        "n_undefined": 0,
        "n_infinite": 0,
        "median": 6.5,
        "penalised_mean": pytest.approx(6.6),
        "mean": pytest.approx(6.6),
    }
    assert (lazy["n_infinite"], lazy["median"], lazy["penalised_mean"]) == (2, None, 50.5)
    assert choice["note"].startswith(
        "careful (raw) has the best median HD95 of 2 different candidates on the 4 validation "
        "cases: 6.5000 mm (penalised mean 6.6000 mm; mean of the 4 finite 6.6000 mm)."
    )
    json.dumps(choice, allow_nan=False)


def test_of_equal_medians_the_penalised_mean_decides():
    values = {"b": [1.0, 1.0, 1.0, np.inf], "a": [1.0, 1.0, 1.0, np.inf], "c": [1.0, 1.0, 1.0, 9.0]}
    choice = choose_by_distance(values)
    assert [row["predictor"] for row in choice["ranking"]] == ["c", "a", "b"]
    assert "of 2 different candidates" in choice["note"]
    lazy = choose_by_distance({name: values[name] for name in "ab"})["note"]
    assert "1.0000 mm (1 of 4 infinite; penalised mean 25.7500 mm; mean of the 3 fin" in lazy


def test_the_median_that_is_named_is_the_best_there_is():
    generator = np.random.default_rng(5)
    for _ in range(30):
        values = generator.gamma(1, 9, (3, 8))
        values[generator.random((3, 8)) < generator.random()] = np.inf
        values[0, 0] = 1.0
        choice = choose_by_distance(dict(zip("abc", values, strict=True)), folds="00001111")
        medians = [np.inf if row["median"] is None else row["median"] for row in choice["ranking"]]
        assert medians == sorted(medians) == sorted(np.median(values, axis=1))


def test_a_cross_fitted_distance_is_penalised_too():
    values = {"a": [1.0, 1.0, np.inf, np.inf], "b": [np.inf, np.inf, 2.0, 2.0]}
    fitted = choose_by_distance(values)["cross_fitted"]
    assert (fitted["n_infinite"], fitted["median"], fitted["penalised_mean"]) == (4, None, 100)


def test_equal_candidates_count_once():
    choice = choose(
        rows("a", [0.5] * 4), rows("a", [0.5] * 4, "postprocessed"),
        rows("b", [0.4, np.nan, 0.4, 0.4]), rows("b", [0.4, np.nan, 0.4, 0.4], "postprocessed"),
    )  # fmt: skip
    assert len(choice["ranking"]) == 4
    assert "has the best mean Dice of 2 different candidates on the 4 validation" in choice["note"]
    alone = choose(rows("a", [0.5], folds="0"))["note"]
    assert "of 1 different candidate on the 1 validation case: 0.5000" in alone


def test_the_note_says_that_the_choice_is_optimistic():
    choice = choose(rows("a", [0.5] * 4, "postprocessed"), rows("a", [0.4] * 4))
    assert choice["note"].startswith(
        "a (postprocessed) has the best mean Dice of 2 different candidates on the 4 validation "
        "cases: 0.5000"
    )
    assert "optimistic" in choice["note"]
    assert "Post-processing itself was chosen on all folds" in choice["note"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_metric_without_values_is_refused(value):
    with pytest.raises(ValueError, match=r"^selection\.metric: dice is finite in no validation ca"):
        choose(rows("a", [value] * 4))


def test_no_validation_cases_are_refused():
    with pytest.raises(ValueError, match=r"^selection\.metric: dice is finite in no validation ca"):
        choose(rows("a", [0.5], split="test", folds="0"))


def test_predictors_with_other_cases_are_refused():
    with pytest.raises(ValueError, match="predictors 'a' and 'b' are not paired: val case 'v3'"):
        choose(rows("a", [0.5] * 4), rows("b", [0.5] * 3, folds="001"))


def test_nothing_at_all_has_no_mean():
    assert estimate(np.array([])) == {"n": 0, "n_undefined": 0, "n_infinite": 0, "mean": None}
    assert rank([], np.array([], bool), "higher") == []


def test_the_metrics_of_the_configuration_have_a_direction():
    for name in ("dice", "iou", "nsd", "hd95", "assd", "lesion_f1"):
        assert METRICS[name].better in ("higher", "lower")


def test_the_script_writes_the_choice(tmp_path, make_case):
    tables = {}
    for name, value in (("a", 0.5), ("b", 0.75)):
        tables[name] = tmp_path / name / "metrics.csv"
        found = [{**row, "dice": value, "hd95": 10 * value} for row in rows(name, [value] * 4)]
        for row in found:
            del row["predictor"]
        found[0]["hd95"] = np.inf
        write_rows(tables[name], found, list(found[0]))
    cases = tmp_path / "cases.csv"
    write_cases(cases, [make_case(f"v{n}", shape="3 4 12", spacing_mm="2 2 2") for n in range(4)])
    output = [tmp_path / "best.json", tmp_path / "rank_stability.csv"]
    main(tables, MEMBERS, "dice", [], cases, None, 1, *output)
    choice = json.loads((tmp_path / "best.json").read_text())
    assert (choice["predictor"], choice["metric"], choice["better"]) == ("b", "dice", "higher")
    assert choice["in_sample"]["mean"] == 0.75
    for penalty_mm, expected in ((None, (26 + 15) / 4), (9, (9 + 15) / 4)):
        main(tables, MEMBERS, "hd95", [], cases, penalty_mm, 1, *output)
        choice = json.loads((tmp_path / "best.json").read_text())
        assert (choice["predictor"], choice["in_sample"]["median"]) == ("a", 5)
        assert choice["in_sample"]["penalised_mean"] == expected
