import pytest

from segflow.files.cases import COLUMNS, read_cases, read_rows, write_cases, write_rows


def test_cases_survive_the_round_trip_in_order_of_their_names(tmp_path, make_case):
    cases = [make_case("b", label="", images="b1;b2"), make_case("a", group='with, "signs"')]
    write_cases(tmp_path / "cases.csv", cases)
    assert read_cases(tmp_path / "cases.csv") == cases[::-1]


def test_names_that_look_like_numbers_stay_as_they_are(tmp_path, make_case):
    write_cases(tmp_path / "cases.csv", [make_case("001"), make_case("1e3")])
    assert [case.case for case in read_cases(tmp_path / "cases.csv")] == ["001", "1e3"]


def test_a_case_that_is_listed_twice_is_named(tmp_path, make_case):
    write_cases(tmp_path / "cases.csv", [make_case("a1"), make_case("a1", patient="other")])
    with pytest.raises(ValueError, match=r"cases\.csv: case 'a1' is listed twice"):
        read_cases(tmp_path / "cases.csv")


@pytest.mark.parametrize("columns", [COLUMNS[:-1], ["more", *COLUMNS], COLUMNS[::-1]])
def test_other_columns_are_refused(tmp_path, columns):
    write_rows(tmp_path / "cases.csv", [], columns)
    with pytest.raises(ValueError, match=r"cases\.csv: expected columns \['case'.*found \["):
        read_cases(tmp_path / "cases.csv")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "cases.csv").touch()
    with pytest.raises(ValueError, match=r"found \[\]"):
        read_cases(tmp_path / "cases.csv")


def test_rows_may_be_none(tmp_path):
    write_rows(tmp_path / "table.csv", [], ["a", "b"])
    assert read_rows(tmp_path / "table.csv", ["a", "b"]) == []


def test_covariates_are_columns_of_their_own(tmp_path, make_case):
    cases = [make_case("a", covariates={"age": "71", "session": "M00"}), make_case("b")]
    write_cases(tmp_path / "cases.csv", cases)
    header, first, second = (tmp_path / "cases.csv").read_text().splitlines()
    assert header.endswith("label_voxels,orientation,age,session")
    assert first.endswith(",71,M00")
    assert second.endswith(",,")
    assert read_cases(tmp_path / "cases.csv") == cases
