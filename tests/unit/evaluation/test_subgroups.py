import numpy as np
import pandas as pd
import pytest

from segflow.datasets.subgroups import divide
from segflow.evaluation.subgroups import COLUMNS, summarise_subgroups
from segflow.evaluation.summaries import arrange, summarise


@pytest.fixture
def cases(make_case):
    return [
        make_case("a", class_label="benign", covariates={"sex": "F", "age": "50"}),
        make_case("b", class_label="benign", covariates={"sex": "M"}),
        make_case("c", class_label="malignant", covariates={"sex": "F"}),
        make_case("d", class_label="malignant"),
    ]


def table(values, **about):
    about = {"predictor": "p", "split": "val", "stage": "raw", "fold": "0", "label": "x"} | about
    return pd.DataFrame([{**about, "case": case, "dice": value} for case, value in values.items()])


def test_a_subgroup_has_the_summary_of_its_cases(cases):
    values = {"a": 0.2, "b": 0.6, "c": 0.4}
    metrics = pd.concat([table(values), table({"d": 1.0}, split="test", fold="all")])
    groups = {case.case: case.group for case in cases}
    splits = arrange(metrics, ["dice"])
    found = summarise_subgroups(splits, divide(cases, ["sex"]), groups, seed=1)
    found = found[found["label"] == "x"].set_index(["split", "value"])
    assert found["mean"].to_dict() == {
        ("val", "F"): pytest.approx(0.3),
        ("val", "M"): 0.6,
        ("test", "unknown"): 1.0,
    }
    assert found["n"].tolist() == [2, 1, 1]
    alone = metrics[metrics["case"].isin(["a", "c"])]
    [row] = (
        summarise(arrange(alone, ["dice"]), groups, 1).query("fold == 'all' & label == 'x'").iloc
    )
    assert found.loc[("val", "F"), "sd"] == row["sd"] == pytest.approx(np.sqrt(0.02))


def test_without_subgroups_there_is_a_header_only(cases):
    splits = arrange(table({"a": 0.2}), ["dice"])
    found = summarise_subgroups(splits, divide(cases, []), {"a": "a"}, seed=1)
    assert found.empty
    assert found.columns.tolist() == COLUMNS
