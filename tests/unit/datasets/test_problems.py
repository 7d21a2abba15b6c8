import pytest

from segflow.datasets.problems import (
    SHOWN,
    failed_cases,
    join_problems,
    raise_problems,
    read_problems,
    write_problems,
)
from segflow.datasets.sources import Problem


def note(case, text="the label map is empty"):
    return Problem(case, f"{case}.nii.gz", "note", text, "kept")


def error(case):
    return Problem(case, f"{case}.nii.gz", "error", "torn", "mend it")


def test_notes_that_repeat_become_one_with_their_number():
    many = [note(f"case_{number:03d}") for number in range(133)]
    (joined,) = join_problems(many)
    assert (joined.case, joined.file, joined.action) == ("", "", "kept")
    names = "case_000, case_001, case_002, case_003, case_004 and 128 more"
    assert joined.problem == f"the label map is empty (133 cases: {names})"


def test_what_is_found_twice_is_said_once_and_the_rest_stays():
    problems = [note("a"), error("a"), error("b"), error("c"), note("b", "another"), note("b")]
    assert join_problems([*problems, error("a")]) == problems
    assert failed_cases(problems) == {"a", "b", "c"}


def test_the_table_gives_back_what_was_written(tmp_path):
    problems = [note("a"), error("b")]
    write_problems(tmp_path / "problems.csv", problems)
    assert read_problems(tmp_path / "problems.csv") == problems


def test_an_error_lists_so_many_and_names_the_table_of_all():
    raise_problems([note("a")], "raw")
    with pytest.raises(ValueError, match=r"^raw: 1 problem\n  a\.nii\.gz: torn \(mend it\)$"):
        raise_problems([error("a"), note("b")], "raw")
    many = [error(f"case_{number:03d}") for number in range(SHOWN + 2)]
    with pytest.raises(ValueError, match=f"^raw: {SHOWN + 2} problems\n") as caught:
        raise_problems(many, "raw", "problems.csv")
    assert str(caught.value).endswith("\n  and 2 more; all are in problems.csv")
    with pytest.raises(ValueError, match="case_021"):
        raise_problems(many, "raw")
