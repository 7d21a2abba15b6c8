import os

import pytest

from segflow.files.content import Damaged
from segflow.files.damage import SNAKEMAKE, noting_damage, set_damage_aside

MESSAGE = r"x is torn; set aside as \*\.damaged: .*checkpoint\.pth, .*training\.json; run again"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a damaged file, and a table that vouches for it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    paths = tmp_path / "checkpoint.pth", tmp_path / "training.json"
    for path in paths:
        path.write_text("torn")
    return paths


def find_damage(files):
    with pytest.raises(ValueError, match=MESSAGE), noting_damage():
        raise Damaged("x is torn", *files, files[0].with_name("gone"))


def names(folder):
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_damage_is_set_aside_with_what_vouches_for_it(files, tmp_path):
    find_damage(files)
    assert names(tmp_path) == {"checkpoint.pth.damaged", "training.json.damaged"}


def test_what_jobs_of_snakemake_find_stays_until_no_other_job_needs_it(files, tmp_path):
    SNAKEMAKE.mkdir()
    find_damage(files)
    find_damage(files)
    assert names(tmp_path) == {"checkpoint.pth", "training.json"}
    set_damage_aside()
    assert names(tmp_path) == {"checkpoint.pth.damaged", "training.json.damaged"}
    files[1].write_text("made again")
    set_damage_aside()
    assert names(tmp_path) == {"checkpoint.pth.damaged", "training.json.damaged", "training.json"}


def test_what_was_made_again_meanwhile_stays(files, tmp_path):
    SNAKEMAKE.mkdir()
    find_damage(files)
    files[1].write_text("made again")
    os.utime(files[1], ns=(1, 1))
    set_damage_aside()
    assert names(tmp_path) == {"checkpoint.pth.damaged", "training.json"}


def test_a_torn_note_sets_nothing_aside(files, tmp_path):
    SNAKEMAKE.mkdir()
    find_damage(files)
    for note in SNAKEMAKE.rglob("*.json"):
        note.write_text("[")
    set_damage_aside()
    assert names(tmp_path) == {"checkpoint.pth", "training.json"}
    assert not list(SNAKEMAKE.rglob("*.json"))
