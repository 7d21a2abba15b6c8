import numpy as np
import pytest

from segflow.files.content import Damaged
from segflow.predictors.baselines import class_prior, majority_class
from segflow.predictors.classification import (
    average_members,
    read_classification,
    read_classifiers,
    read_fold,
    write_classification,
    write_fold,
)

CLASSES = ["a", "b", "c"]
HEADER = "case,p_a,p_b,p_c\n"
ABOUT = "split,fold,case,class,p_a,p_b,p_c\n"


def row(*values):
    return np.array(values)


@pytest.fixture
def write(tmp_path):
    """Write probabilities of one fold and return their table as a member's."""

    def write(member, fold, weight=1.0, **cases):
        path = tmp_path / f"{member}_{fold}.csv"
        write_fold(path, {case: row(*values) for case, values in cases.items()}, CLASSES)
        return path, member, fold, weight

    return write


def test_validation_cases_are_told_by_their_fold_and_members_averaged(write):
    tables = [
        write("m", 0, 3.0, x=(0.2, 0.2, 0.6)),
        write("m", 1, 3.0, y=(1, 0, 0)),
        write("n", 0, 1.0, x=(0.6, 0.2, 0.2)),
        write("n", 1, 1.0, y=(0, 0, 1)),
    ]
    found = average_members(tables, CLASSES, {0: ["x"], 1: ["y"]})
    np.testing.assert_allclose(found["x"], [0.3, 0.2, 0.5])
    np.testing.assert_allclose(found["y"], [0.75, 0, 0.25])


def test_test_cases_are_the_mean_of_folds_then_of_members(write):
    """One network of all cases counts as much as the two of the other member together."""
    tables = [
        write("m", 0, t=(1, 0, 0)),
        write("m", 1, t=(0, 1, 0)),
        write("n", "all", t=(0, 0, 1)),
    ]
    found = average_members(tables, CLASSES, {0: ["t"], 1: ["t"], "all": ["t"]})
    np.testing.assert_allclose(found["t"], [0.25, 0.25, 0.5])


def test_the_order_of_members_changes_nothing(write):
    said = zip("klmn", np.eye(3)[[0, 1, 2, 0]], strict=True)
    tables = [write(name, 0, x=tuple(p)) for name, p in said]
    one, other = (average_members(order, CLASSES, {0: ["x"]}) for order in (tables, tables[::-1]))
    assert (one["x"] == other["x"]).all()


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (["x", "y"], r"m_0\.csv: m, fold 0, has no probabilities of y$"),
        ([], r"m_0\.csv: m, fold 0, has probabilities of x, which it is not to predict$"),
    ],
)
def test_other_cases_are_refused(write, expected, message):
    with pytest.raises(ValueError, match=message):
        average_members([write("m", 0, x=(1, 0, 0))], CLASSES, {0: expected})


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_are_positive(write, weight):
    with pytest.raises(ValueError, match="the weight of m must be positive, found"):
        average_members([write("m", 0, weight, x=(1, 0, 0))], CLASSES, {0: ["x"]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,p_a,p_b\nx,0.5,0.5\n", r"expected columns \['case', 'p_a', 'p_b', 'p_c'\], found"),
        ("case,p_a,p_c,p_b\nx,0,0,1\n", "expected columns"),
        (HEADER + "x,0.5,0.5,0.5\n", "case 'x': 0.5, 0.5, 0.5 are no probabilities of a, b, c"),
        (HEADER + "x,-0.1,0.6,0.5\n", "case 'x': -0.1, 0.6, 0.5 are no probabilities"),
        (HEADER + "x,nan,0.5,0.5\n", "case 'x': nan, 0.5, 0.5 are no probabilities"),
        (HEADER + "x,,0.5,0.5\n", "case 'x': nothing, 0.5, 0.5 are no probabilities"),
        (HEADER + "x,high,0.5,0.5\n", "case 'x': high, 0.5, 0.5 are no probabilities"),
        (HEADER + "x,1,0,0\nx,1,0,0\n", "case 'x' is listed twice"),
        (HEADER + "x,1,0\n", "a row has not 4 fields"),
    ],
)
def test_a_wrong_table_of_a_fold_is_refused(tmp_path, text, message):
    path = tmp_path / "fold.csv"
    path.write_text(text)
    with pytest.raises(Damaged, match=message) as error:
        read_fold(path, CLASSES)
    assert str(path) in str(error.value)


def test_rounded_probabilities_are_scaled_to_one(tmp_path):
    path = tmp_path / "fold.csv"
    path.write_text(HEADER + "x,0.333,0.333,0.333\n")
    np.testing.assert_allclose(read_fold(path, CLASSES)["x"], [1 / 3] * 3)


def test_what_is_written_is_read(tmp_path, make_case):
    cases = [make_case("x", class_label="b"), make_case("y", class_label="")]
    cases += [make_case("t", split="test", class_label="c")]
    found = {"val": {"y": row(0.1, 0.2, 0.7), "x": row(0.5, 0.5, 0)}, "test": {"t": row(0, 0, 1)}}
    path = tmp_path / "classification.csv"
    write_classification(path, found, {"x": 0, "y": 1}, cases, CLASSES)
    lines = path.read_text().splitlines()
    assert lines == [
        ABOUT.strip(),
        "val,0,x,b,0.5,0.5,0.0",
        "val,1,y,,0.1,0.2,0.7",
        "test,,t,c,0.0,0.0,1.0",
    ]
    read = read_classification(path, CLASSES)
    assert read["val"].cases == ["x", "y"]
    assert read["val"].folds == ["0", "1"]
    assert read["val"].truth.tolist() == [1, -1]
    np.testing.assert_allclose(read["val"].probabilities, [[0.5, 0.5, 0], [0.1, 0.2, 0.7]])
    assert read["val"].known().cases == ["x"]
    assert read["test"].truth.tolist() == [2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train,0,x,a,1,0,0", "case 'x': split is 'train'; allowed are val and test"),
        ("val,,x,a,1,0,0", "case 'x': fold is ''; a validation case has a number"),
        ("test,0,x,a,1,0,0", "case 'x': fold is '0'; a validation case has a number, a test case"),
        ("val,0,x,d,1,0,0", "case 'x': class is 'd'; allowed are a, b, c"),
        ("val,0,x,a,1,1,0", "case 'x': 1, 1, 0 are no probabilities"),
        ("val,0,x,a,1,0,0\ntest,,x,a,1,0,0", "case 'x' is listed twice"),
    ],
)
def test_a_wrong_table_of_a_classifier_is_refused(tmp_path, line, message):
    path = tmp_path / "classification.csv"
    path.write_text(f"{ABOUT}{line}\n")
    with pytest.raises(Damaged, match=message):
        read_classification(path, CLASSES)


def test_classifiers_are_read_side_by_side(tmp_path):
    paths = {}
    for name, lines in {
        "m": "val,0,x,a,1,0,0\ntest,,t,,1,0,0\n",
        "n": "val,0,x,a,0,1,0\ntest,,t,,1,0,0\n",
    }.items():
        paths[name] = tmp_path / f"{name}.csv"
        paths[name].write_text(ABOUT + lines)
    found = read_classifiers(paths, CLASSES)
    assert list(found) == ["val"]  # the class of no test case is known
    assert list(found["val"]) == ["m", "n"]
    paths["n"].write_text(ABOUT + "val,0,y,a,0,1,0\n")
    with pytest.raises(ValueError, match="'m' and 'n' are not paired: val case 'x' is in only one"):
        read_classifiers(paths, CLASSES)


def test_baselines_know_the_training_cases_only():
    labels = ["b", "a", "", "b", "c"]
    np.testing.assert_allclose(class_prior(labels, CLASSES), [0.25, 0.5, 0.25])
    np.testing.assert_allclose(majority_class(labels, CLASSES), [0, 1, 0])
    np.testing.assert_allclose(majority_class(["c", "b"], CLASSES), [0, 1, 0])
    with pytest.raises(ValueError, match="no training case has a class"):
        class_prior(["", "d"], CLASSES)


def test_rounding_breaks_no_tie_in_one_class_and_not_in_another(tmp_path):
    path = tmp_path / "classification.csv"
    first, second = 0.1 + 0.2, 0.3  # which differ by rounding alone
    lines = [f"val,0,{n},{n},{p},{1 - p},0" for n, p in (("a", first), ("b", second))]
    path.write_text(ABOUT + "\n".join(lines) + "\n")
    found = read_classification(path, CLASSES)["val"].probabilities
    assert (found[0] == found[1]).all()
