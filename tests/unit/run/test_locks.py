import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from segflow.files.content import write_json
from segflow.jobs.folder_leases import this_process
from segflow.run.locks import enter_run

ME = this_process()


@pytest.fixture
def dead():
    """Return the owner that a process was which has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.communicate(b"\n")
    return replace(ME, pid=process.pid, started="1", token="dead")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.input.lock").write_text("x.csv\n")
    return tmp_path


def enter(folder, *owners):
    for owner in owners:
        write_json(folder / "runs" / f"{owner.token}.json", asdict(owner))
    enter_run(folder)
    return not (folder / "locks/0.input.lock").exists()


def test_the_lock_of_a_killed_run_is_removed(folder, dead, capsys):
    assert enter(folder, dead)
    assert "The last run was killed; its lock is removed." in capsys.readouterr().err
    assert not (folder / "runs/dead.json").exists()
    assert len(list((folder / "runs").iterdir())) == 1


def test_the_lock_of_a_run_before_the_host_was_started_again_is_removed(folder, dead):
    host, _, space = ME.place.split()
    assert enter(folder, replace(dead, pid=ME.pid, place=f"{host} another {space}"))


def test_a_lock_without_a_record_of_its_run_stays(folder):
    assert not enter(folder)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(ME, id="alive"),
        pytest.param(replace(ME, host="other", place="other 1 2"), id="on another host"),
        pytest.param(replace(ME, place=f"{ME.place}x"), id="in another container"),
    ],
)
def test_a_lock_stays_while_any_run_may_be_alive(folder, dead, other):
    assert not enter(folder, replace(other, token="other"), dead)
    assert (folder / "runs/dead.json").exists()


def test_a_torn_record_counts_as_a_killed_run(folder):
    (folder / "runs").mkdir()
    (folder / "runs/torn.json").write_text("{")
    assert enter(folder)


@pytest.mark.parametrize("other_runs", [False, True])
def test_damage_is_set_aside_where_no_other_run_may_use_it(folder, dead, other_runs):
    table = folder / "training.json"
    table.write_text("torn")
    write_json(folder / "damaged/note.json", [[str(table), table.stat().st_mtime_ns]])
    other = replace(ME, host="other", place="other 1 2", token="other")
    enter(folder, dead, *([other] * other_runs))
    assert table.exists() == other_runs
    assert (folder / "training.json.damaged").exists() != other_runs
