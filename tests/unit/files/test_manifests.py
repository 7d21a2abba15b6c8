from dataclasses import replace

import pytest

from segflow.files.cases import Case, write_cases
from segflow.files.content import Damaged
from segflow.files.ledger import Ledger
from segflow.files.manifests import read_converted, read_finished, read_manifest, write_manifest

CASE = Case("a", "p", "p", "train", "", "a.gz", "a.gz", "0", "1", "key", "1 2 3", "1 1 1")


def test_manifest_survives_the_round_trip_sorted(tmp_path):
    path = tmp_path / "predictions.csv"
    write_manifest(path, {"b": "2", "a": "1"})
    assert path.read_text().split() == ["case,key", "a,1", "b,2"]
    assert read_manifest(path) == {"a": "1", "b": "2"}


def test_another_table_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("case,dice\na,1\n")
    with pytest.raises(ValueError, match=r"table\.csv: expected columns \['case', 'key'\]"):
        read_manifest(tmp_path / "table.csv")


@pytest.mark.parametrize("text", ["", "case,key\na,1\nb"])
def test_a_torn_table_is_damage(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(Damaged, match=r"predictions\.csv: ") as caught:
        read_manifest(path)
    assert caught.value.files == (path,)


@pytest.fixture
def finished(tmp_path):
    """Return a table of two finished cases, and the folder of their files."""
    folder, table = tmp_path / "predictions", tmp_path / "predictions.csv"
    folder.mkdir()
    for case in ("a", "b"):
        (folder / case).write_text("whole")
        Ledger(folder).enter(case, f"key {case}", [folder / case])
    write_manifest(table, {"a": "key a", "b": "key b"})
    return table, folder


def test_finished_cases_are_read_when_their_files_are_whole(finished):
    assert read_finished(*finished) == {"a": "key a", "b": "key b"}


@pytest.mark.parametrize("text", [None, "who", "another"])
def test_a_case_whose_file_changed_is_damage_of_its_table(finished, text):
    table, folder = finished
    (folder / "b").unlink()
    if text is not None:
        (folder / "b").write_text(text)
    with pytest.raises(
        Damaged, match="a file of case 'b' is lost, cut short or replaced"
    ) as caught:
        read_finished(table, folder)
    assert caught.value.files == (table,)
    assert read_finished(table, folder, ["a"]) == {"a": "key a", "b": "key b"}


def test_files_of_another_content_are_damage(finished):
    table, folder = finished
    Ledger(folder).enter("a", "another key", [folder / "a"])
    with pytest.raises(Damaged, match="case 'a'"):
        read_finished(table, folder)


@pytest.mark.parametrize(
    ("case", "lost", "noticed"),
    [
        (CASE, "imagesTr", True),
        (CASE, "labelsTr", True),
        (replace(CASE, label=""), "labelsTr", False),
        (replace(CASE, split="test"), "labelsTs", True),
        (replace(CASE, split="test"), "labelsTr", False),
    ],
)
def test_converted_files_are_looked_for_where_the_case_belongs(tmp_path, case, lost, noticed):
    table, gathered = tmp_path / "train.csv", tmp_path / "cases.csv"
    for path in (table, gathered):
        write_cases(path, [case])
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("whole")
        Ledger(tmp_path / name).enter("a", "key", [tmp_path / name / "a"])
    assert read_converted(gathered, tmp_path, table) == [case]
    (tmp_path / lost / "a").unlink()
    if noticed:
        with pytest.raises(Damaged, match=f"{lost}: a file of case 'a'") as caught:
            read_converted(gathered, tmp_path, table)
        assert caught.value.files == (gathered, table)
    else:
        assert read_converted(gathered, tmp_path, table) == [case]
