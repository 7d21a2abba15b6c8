import pytest

from segflow.manifests import read_manifest, write_manifest


def test_manifest_survives_the_round_trip_sorted(tmp_path):
    path = tmp_path / "predictions.csv"
    write_manifest(path, {"b": "2", "a": "1"})
    assert path.read_text().split() == ["case,key", "a,1", "b,2"]
    assert read_manifest(path) == {"a": "1", "b": "2"}


def test_another_table_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("case,dice\na,1\n")
    with pytest.raises(ValueError, match=r"table\.csv: expected columns \['case', 'key'\]"):
        read_manifest(tmp_path / "table.csv")
