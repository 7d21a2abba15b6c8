import os

import pytest

from segflow.content import file_sha256, write_json
from segflow.sources import SourceCase, find_cases, folder_state, record_sources, state_of_sources


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
    store(raw, find_cases("msd", raw), tmp_path / "sources.json")
    return tmp_path / "sources.json"


def touch(path):
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def state(raw, record):
    return state_of_sources(raw, find_cases("msd", raw), record)


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
    cases = find_cases("msd", raw)
    one_patient = [SourceCase(c.case, "p", c.split, c.images, c.label) for c in cases]
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
    cases = find_cases("msd", raw)
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
    assert [case.case for case in find_cases("msd", raw)] == ["0", "a", "b", "c"]


def test_find_cases_says_which_folder_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        find_cases("msd", tmp_path / "nowhere")


def test_find_cases_refuses_a_case_that_is_there_twice(raw):
    (raw / "imagesTs" / "a.nii.gz").write_text("the name of a training case")
    with pytest.raises(ValueError, match="case 'a' is there 2 times"):
        find_cases("msd", raw)


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
