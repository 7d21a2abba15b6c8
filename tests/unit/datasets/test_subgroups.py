import pytest

from gather_cases import main as gather_cases
from segflow.datasets.problems import table_of_part, write_problems
from segflow.datasets.subgroups import divide
from segflow.files.cases import write_cases


@pytest.fixture
def cases(make_case):
    return [
        make_case("a", class_label="benign", covariates={"sex": "F", "age": "50"}),
        make_case("b", class_label="benign", covariates={"sex": "M"}),
        make_case("c", class_label="malignant", covariates={"sex": "F"}),
        make_case("d", class_label="malignant"),
    ]


def test_cases_are_divided_by_class_and_covariates(cases):
    assert divide(cases, ["sex", "class_label"]) == {
        ("sex", "F"): ["a", "c"],
        ("sex", "M"): ["b"],
        ("sex", "unknown"): ["d"],
        ("class_label", "benign"): ["a", "b"],
        ("class_label", "malignant"): ["c", "d"],
    }


def test_columns_that_divide_nothing_are_refused(cases, make_case):
    message = "no column 'site' that divides the cases; those that do are class_label, age, sex$"
    with pytest.raises(ValueError, match=message):
        divide(cases, ["site"])
    many = [make_case(str(n), covariates={"age": str(n)}) for n in range(40, 53)]
    with pytest.raises(ValueError, match=r"'age' .* has 13 values \(40, 41, 42, \.\.\.\), allowed"):
        divide(many, ["age"])


def test_columns_are_checked_as_soon_as_the_cases_are_known(cases, tmp_path):
    tables = [tmp_path / "train.csv", tmp_path / "test.csv"]
    for table, part in zip(tables, (cases, []), strict=True):
        write_cases(table, part)
        write_problems(table_of_part(table), [])
    paths = tmp_path / "cases.csv", tmp_path / "problems.csv"
    with pytest.raises(ValueError, match=r"subgroups: cases\.csv has no column 'site'"):
        gather_cases(tables, False, ["sex", "site"], *paths)
    assert not paths[0].exists()
    gather_cases(tables, False, ["sex", "class_label"], *paths)
    assert paths[0].exists()
