import numpy as np
import pandas as pd
import pytest

from segflow.datasets.subgroups import divide
from segflow.evaluation.class_subgroups import COLUMNS as CLASS_COLUMNS
from segflow.evaluation.class_subgroups import summarise_classes_by_subgroup
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


@pytest.fixture
def told():
    """Women whose classes are all told, two men of either class, and one case of a third class.

    Columns are the case, its class and the probability of class 1; class 2 has 0 everywhere.
    """
    women = [(f"f{n}", int(n >= 6), 0.9 if n >= 6 else 0.2) for n in range(12)]
    men = [("m0", 0, 0.3), ("m1", 0, 0.6), ("m2", 1, 0.4), ("m3", 1, 0.7)]
    names, truth, p = zip(*women, *men, ("u0", 1, 0.5), strict=True)
    p = np.array(p)
    return list(names), np.array(truth), np.stack([1 - p, p, 0 * p], axis=1)


def by_sex(told, make_case):
    names, truth, p = told
    sexes = {"f": {"sex": "F"}, "m": {"sex": "M"}, "u": {}}
    cases = [make_case(name, covariates=sexes[name[0]]) for name in names]
    groups = {case.case: case.group for case in cases}
    divided = divide(cases, ["sex"])
    return summarise_classes_by_subgroup(names, truth, p, ["a", "b", "c"], divided, groups, seed=1)


def test_classes_are_told_within_each_subgroup(told, make_case):
    found = by_sex(told, make_case)
    assert list(found) == CLASS_COLUMNS
    assert list(dict.fromkeys(found["of"])) == ["F", "M", "unknown"]
    cells = found.set_index(["of", "class", "metric"])
    sizes = {key: cells.loc[(key[0], key[1], "auc"), "n"] for key in (("F", "a"), ("M", "b"))}
    assert sizes == {("F", "a"): 6, ("M", "b"): 2}
    # Of men 0.7 is above both others, 0.4 above one of them: 3 of 4 pairs; recalls are 1/2 each.
    expected = {
        ("F", "b", "auc"): 1.0,
        ("M", "a", "auc"): 0.75,
        ("M", "b", "auc"): 0.75,
        ("M", "macro", "auc"): 0.75,
        ("M", "all", "balanced_accuracy"): 0.5,
        ("unknown", "all", "accuracy"): 0.0,  # of equal probabilities the first class counts
    }
    assert cells.loc[list(expected), "value"].tolist() == pytest.approx(list(expected.values()))
    # Nothing varies among women, of whom six have each class: Wilson's interval of 6 in 6.
    z2 = 1.959964**2
    low = cells.loc[("F", "macro", "auc"), "low"]
    assert low == pytest.approx(6 / (6 + z2), abs=1e-4)
    assert np.isnan(cells.loc[("M", "macro", "auc"), "low"])  # fewer than five groups


def test_a_class_without_cases_in_a_subgroup_has_no_auc(told, make_case):
    cells = by_sex(told, make_case).set_index(["of", "class", "metric"])
    for of in ("F", "M", "unknown"):
        assert cells.loc[(of, "c", "auc"), "n"] == 0
        assert np.isnan(cells.loc[(of, "c", "auc"), "value"])
    assert np.isnan(cells.loc[("unknown", "macro", "auc"), "value"])  # one case alone


def test_without_subgroups_classes_have_a_header_only(told):
    found = summarise_classes_by_subgroup(*told, ["a", "b", "c"], {}, {}, seed=1)
    assert found.empty
    assert list(found) == CLASS_COLUMNS
