import pytest

from segflow.files.ledger import Ledger
from segflow.jobs.workers import finish_cases


@pytest.fixture
def ledger(tmp_path):
    (tmp_path / "a.txt").write_text("four")
    ledger = Ledger(tmp_path)
    ledger.enter("a", "key", [tmp_path / "a.txt"], shape="2 3 4")
    return ledger


def test_facts_are_found_again(ledger):
    assert Ledger(ledger.folder).find("a", "key") == {"shape": "2 3 4"}


def test_a_case_without_facts_is_not_a_missing_case(ledger):
    ledger.enter("b", "key", [])
    assert ledger.find("b", "key") == {}


def change_size(folder):
    (folder / "a.txt").write_text("fives")


def lose_file(folder):
    (folder / "a.txt").unlink()


def tear_record(folder):
    record = folder / ".ledger" / "a.json"
    record.write_text(record.read_text()[:20])


def falsify_record(folder):
    (folder / ".ledger" / "a.json").write_text('["key"]')


@pytest.mark.parametrize("damage", [change_size, lose_file, tear_record, falsify_record])
def test_a_damaged_case_must_be_redone(ledger, damage):
    damage(ledger.folder)
    assert ledger.find("a", "key") is None


def test_another_key_or_case_must_be_redone(ledger):
    assert ledger.find("a", "other") is None
    assert ledger.find("b", "key") is None


def test_prune_removes_files_and_records_of_unknown_cases_only(ledger):
    (ledger.folder / "b.txt").write_text("b")
    ledger.enter("b", "key", [ledger.folder / "b.txt"])
    ledger.prune(["a"])
    assert names(ledger.folder) == {"a.txt", "a.json"}
    assert ledger.find("a", "key") is not None


def names(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("complete", [True, False])
def test_prune_removes_what_killed_writers_left(ledger, complete):
    record = (ledger.records / "a.json").read_text()
    (ledger.records / ".123.partial.a.json").write_text(record if complete else "")
    (ledger.folder / ".123.partial.b_0000.nii.gz").write_text("half")
    ledger.prune(["a"])
    assert names(ledger.folder) == {"a.txt", "a.json"}
    assert ledger.find("a", "key") is not None


@pytest.mark.parametrize("text", ["", '{"files": {"a', '["key"]', "3", "{}", '{"files": null}'])
def test_prune_survives_torn_records(ledger, text):
    (ledger.records / "b.json").write_text(text)
    ledger.prune(["a"])
    assert names(ledger.folder) == {"a.txt", "a.json"}
    assert ledger.find("a", "key") is not None


def test_prune_of_a_folder_that_is_not_there_does_nothing(tmp_path):
    Ledger(tmp_path / "missing").prune(["a"])
    assert not (tmp_path / "missing").exists()


def test_files_that_a_case_has_no_more_are_removed(ledger):
    (ledger.folder / "b.txt").write_text("new")
    ledger.enter("a", "other", [ledger.folder / "b.txt"])
    assert not (ledger.folder / "a.txt").exists()
    assert ledger.find("a", "other") == {}


def test_only_unfinished_cases_are_worked_on(tmp_path, capsys):
    done = []

    def work(item):
        case, text = item
        done.append(case)
        (tmp_path / case).write_text(text)
        return [tmp_path / case]

    finish_cases(tmp_path, {"a": "1", "b": "1"}, {"a": "x", "b": "y"}, work, 1, "step")
    finish_cases(tmp_path, {"b": "1", "c": "1"}, {"b": "y", "c": "z"}, work, 1, "step")
    assert done == ["a", "b", "c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ledger", "b", "c"]
    assert "step: 1 of 2 cases are finished" in capsys.readouterr().out
