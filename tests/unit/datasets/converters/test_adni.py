import shutil

import pytest

from segflow.datasets.converters.adni import OPTIONS, find_cases
from segflow.images.nifti import read_image
from user_layouts import make_adni

SUBJECT = "sub-ADNI002S0295"


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    return make_adni(tmp_path_factory.mktemp("adni"))


@pytest.fixture
def raw(tmp_path):
    """Return one subject with images of two visits, as Clinica names them."""
    for session in ("ses-M000", "ses-M012"):
        place(tmp_path, f"{SUBJECT}_{session}_T1w.nii.gz")
    write_sessions(
        tmp_path,
        "session_id\tage\tdiagnosis\tcdr_sb\tcdr_global\tMMSE",
        "ses-M000\t74.3\tMCI\t1.5\t0.5\t28.0",
        "ses-M012\t75.3\tAD\t4.0\t1.0\t23.0",
    )
    (tmp_path / "participants.tsv").write_text(f"participant_id\tsex\n{SUBJECT}\tM\n")
    return tmp_path


def place(raw, name):
    subject, session = name.split("_")[:2]
    path = raw / subject / session / "anat" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def write_sessions(raw, *lines, subject=SUBJECT):
    path = raw / subject / f"{subject}_sessions.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def words(catalogue, severity):
    return [problem.problem for problem in catalogue.problems if problem.severity == severity]


def test_a_case_is_an_image_with_the_diagnosis_of_its_session(raw):
    catalogue = find_cases(raw)
    first, second = catalogue.cases
    assert catalogue.problems == []
    assert first.case == f"{SUBJECT}_ses-M000"
    assert first.patient == second.patient == SUBJECT
    assert first.images == (raw / SUBJECT / "ses-M000/anat" / f"{SUBJECT}_ses-M000_T1w.nii.gz",)
    assert first.labels is None
    assert [case.class_label for case in catalogue.cases] == ["MCI", "AD"]
    assert [case.follow_up for case in catalogue.cases] == [False, True]
    expected = {"session": "ses-M012", "sex": "M", "age": "75.3", "mmse": "23.0", "cdr": "1.0"}
    expected |= {"visit": "follow-up", "age_group": "70-79"}
    assert second.covariates == expected


def test_the_miniature_has_every_class_and_one_image_without_diagnosis(miniature):
    catalogue = find_cases(miniature)
    baseline = [case for case in catalogue.cases if not case.follow_up]
    assert len({case.patient for case in baseline}) == len(baseline) == 12
    assert sorted(case.class_label for case in baseline) == ["AD"] * 4 + ["CN"] * 4 + ["MCI"] * 4
    assert len(catalogue.cases) == 17  # 12 and 6 follow-ups, less one
    # 36 visits less 18 images
    assert words(catalogue, "note") == [
        "no diagnosis",
        "18 visits of these subjects without a T1-weighted image",
    ]
    assert read_image(baseline[0].images[0])[0].shape == (1, 16, 24, 20)


def test_only_baseline_sessions_on_request(miniature):
    catalogue = find_cases(miniature, sessions="baseline")
    assert {case.covariates["session"] for case in catalogue.cases} == {"ses-M000"}
    assert "no diagnosis" not in words(catalogue, "note")
    assert OPTIONS["sessions"]["enum"] == ["all", "baseline"]


@pytest.mark.parametrize("session", ["ses-M0", "ses-M00", "ses-M000"])
def test_the_first_visit_is_known_by_any_of_its_names(tmp_path, session):
    place(tmp_path, f"{SUBJECT}_{session}_T1w.nii.gz")
    write_sessions(tmp_path, "session_id\tdiagnosis", f"{session}\tCN")
    (case,) = find_cases(tmp_path, sessions="baseline").cases
    assert not case.follow_up


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("CN", "CN"),
        ("SMC", "CN"),
        ("NL", "CN"),
        ("MCI", "MCI"),
        ("EMCI", "MCI"),
        ("LMCI", "MCI"),
        ("AD", "AD"),
        ("Dementia", "AD"),
    ],
)
def test_spellings_of_diagnoses(raw, written, expected):
    write_sessions(raw, "session_id\tdiagnosis", f"ses-M000\t{written}")
    assert [case.class_label for case in find_cases(raw).cases] == [expected]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ses-M012\tn/a", "no diagnosis"),
        ("ses-M012\t", "no diagnosis"),
        ("ses-M012", "no diagnosis"),
        (
            "ses-M024\tAD",
            f"{SUBJECT}/{SUBJECT}_sessions.tsv is missing or does not list the session",
        ),
    ],
)
def test_an_image_without_class_is_left_out_with_a_note(raw, line, problem):
    write_sessions(raw, "session_id\tdiagnosis", "ses-M000\tMCI", line)
    catalogue = find_cases(raw)
    assert [case.case for case in catalogue.cases] == [f"{SUBJECT}_ses-M000"]
    note = catalogue.problems[0]
    assert (note.severity, note.problem, note.case) == ("note", problem, f"{SUBJECT}_ses-M012")
    assert note.file == f"{SUBJECT}/ses-M012/anat/{SUBJECT}_ses-M012_T1w.nii.gz"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("session_id\tdiagnosis\tage\tMMSE\tcdr_global", ("71", "2", "3")),
        ("session_id\tdiagnosis\tage\tMMS\tcdr_cdglobal", ("71", "2", "3")),
        ("Session_ID\tDX\tAge\tmmse\tCDR", ("71", "2", "3")),
        ("session_id\tdiagnosis\tage_bl\tMoCA\tcdr_sb", ("", "", "")),
    ],
)
def test_spellings_of_columns(raw, header, expected):
    write_sessions(raw, header, "ses-M000\tCN\t71\t2\t3")
    (case,) = find_cases(raw).cases
    assert tuple(case.covariates[name] for name in ("age", "mmse", "cdr")) == expected


@pytest.mark.parametrize("written", ["n/a", "NaN", "", "-1", "-4.0"])
def test_a_score_that_is_missing_is_empty(raw, written):
    write_sessions(raw, "session_id\tdiagnosis\tMMSE", f"ses-M000\tCN\t{written}")
    catalogue = find_cases(raw)
    assert catalogue.cases[0].covariates["mmse"] == ""
    assert not any("mmse" in text for text in words(catalogue, "note"))


@pytest.mark.parametrize(
    ("column", "written", "limits"),
    [
        ("age", "old", "18 to 120"),
        ("age", "-74.3", "18 to 120"),
        ("age", "743", "18 to 120"),
        ("age", "7", "18 to 120"),
        ("MMSE", "31", "0 to 30"),
        ("cdr", "5", "0 to 3"),
    ],
)
def test_a_score_that_cannot_be_is_an_error(raw, column, written, limits):
    write_sessions(raw, f"session_id\tdiagnosis\t{column}", f"ses-M000\tCN\t{written}")
    (error,) = words(find_cases(raw), "error")
    assert error == f"{column.lower()} {written!r} is no number from {limits}"


@pytest.mark.parametrize(("written", "sex"), [("M", "M"), ("Female", "F"), ("n/a", ""), ("?", "")])
def test_spellings_of_sex(raw, written, sex):
    (raw / "participants.tsv").write_text(f"participant_id\tsex\n{SUBJECT}\t{written}\n")
    assert find_cases(raw).cases[0].covariates["sex"] == sex


def test_a_missing_table_of_participants_is_noted(raw):
    (raw / "participants.tsv").unlink()
    catalogue = find_cases(raw)
    assert catalogue.cases[0].covariates["sex"] == ""
    assert [problem.file for problem in catalogue.problems] == ["participants.tsv"]


@pytest.mark.parametrize(("incomplete", "severity"), [("error", "error"), ("leave_out", "note")])
def test_several_images_of_a_session_are_ambiguous(raw, incomplete, severity):
    shutil.rmtree(raw / SUBJECT / "ses-M012")
    (raw / SUBJECT / "ses-M000/anat" / f"{SUBJECT}_ses-M000_T1w.nii.gz").unlink()
    for run in (2, 1):
        place(raw, f"{SUBJECT}_ses-M000_run-0{run}_T1w.nii.gz")
    place(raw, f"{SUBJECT}_ses-M000_acq-GRAPPA_T2w.nii.gz")
    catalogue = find_cases(raw, incomplete=incomplete)
    assert catalogue.cases == []
    names = [f"{SUBJECT}_ses-M000_run-0{run}_T1w.nii.gz" for run in (1, 2)]
    assert f"the session has 2 T1-weighted images ({', '.join(names)})" in words(
        catalogue, severity
    )


@pytest.mark.parametrize(("incomplete", "severity"), [("error", "error"), ("leave_out", "note")])
def test_what_is_missing_is_listed_in_one_list(raw, incomplete, severity):
    (raw / SUBJECT / "ses-M024" / "pet").mkdir(parents=True)
    (raw / "sub-ADNI002S0777" / "ses-M000").mkdir(parents=True)
    (raw / "participants.tsv").write_text(
        f"participant_id\tsex\n{SUBJECT}\tM\nsub-ADNI002S0999\tF\n"
    )
    catalogue = find_cases(raw, incomplete=incomplete)
    assert len(catalogue.cases) == 2
    assert words(catalogue, severity)[:4] == [
        "the session has no T1-weighted image",
        "the session has no T1-weighted image",
        "subject 'sub-ADNI002S0999' is in the table, but has no images",
        "the subject has a folder, but no row in the table",
    ]


def test_an_unknown_diagnosis_is_an_error_and_an_ambiguous_one_left_out(raw):
    write_sessions(raw, "session_id\tdiagnosis", "ses-M000\tMCI", "ses-M012\tFTD")
    (error,) = (p for p in find_cases(raw).problems if p.severity == "error")
    assert error.problem == "the session has the unknown diagnosis 'FTD'"
    assert "options.ambiguous" in error.action
    catalogue = find_cases(raw, ambiguous=["ftd"])
    assert [case.class_label for case in catalogue.cases] == ["MCI"]
    assert words(catalogue, "note") == ["the session has the ambiguous diagnosis 'FTD'"]
    mapped = find_cases(raw, diagnoses={"MCI": ["mci"], "AD": ["FTD"]})
    assert [case.class_label for case in mapped.cases] == ["MCI", "AD"]


def test_a_pickle_in_the_folder_is_not_read(raw):
    (raw / ".ancpbids-dataset.pickle").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert len(find_cases(raw).cases) == 2


def test_an_image_in_the_folder_of_another_subject_is_an_error(raw):
    wrong = raw / SUBJECT / "ses-M012/anat"
    (wrong / f"{SUBJECT}_ses-M012_T1w.nii.gz").rename(wrong / "sub-ADNI002S0413_ses-M012_T1w.nii")
    catalogue = find_cases(raw)
    assert [case.case for case in catalogue.cases] == [f"{SUBJECT}_ses-M000"]
    (error,) = (problem for problem in catalogue.problems if problem.severity == "error")
    assert error.file == f"{SUBJECT}/ses-M012/anat/sub-ADNI002S0413_ses-M012_T1w.nii"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["session_id\tage", "ses-M000\t74"], "has no column diagnosis"),
        (["diagnosis"], "has no column session_id"),
        ([], "has no column session_id"),
        (
            ["session_id\tdiagnosis", "ses-M000\tCN", "ses-M000\tAD"],
            "session 'ses-M000' is listed twice",
        ),
    ],
)
def test_a_damaged_table_of_sessions_is_an_error(raw, lines, problem):
    write_sessions(raw, *lines)
    catalogue = find_cases(raw)
    assert problem in words(catalogue, "error")
    assert catalogue.problems[0].file == f"{SUBJECT}/{SUBJECT}_sessions.tsv"


def test_a_table_that_is_not_text_is_an_error(raw):
    (raw / SUBJECT / f"{SUBJECT}_sessions.tsv").write_bytes(b"session_id\tdiagnosis\n\xff\xfe")
    (error,) = words(find_cases(raw), "error")
    assert error.startswith("cannot be read ('utf-8'")


def test_images_without_any_table_are_an_error(raw):
    (raw / SUBJECT / f"{SUBJECT}_sessions.tsv").unlink()
    catalogue = find_cases(raw)
    assert catalogue.cases == []
    (error,) = (problem for problem in catalogue.problems if problem.severity == "error")
    assert error.problem.startswith("no image has a diagnosis")
    assert "--clinical-data-only" in error.action


def test_derivatives_and_hidden_files_are_ignored(raw):
    before = find_cases(raw)
    shutil.copytree(raw / SUBJECT, raw / "derivatives" / "clinica" / SUBJECT)
    for path in list(raw.rglob("*T1w.nii.gz")):
        path.with_name(f"._{path.name}").touch()
    (raw / "._sub-ADNI002S0295").touch()
    assert find_cases(raw) == before


@pytest.mark.parametrize(
    "path",
    [
        "ADNI/002_S_0295/MP-RAGE/2006-04-18_08_20_30.0/I13722/ADNI_002_S_0295_MR_1.dcm",
        "002_S_0295/MP-RAGE/2006-04-18_08_20_30.0/I13722/ADNI_002_S_0295_MR_1.dcm",
        "ADNIMERGE.csv",
        "clinical/ADNIMERGE_30Aug2023.csv",
    ],
)
def test_a_download_is_refused_with_the_way_to_convert_it(tmp_path, path):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).touch()
    with pytest.raises(FileNotFoundError, match="clinica convert adni-to-bids") as error:
        find_cases(tmp_path)
    assert "\n" not in str(error.value)


def test_another_layout_is_answered_with_what_was_found(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected sub-\*.*, found imagesTr/$"):
        find_cases(tmp_path)
