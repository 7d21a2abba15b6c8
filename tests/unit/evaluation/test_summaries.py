import math

import numpy as np
import pandas as pd
import pytest

from segflow.evaluation.summaries import (
    ALL,
    arrange,
    describe,
    penalties_mm,
    quantiles,
    read_metrics,
    summarise,
)
from segflow.files.cases import write_rows

NAN, INF = math.nan, math.inf
GROUPS = {str(number): str(number) for number in range(20)}


def table(values, metric="dice", **about):
    """Return metrics of one predictor from the values of labels a and b by case."""
    about = {"predictor": "p", "split": "val", "stage": "raw", "fold": "0", **about}
    return pd.DataFrame(
        [
            {**about, "case": case, "label": label, metric: value}
            for case, pair in values.items()
            for label, value in zip("ab", pair, strict=True)
        ]
    )


def summary_of(metrics, names=("dice",), groups=GROUPS, penalties=None):
    return summarise(arrange(metrics, list(names), (), penalties), groups, seed=1)


def row(summary, label, fold=ALL, **about):
    chosen = (summary["label"] == label) & (summary["fold"] == fold)
    for key, value in about.items():
        chosen &= summary[key] == value
    assert chosen.sum() == 1
    return summary[chosen].iloc[0].to_dict()


def test_statistics_of_a_drawn_table():
    summary = summary_of(table({"1": (0.2, 1.0), "2": (0.4, NAN), "3": (0.9, NAN)}))
    found = row(summary, "a")
    assert {key: found[key] for key in ("predictor", "split", "stage", "metric")} == {
        "predictor": "p",
        "split": "val",
        "stage": "raw",
        "metric": "dice",
    }
    assert (found["n"], found["n_undefined"], found["n_infinite"]) == (3, 0, 0)
    assert found["mean"] == pytest.approx(0.5)
    assert found["sd"] == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert (found["min"], found["median"], found["max"]) == (0.2, 0.4, 0.9)
    assert found["q1"] == pytest.approx(0.3)
    assert found["q3"] == pytest.approx(0.65)
    assert all(math.isnan(found[name]) for name in ("ci_low", "ci_high"))  # of three cases
    only = row(summary, "b")
    assert (only["n"], only["n_undefined"], only["mean"]) == (1, 2, 1.0)
    assert all(math.isnan(only[name]) for name in ("sd", "ci_low", "ci_high"))


def test_infinite_values_are_counted_and_part_of_the_order_but_not_of_the_mean():
    summary = summary_of(
        table({"1": (1.0, 1.0), "2": (2.0, 1.0), "3": (INF, 1.0), "4": (NAN, 1.0)}, "hd95"),
        ["hd95"],
    )
    found = row(summary, "a")
    assert (found["n"], found["n_undefined"], found["n_infinite"]) == (3, 1, 1)
    assert found["mean"] == 1.5
    assert found["sd"] == pytest.approx(math.sqrt(0.5))
    assert (found["median"], found["q1"], found["q3"], found["max"]) == (2.0, 1.5, INF, INF)
    together = row(summary, "all")  # (1 + 1) / 2, (2 + 1) / 2, infinite, 1
    assert (together["n"], together["n_infinite"], together["mean"]) == (4, 1, 3.5 / 3)
    assert (found["n_finite"], together["n_finite"]) == (2, 3)


def test_a_penalised_mean_by_hand():
    values = {"1": (1.0, 4.0), "2": (2.0, INF), "3": (INF, 8.0), "4": (NAN, 90.0)}
    metrics = table(values, "hd95").assign(dice=0.5)
    penalties = {"1": 30.0, "2": 40.0, "3": 50.0, "4": 60.0}
    groups = {"1": "x", "2": "x", "3": "y", "4": "z"}
    summary = summary_of(metrics, ["hd95", "dice"], groups, penalties)
    found, other = (row(summary, label, metric="hd95") for label in "ab")
    assert found["penalised_mean"] == pytest.approx((1 + 2 + 50) / 3)
    assert other["penalised_mean"] == pytest.approx((4 + 40 + 8 + 60) / 4)  # none counts as more
    assert other["group_mean"] == pytest.approx((22 + 8 + 60) / 3)
    assert (found["n_groups"], other["n_groups"]) == (2, 3)
    together = row(summary, "all", metric="hd95")  # penalised label by label, then averaged
    assert together["penalised_mean"] == pytest.approx((2.5 + 21 + 29 + 60) / 4)
    assert together["median"] == INF  # of 2.5, 90 and two infinite ones
    assert math.isnan(row(summary, "a", metric="dice")["penalised_mean"])
    assert row(summary, "a", metric="dice")["group_mean"] == 0.5


def test_no_aggregate_that_decides_gets_better_by_missing():
    generator = np.random.default_rng(4)
    penalties = dict.fromkeys(GROUPS, 70.0)
    for _ in range(20):
        values = generator.gamma(1, 9, (20, 2))
        missed = np.where(generator.random((20, 2)) < generator.random(), INF, values)
        before, after = (
            summary_of(
                table(dict(zip(GROUPS, kind.tolist(), strict=True)), "hd95"),
                ["hd95"],
                penalties=penalties,
            )
            for kind in (values, missed)
        )
        for name in ("median", "penalised_mean", "group_mean"):
            assert (after[name] >= before[name]).all(), name


def test_groups_are_weighed_beside_cases():
    metrics = table({"1": (0.2, 1.0), "2": (0.4, 1.0), "3": (0.9, NAN)})
    summary = summary_of(metrics, groups={"1": "x", "2": "x", "3": "y"})
    found, other = row(summary, "a"), row(summary, "b")
    assert (found["mean"], found["group_mean"]) == (pytest.approx(0.5), pytest.approx(0.6))
    assert (found["n_groups"], other["n_groups"], other["group_mean"]) == (2, 1, 1.0)


def test_what_is_infinite_and_no_distance_has_a_median_only():
    values = {str(n): (0.1 * n, INF if n == 3 else 0.5) for n in range(1, 9)}
    metrics = table(values, "relative_volume_difference")
    summary = summary_of(metrics, ["relative_volume_difference"])
    finite, infinite = row(summary, "a"), row(summary, "b")
    assert not math.isnan(finite["ci_low"])
    assert (infinite["median"], infinite["n_finite"]) == (0.5, 7)
    assert all(math.isnan(infinite[name]) for name in ("penalised_mean", "group_mean", "ci_low"))


def test_a_penalty_is_the_diagonal_of_the_image(make_case):
    cases = [
        make_case("a", shape="30 40 120", spacing_mm="1 1 1"),
        make_case("b", shape="1 30 40", spacing_mm="9 2 2"),  # flat
        make_case("c", shape="3 1 4", spacing_mm="1 9 1"),
    ]
    found = penalties_mm(cases)
    assert found == {"a": pytest.approx(130), "b": pytest.approx(100), "c": pytest.approx(5)}
    assert penalties_mm(cases, 30) == dict.fromkeys("abc", 30.0)


def test_all_is_the_mean_over_the_labels_that_are_defined_in_a_case():
    summary = summary_of(table({"1": (0.2, 1.0), "2": (0.4, NAN), "3": (NAN, NAN)}))
    together = row(summary, "all")
    assert (together["n"], together["n_undefined"]) == (2, 1)
    assert together["mean"] == pytest.approx((0.6 + 0.4) / 2)


def test_a_metric_that_is_never_defined_stays_undefined():
    nowhere = row(summary_of(table({"1": (1.0, NAN), "2": (1.0, NAN)})), "b")
    assert (nowhere["n"], nowhere["n_undefined"], nowhere["n_infinite"]) == (0, 2, 0)
    assert all(math.isnan(nowhere[name]) for name in ("mean", "sd", "median", "min", "max"))


def test_predictors_splits_and_stages_are_kept_apart():
    kinds = [
        {"predictor": predictor, "split": split, "stage": stage}
        for predictor in "qp"
        for split in ("val", "test")
        for stage in ("postprocessed", "raw")
    ]
    parts = [table({"1": (n / 10, 1.0)}, **about) for n, about in enumerate(kinds)]
    summary = summary_of(pd.concat(parts))
    for n, about in enumerate(kinds):
        assert row(summary, "a", **about)["mean"] == pytest.approx(n / 10)


def test_folds_are_summarised_for_validation_cases_only():
    parts = [
        table({"1": (0.2, 1.0), "2": (0.4, 1.0)}, fold="10"),
        table({"3": (0.9, 1.0)}, fold="2"),
        table({"4": (0.7, 1.0)}, fold="all", split="test"),
    ]
    summary = summary_of(pd.concat(parts))
    val = summary[summary["split"] == "val"]
    assert list(dict.fromkeys(val["fold"])) == ["all", "2", "10"]
    assert row(val, "a", "10")["mean"] == pytest.approx(0.3)
    assert row(val, "a", "2")["n"] == 1
    assert val.loc[val["fold"] != "all", "ci_low"].isna().all()
    assert set(summary.loc[summary["split"] == "test", "fold"]) == {"all"}


def test_groups_widen_the_interval():
    values = {str(n): (n // 4 / 5, 1.0) for n in range(20)}
    patients = {case: str(int(case) // 4) for case in GROUPS}
    alone = row(summary_of(table(values)), "a")
    grouped = row(summary_of(table(values), groups=patients), "a")
    assert alone["mean"] == pytest.approx(grouped["mean"])
    assert grouped["ci_high"] - grouped["ci_low"] > 1.5 * (alone["ci_high"] - alone["ci_low"])


def test_an_interval_ends_at_what_a_metric_can_be():
    values = {str(n): ((1.0, 0.2)[n == 3], 0.99 - n / 50) for n in range(6)}
    summary = summary_of(table(values))
    assert row(summary, "a")["ci_high"] == 1
    assert row(summary, "a")["ci_low"] < 0.8
    far = summary_of(
        table({name: (0.0, 1 - pair[0]) for name, pair in values.items()}, "hd95"),
        ["hd95"],
        penalties=dict.fromkeys(values, 9.0),
    )
    assert row(far, "b")["ci_low"] == 0
    assert row(far, "b")["ci_high"] > 1


def test_the_order_of_rows_does_not_matter():
    generator = np.random.default_rng(0)
    metrics = pd.concat(
        table({str(n): generator.random(2) for n in range(15)}, predictor=name) for name in "pq"
    )
    shuffled = metrics.sample(frac=1, random_state=1)
    first = shuffled["label"] == "a"  # labels keep the order of the data set
    shuffled = pd.concat([shuffled[first], shuffled[~first]])
    pd.testing.assert_frame_equal(summary_of(metrics), summary_of(shuffled), check_exact=True)


def test_an_evaluated_region_is_summarised_but_no_part_of_the_mean_over_labels():
    metrics = table({"1": (0.5, 1.0), "2": (0.7, 0.0)})
    summary = summarise(arrange(metrics, ["dice"], ["b"]), GROUPS, seed=1)
    assert row(summary, "b")["mean"] == pytest.approx(0.5)
    same = ["n", "mean", "sd", "median", "min", "max"]
    expected = row(summary, "a")
    assert {key: row(summary, ALL)[key] for key in same} == {key: expected[key] for key in same}


def test_predictors_that_are_not_paired_are_refused():
    parts = [
        table({"1": (0.5, 1.0), "2": (0.5, 1.0)}),
        table({"1": (0.5, 1.0), "3": (0.5, 1.0)}, predictor="q"),
    ]
    message = (
        r"^predictors 'p' and 'q' are not paired: val case '2', stage raw, label 'a' is in only "
        r"one of them \(4 such rows\)$"
    )
    with pytest.raises(ValueError, match=message):
        arrange(pd.concat(parts), ["dice"])


def test_each_metric_is_summarised_and_missing_ones_are_left_out():
    metrics = table({"1": (0.5, 1.0)}).assign(iou=0.25)
    summary = summary_of(metrics, ["dice", "iou", "nsd"])
    assert sorted(set(summary["metric"])) == ["dice", "iou"]
    assert len(summary) == 2 * 3 * 2  # metrics; labels a, b and all; fold 0 and all


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [
        ([-INF, INF], 0.5, 0),
        ([-INF, INF], 0.25, -INF),
        ([-INF, INF], 0.75, INF),
        ([-INF, 3.0], 0.5, -INF),
        ([3.0, INF], 0.5, INF),
        ([-INF, 3.0, INF], 0.5, 3),
        ([3.0, INF], 0, 3),
        ([INF, INF], 0.5, INF),
    ],
)
def test_quantiles_of_infinite_values(values, fraction, expected):
    assert quantiles(np.array(values)[:, None], fraction) == [expected]


@pytest.mark.parametrize("fraction", [0, 0.1, 0.25, 0.5, 0.9, 1])
def test_quantiles_agree_with_numpy(fraction):
    values = np.random.default_rng(1).normal(size=(11, 4))
    values[3:6, 1] = NAN
    np.testing.assert_allclose(
        quantiles(values, fraction), np.nanquantile(values, fraction, axis=0)
    )


def test_statistics_agree_with_pandas():
    values = np.random.default_rng(2).normal(size=(30, 3))
    values[5, 1] = NAN
    found, frame = pd.DataFrame(describe(values)), pd.DataFrame(values)
    for name, expected in (("mean", frame.mean()), ("sd", frame.std()), ("median", frame.median())):
        np.testing.assert_allclose(found[name], expected)


def test_read_metrics_names_the_predictor(tmp_path):
    for name in ("p", "q"):
        table({name: (0.5, NAN)}).drop(columns="predictor").to_csv(tmp_path / name, index=False)
    found = read_metrics({"p": tmp_path / "p", "q": tmp_path / "q"})
    assert found["predictor"].tolist() == ["p", "p", "q", "q"]
    assert found["case"].tolist() == ["p", "p", "q", "q"]
    assert found["dice"].isna().tolist() == [False, True, False, True]


def test_read_metrics_leaves_names_as_they_are(tmp_path):
    metrics = table({"001": (0.5, NAN), "nan": (NAN, 1.0)}).replace({"label": {"a": "NA"}})
    metrics.drop(columns="predictor").to_csv(tmp_path / "p", index=False)
    pd.testing.assert_frame_equal(
        read_metrics({"p": tmp_path / "p"}), metrics, check_like=True, check_dtype=False
    )


def test_undefined_and_infinite_values_survive_the_file(tmp_path):
    rows = [{"case": f"00{n}", "dice": value} for n, value in enumerate((0.5, NAN, INF))]
    write_rows(tmp_path / "m" / "metrics.csv", rows, ["case", "dice"])
    assert (tmp_path / "m" / "metrics.csv").read_text().splitlines()[2:] == ["001,", "002,inf"]
    metrics = read_metrics({"m": tmp_path / "m" / "metrics.csv"})
    np.testing.assert_array_equal(metrics["dice"], [0.5, NAN, INF])
