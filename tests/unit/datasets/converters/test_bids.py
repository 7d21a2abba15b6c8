import pytest

from segflow.datasets.converters.bids import find_cases

COLUMNS = {
    "subject": "NACCID",
    "session": "Visit",
    "diagnosis": "NACCUDSD",
    "age": "NACCAGE",
    "sex": "SEX",
    "mmse": "NACCMMSE",
}
OPTIONS = {
    "table": "uds.csv",
    "columns": COLUMNS,
    "diagnoses": {"CN": ["1"], "MCI": ["3"], "AD": ["4"]},
    "ambiguous": ["2"],
    "missing": ["88"],
}


def place(raw, name):
    folder = raw.joinpath(*[part for part in name.split("_") if part[:4] in ("sub-", "ses-")])
    (folder / "anat").mkdir(parents=True, exist_ok=True)
    (folder / "anat" / f"{name}_T1w.nii.gz").touch()


@pytest.fixture
def raw(tmp_path):
    for name in ("sub-NACC1_ses-2", "sub-NACC1_ses-10", "sub-NACC2_ses-1", "sub-NACC3_ses-1"):
        place(tmp_path, name)
    write(
        tmp_path,
        "NACCID,Visit,NACCUDSD,NACCAGE,SEX,NACCMMSE,other",
        "NACC1,2,1,70,1,30,x",
        "NACC1,10,3,75,1,88,x",
        "nacc_2,1,4,80,2,20,x",
        "NACC3,1,2,81,2,25,x",
    )
    return tmp_path


def write(raw, *lines):
    (raw / "uds.csv").write_text("".join(f"{line}\n" for line in lines))


def test_one_table_tells_all_sessions_by_the_columns_that_are_named(raw):
    catalogue = find_cases(raw, **OPTIONS)
    assert {case.case: case.class_label for case in catalogue.cases} == {
        "sub-NACC1_ses-2": "CN",
        "sub-NACC1_ses-10": "MCI",
        "sub-NACC2_ses-1": "AD",
    }
    covariates = {case.case: case.covariates for case in catalogue.cases}
    assert covariates["sub-NACC2_ses-1"] == {
        "session": "ses-1",
        "visit": "baseline",
        "sex": "F",
        "age": "80",
        "age_group": "80-89",
        "mmse": "20",
        "cdr": "",
    }
    assert covariates["sub-NACC1_ses-10"]["mmse"] == ""
    assert [p.problem for p in catalogue.problems] == [
        "the session has the ambiguous diagnosis '2'"
    ]


def test_the_first_session_is_that_of_the_lowest_number_unless_named(raw):
    def later(**options):
        return {case.case for case in find_cases(raw, **OPTIONS, **options).cases if case.follow_up}

    assert later() == {"sub-NACC1_ses-10"}
    assert later(baseline="ses-1.*") == {"sub-NACC1_ses-2"}
    baseline = find_cases(raw, **OPTIONS, sessions="baseline").cases
    assert [case.case for case in baseline] == ["sub-NACC1_ses-2", "sub-NACC2_ses-1"]


def test_without_sessions_a_row_is_that_of_the_only_image(tmp_path):
    place(tmp_path, "sub-OAS1")
    write(tmp_path, "ID;CDR;dx", "OAS1;0.5;MCI")
    columns = {"subject": "ID", "diagnosis": "dx", "cdr": "CDR"}
    (case,) = find_cases(tmp_path, table="uds.csv", columns=columns).cases
    assert (case.case, case.class_label, case.covariates["cdr"]) == ("sub-OAS1", "MCI", "0.5")
    assert not case.follow_up


def test_a_row_that_could_be_of_several_sessions_is_an_error(raw):
    columns = {key: value for key, value in COLUMNS.items() if key != "session"}
    problems = find_cases(raw, **OPTIONS | {"columns": columns}).problems
    texts = [problem.problem for problem in problems if problem.severity == "error"]
    text = "sub-NACC1 has 2 sessions, but the table does not say whose it is"
    assert texts == [text, text]


def test_a_column_that_is_not_there_is_an_error(raw):
    columns = COLUMNS | {"age": "Alter"}
    problems = find_cases(raw, **OPTIONS | {"columns": columns}).problems
    assert "has no column alter" in [p.problem for p in problems if p.severity == "error"]


def test_subject_and_diagnosis_must_be_named(raw):
    with pytest.raises(ValueError, match=r"options\.columns names no column for diagnosis"):
        find_cases(raw, table="uds.csv", columns={"subject": "NACCID"})


def test_a_table_that_is_not_there_is_an_error(raw):
    with pytest.raises(FileNotFoundError, match=r"expected a table no\.csv of diagnoses"):
        find_cases(raw, table="no.csv")
