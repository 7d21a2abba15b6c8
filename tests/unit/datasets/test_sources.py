import os
from dataclasses import replace

import pytest

from segflow.datasets.sources import (
    Problem,
    SourceCase,
    find_cases,
    folder_state,
    no_cases,
    record_sources,
    state_of_sources,
)
from segflow.files.content import file_sha256, write_json
from segflow.files.folders import visible

DATASET = {"converter": "msd", "options": {}, "source": "http://example.org", "pseudonyms": False}


def msd(raw, **changes):
    """Return what the Decathlon's converter finds."""
    return find_cases({**DATASET, **changes}, raw)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    for name in ("imagesTr/a", "labelsTr/a", "imagesTr/b", "labelsTr/b", "imagesTs/c"):
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return folder


def store(raw, cases, record):
    """Record the raw files as conversion does."""
    state = state_of_sources(raw, cases, record)
    sha256 = {path: file_sha256(path) for case in cases for path in case.files}
    write_json(record, {"state": state, **record_sources(raw, cases, sha256)})
    return state


@pytest.fixture
def record(raw, tmp_path):
    store(raw, msd(raw).cases, tmp_path / "sources.json")
    return tmp_path / "sources.json"


def touch(path):
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def state(raw, record):
    return state_of_sources(raw, msd(raw).cases, record)


def test_a_touched_file_leaves_the_state(raw, record):
    before = state(raw, record)
    touch(raw / "imagesTr" / "a.nii.gz")
    assert state(raw, record) == before


def change(raw):
    path = raw / "labelsTr" / "a.nii.gz"
    path.write_text(path.read_text()[::-1])  # of the same size
    touch(path)


def grow(raw):
    (raw / "imagesTr" / "a.nii.gz").write_text("another size")


def add(raw):
    (raw / "imagesTs" / "d.nii.gz").write_text("new")


def remove(raw):
    (raw / "imagesTs" / "c.nii.gz").unlink()


@pytest.mark.parametrize("alter", [change, grow, add, remove])
def test_other_content_changes_the_state(raw, record, alter):
    before = state(raw, record)
    alter(raw)
    assert state(raw, record) != before


def test_content_that_comes_back_brings_its_state_back(raw, record):
    before = state(raw, record)
    change(raw)
    change(raw)
    assert state(raw, record) == before


def test_another_role_changes_the_state(raw, record):
    cases = msd(raw).cases
    one_patient = [replace(case, patient="p") for case in cases]
    assert state_of_sources(raw, one_patient, record) != state(raw, record)


def test_channels_that_swap_change_the_state(raw, tmp_path):
    record = tmp_path / "sources.json"
    channels = (raw / "imagesTr" / "a.nii.gz", raw / "imagesTr" / "b.nii.gz")
    case, swapped = (SourceCase("a", "a", "train", c, None) for c in (channels, channels[::-1]))
    before = store(raw, [case], record)
    assert state_of_sources(raw, [case], record) == before
    assert state_of_sources(raw, [swapped], record) != before
    assert state_of_sources(raw, [swapped], tmp_path / "missing.json") != before


def test_a_lost_file_of_a_known_case_changes_the_state(raw, record):
    cases = msd(raw).cases
    before = state_of_sources(raw, cases, record)
    (raw / "imagesTs" / "c.nii.gz").unlink()
    assert state_of_sources(raw, cases, record) != before


@pytest.mark.parametrize("text", ["{", "null", "3", "[]", '["state"]', "{}", '{"files": []}'])
def test_a_damaged_or_foreign_record_counts_as_none(raw, record, tmp_path, text):
    touch(raw / "imagesTr" / "a.nii.gz")
    record.write_text(text)
    assert state(raw, record) == state(raw, tmp_path / "missing.json")


def test_find_cases_sorts_by_name(raw):
    (raw / "imagesTs" / "0.nii.gz").write_text("first by name, last by folder")
    assert [case.case for case in msd(raw).cases] == ["0", "a", "b", "c"]


def test_find_cases_says_which_folder_is_missing_and_where_the_data_come_from(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder.*http://example\.org"):
        msd(tmp_path / "nowhere")


def test_another_layout_says_what_was_expected_and_found(tmp_path):
    for name in "abcdefghij":
        (tmp_path / name).mkdir()
    message = r"expected imagesTr/.*, found a/, b/, .*, h/ and 2 more \(the data come from http"
    with pytest.raises(FileNotFoundError, match=message):
        msd(tmp_path)


def test_an_empty_folder_is_called_empty(tmp_path):
    assert str(no_cases(tmp_path, "x")).endswith("expected x, found an empty folder")


def errors(catalogue):
    return [(p.case, p.problem) for p in catalogue.problems if p.severity == "error"]


def test_a_case_that_is_there_twice_is_an_error(raw):
    (raw / "imagesTs" / "a.nii.gz").write_text("the name of a training case")
    assert errors(msd(raw)) == [("a", "case 'a' is there 2 times")]


def test_a_name_with_a_blank_is_an_error(raw):
    (raw / "imagesTs" / "a b.nii.gz").write_text("test case")
    assert errors(msd(raw)) == [("a b", "'a b' cannot name a case")]


def test_the_rule_for_patients_reads_the_name_of_the_case(raw):
    for name in ("p1_scan1", "p1_scan2"):
        (raw / "imagesTs" / f"{name}.nii.gz").write_text(name)
    found = msd(raw, patient=r"([a-z]\d?)")
    assert [case.patient for case in found.cases] == ["a", "b", "c", "p1", "p1"]
    assert errors(msd(raw, patient=r"(p\d)"))[0] == (
        "a",
        "the rule for patients, '(p\\\\d)', does not fit 'a'",
    )


def test_an_undeclared_class_is_an_error(raw):
    found = errors(msd(raw, classes=["benign", "malignant"]))
    assert found[0] == ("a", "class '' is not declared")


def test_missing_cases_of_the_full_release_are_a_note(raw):
    note = Problem(
        "", "", "note", "2 of the 260 published train cases are there", "used what is there"
    )
    assert msd(raw, expected_cases={"train": 260, "test": 1}).problems == [note]


def test_the_published_split_is_kept_where_there_is_one(raw):
    assert [case.published_split for case in msd(raw).cases] == ["train", "train", "test"]
    (raw / "imagesTs" / "c.nii.gz").unlink()
    assert [case.published_split for case in msd(raw).cases] == ["", ""]


def test_patients_get_pseudonyms_where_the_data_set_says_so(raw, monkeypatch):
    monkeypatch.setenv("SEGFLOW_PSEUDONYM_KEY", "k" * 32)
    first, second = (msd(raw, pseudonyms=True).cases[n].patient for n in (0, 1))
    assert first != second
    assert first == msd(raw, pseudonyms=True).cases[0].patient
    monkeypatch.setenv("SEGFLOW_PSEUDONYM_KEY", "l" * 32)
    assert msd(raw, pseudonyms=True).cases[0].patient != first


def test_a_folder_stands_for_its_files(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    for name in ("2.dcm", "1.dcm", "._1.dcm"):
        (folder / name).write_text(name)
    case = SourceCase("a", "a", "train", (folder,), None, other_labels=(tmp_path / "x.nii",))
    assert case.files == [folder / "1.dcm", folder / "2.dcm", tmp_path / "x.nii"]
    assert visible(tmp_path / "nowhere") == []


def test_folder_state_follows_names_sizes_and_times(raw):
    before = folder_state(raw)
    assert folder_state(raw) == before
    touch(raw / "imagesTr" / "a.nii.gz")
    assert folder_state(raw) != before


def test_a_converted_data_set_stands_for_its_missing_folder(raw, record, tmp_path):
    gone = tmp_path / "gone"
    assert folder_state(gone, record) == state(raw, record)
    assert folder_state(gone) == folder_state(gone, tmp_path / "no record") == "missing"


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}"])
def test_a_foreign_record_stands_for_no_folder(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    assert folder_state(tmp_path / "gone", tmp_path / "record.json") == "missing"


def patients_of(names, tmp_path, **changes):
    """Return the patients, and the notes, of a table that names these."""
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = ["image,patient"]
    for number, name in enumerate(names):
        (raw / f"{number}.png").touch()
        rows.append(f"{number}.png,{name}")
    (raw / "cases.csv").write_text("\n".join(rows))
    found = find_cases({**DATASET, "converter": "table", **changes}, raw)
    return [case.patient for case in found.cases], found.problems


@pytest.mark.parametrize(
    "names", [("PAT4", "pat4"), ("007", "7"), ("P 1", "P1"), ("a-01 b", "A-1B")]
)
def test_spellings_of_a_patient_are_one_patient(names, tmp_path):
    (one, other), [note] = patients_of(names, tmp_path)
    assert one == other == min(names)
    assert note.severity == "note"
    assert note.problem == (
        "the names of the patients of 0 and 1 differ in case, leading zeros or blanks only"
    )


@pytest.mark.parametrize(
    "names", [("10", "1"), ("1 11", "11 1"), ("P100", "P10"), ("0", "00000a"), ("p1.0", "p10")]
)
def test_other_patients_stay_apart(names, tmp_path):
    assert patients_of(names, tmp_path) == ([*names], [])


def test_a_data_set_may_say_that_spellings_differ(tmp_path):
    names = ["P1", "p1"]
    assert patients_of(names, tmp_path, spellings_differ=True) == (names, [])


def test_masks_are_of_labels_of_one_value(tmp_path):
    for name in ("i.png", "m.png"):
        (tmp_path / name).touch()
    (tmp_path / "cases.csv").write_text("image,label_livr,label_organs\ni.png,m.png,empty")
    labels = {"background": 0, "liver": 1, "organs": [1, 2]}
    [problem] = find_cases({**DATASET, "converter": "table", "labels": labels}, tmp_path).problems
    assert problem.problem == "there is a mask of 'livr', which is no label of one value"
    assert problem.action == "name one of the labels (allowed: liver)"


def test_excluded_cases_are_noted_with_their_reason_alone(raw):
    (raw / "labelsTr" / "b.nii.gz").unlink()
    found = msd(raw, exclude={"b": "no label", "c": "motion"})
    assert [case.case for case in found.cases] == ["a"]
    assert [(p.case, p.file, p.severity, p.problem) for p in found.problems] == [
        ("b", "imagesTr/b.nii.gz", "note", "excluded: no label"),
        ("c", "imagesTs/c.nii.gz", "note", "excluded: motion"),
    ]


def test_an_excluded_case_must_be_there(raw):
    found = msd(raw, exclude={"bb": "damaged"})
    assert len(found.cases) == 3
    assert errors(found) == [("bb", "exclude names 'bb', but there is no such case")]


def test_a_row_of_a_table_with_a_missing_file_can_be_excluded(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "cases.csv").write_text("image,case\na.png,\nlost.png,gone\n")
    dataset = {**DATASET, "converter": "table"}
    assert errors(find_cases(dataset, tmp_path)) == [("gone", "line 3: there is no file lost.png")]
    found = find_cases({**dataset, "exclude": {"gone": "never arrived"}}, tmp_path)
    assert [case.case for case in found.cases] == ["a"]
    assert [p.severity for p in found.problems] == ["note"]


def test_a_name_that_cannot_be_is_told_with_its_file(raw):
    (raw / "imagesTs" / "患者.nii.gz").touch()
    [problem] = [p for p in msd(raw).problems if p.severity == "error"]
    assert (problem.file, problem.problem) == (
        "imagesTs/患者.nii.gz",
        "'患者' cannot name a case",
    )


def test_files_that_name_their_segments_get_the_values_of_labels(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz", "a.dcm", "b_label.nii.gz"):
        (tmp_path / name).write_text(name)
    rows = ["image,label", "a.nii.gz,a.dcm", "b.nii.gz,b_label.nii.gz"]
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    dataset = {
        "source": "nowhere",
        "converter": "table",
        "options": {"table": "cases.csv"},
        "pseudonyms": False,
        "labels": {"background": 0, "Left Lung": 1, "core": 2, "all": [1, 2]},
    }
    a, b = find_cases(dataset, tmp_path).cases
    assert a.segment_values == {"background": 0, "leftlung": 1, "core": 2}
    assert b.segment_values == {}
    before = state_of_sources(tmp_path, [a, b], tmp_path / "none.json")
    dataset["labels"] |= {"core": 1, "Left Lung": 2}
    swapped = find_cases(dataset, tmp_path).cases
    assert state_of_sources(tmp_path, swapped, tmp_path / "none.json") != before
