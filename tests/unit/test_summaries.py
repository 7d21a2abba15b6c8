import math

import pandas as pd
import pytest

from segflow.cases import write_rows
from segflow.summaries import before_and_after, read_metrics, summarise

NAN = math.nan


def table(values, **about):
    """Return metrics of one predictor from the Dice of labels a and b by case."""
    about = {"predictor": "p", "split": "val", "stage": "raw", **about}
    return pd.DataFrame(
        [
            {**about, "case": case, "label": label, "dice": dice}
            for case, pair in values.items()
            for label, dice in zip("ab", pair, strict=True)
        ]
    )


def row(summary, label):
    found = summary[summary["label"] == label]
    assert len(found) == 1
    return found.iloc[0].to_dict()


def test_statistics_of_a_drawn_table():
    summary = summarise(table({"1": (0.2, 1.0), "2": (0.4, NAN), "3": (0.9, NAN)}), ["dice"])
    assert row(summary, "a") == {
        "predictor": "p",
        "split": "val",
        "stage": "raw",
        "label": "a",
        "metric": "dice",
        "n": 3,
        "n_undefined": 0,
        "mean": pytest.approx(0.5),
        "sd": pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2)),
        "median": 0.4,
        "min": 0.2,
        "max": 0.9,
    }
    only = row(summary, "b")
    assert (only["n"], only["n_undefined"], only["mean"]) == (1, 2, 1.0)
    assert math.isnan(only["sd"])


def test_all_is_the_mean_over_the_labels_that_are_defined_in_a_case():
    summary = summarise(table({"1": (0.2, 1.0), "2": (0.4, NAN), "3": (NAN, NAN)}), ["dice"])
    together = row(summary, "all")
    assert (together["n"], together["n_undefined"]) == (2, 1)
    assert together["mean"] == pytest.approx((0.6 + 0.4) / 2)


def test_a_metric_that_is_never_defined_stays_undefined():
    nowhere = row(summarise(table({"1": (1.0, NAN), "2": (1.0, NAN)}), ["dice"]), "b")
    assert (nowhere["n"], nowhere["n_undefined"]) == (0, 2)
    assert all(math.isnan(nowhere[name]) for name in ("mean", "sd", "median", "min", "max"))


def test_predictors_splits_and_stages_are_kept_apart():
    kinds = [{"predictor": "q"}, {"split": "test"}, {"stage": "postprocessed"}, {}]
    parts = [table({"1": (n / 10, 1.0)}, **about) for n, about in enumerate(kinds)]
    summary = summarise(pd.concat(parts), ["dice"])
    found = summary[summary["label"] == "a"]
    assert found["mean"].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert (found["n"] == 1).all()


def test_each_metric_is_summarised():
    metrics = table({"1": (0.5, 1.0)}).assign(iou=0.25)
    summary = summarise(metrics, ["dice", "iou"])
    assert sorted(set(summary["metric"])) == ["dice", "iou"]
    assert len(summary) == 2 * 3  # labels a, b and all


def test_before_and_after_stand_side_by_side():
    parts = [
        table({"1": (0.5, 1.0), "2": (0.7, 1.0)}),
        table({"1": (0.6, 1.0), "2": (0.8, 1.0)}, stage="postprocessed"),
        table({"1": (0.1, 0.1), "2": (0.1, 0.1)}, split="test"),
    ]
    found = before_and_after(summarise(pd.concat(parts), ["dice"]), "dice", "val")
    assert found.columns.tolist() == ["predictor", "label", "n", "before", "after"]
    assert found.iloc[0].tolist() == ["p", "a", 2, "0.600 ± 0.141", "0.700 ± 0.141"]
    assert found["label"].tolist() == ["a", "b", "all"]


def test_a_single_case_has_no_standard_deviation_to_show():
    parts = [table({"1": (0.5, 1.0)}, stage=stage) for stage in ("raw", "postprocessed")]
    found = before_and_after(summarise(pd.concat(parts), ["dice"]), "dice", "val")
    assert found.iloc[0].tolist() == ["p", "a", 1, "0.500", "0.500"]


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


def test_an_undefined_metric_is_an_empty_field_of_a_table_of_numbers(tmp_path):
    rows = [{"case": "001", "dice": 0.5}, {"case": "002", "dice": float("nan")}]
    write_rows(tmp_path / "m" / "metrics.csv", rows, ["case", "dice"])
    assert (tmp_path / "m" / "metrics.csv").read_text().splitlines()[2] == "002,"
    metrics = read_metrics({"m": tmp_path / "m" / "metrics.csv"})
    assert metrics["dice"].dtype == float
    assert metrics["dice"].isna().tolist() == [False, True]
