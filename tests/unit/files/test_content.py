import os
import pickle
import stat
from types import SimpleNamespace

import numpy as np
import pytest

from segflow.files.content import (
    Damaged,
    content_key,
    file_sha256,
    naming_full_disk,
    read_json,
    read_own_json,
    replacing,
    write_json,
)
from segflow.files.ledger import Ledger
from segflow.images.nifti import Grid, write_image
from segflow.images.probabilities import save_probabilities

GRID = Grid((1, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))


def test_replacing_writes_the_whole_file(tmp_path):
    path = tmp_path / "new" / "image.nii.gz"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_file_sha256_is_that_of_the_standard(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # the example of FIPS 180-2
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path) == expected


def test_content_key_does_not_depend_on_the_order_of_keys():
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})


@pytest.mark.parametrize(
    "other", [("ab", "c"), ("a", "bc", ""), (["a", "bc"],), ("bc", "a"), ("a", None)]
)
def test_content_key_tells_parts_apart(other):
    assert content_key("a", "bc") != content_key(*other)


def test_json_survives_the_round_trip(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"nested": "ä"}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value


@pytest.mark.parametrize("text", ["", '{"torn": '])
def test_read_json_names_a_damaged_file(tmp_path, text):
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"splits\.json: not valid JSON"):
        read_json(path)


def test_damage_that_a_worker_process_finds_keeps_its_files(tmp_path):
    damage = pickle.loads(pickle.dumps(Damaged("x", tmp_path)))
    assert (str(damage), damage.files) == ("x", (tmp_path,))


def test_torn_json_of_the_workflow_is_damage_and_that_of_a_user_is_not(tmp_path):
    path = tmp_path / "plans.json"
    path.write_text('{"half')
    with pytest.raises(Damaged, match=r"plans\.json: not valid JSON") as caught:
        read_own_json(path)
    assert caught.value.files == (path,)
    with pytest.raises(ValueError, match="not valid JSON") as caught:
        read_json(path)
    assert not isinstance(caught.value, Damaged)


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_permissions_that_the_user_wants(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
        save_probabilities(tmp_path / "a.b2nd", np.zeros((2, 1, 2, 2), np.float32), True)
        write_image(tmp_path / "a.nii.gz", np.zeros((1, 2, 2), np.uint8), GRID)
        Ledger(tmp_path).enter("a", "key", [tmp_path / "a.json"])
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {
        path.name: oct(mode) for path in files
    }
    assert len(files) == 4


@pytest.mark.parametrize(("free", "expected"), [(1e6, OSError), (1e9, RuntimeError)])
def test_a_full_disk_is_named_where_a_library_only_fails(tmp_path, monkeypatch, free, expected):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    with pytest.raises(expected) as caught, naming_full_disk(tmp_path):
        raise RuntimeError("Error while creating the NDArray")
    if expected is OSError:
        assert str(caught.value) == f"[Errno 28] No space left on device: '{tmp_path}'"
