import os
import subprocess
import sys
from pathlib import Path

import pytest

from segflow.jobs.environment import SCRIPTS, share_environment


@pytest.mark.parametrize("given", [None, "", "/elsewhere"])
def test_library_and_python_come_first(monkeypatch, given):
    for name in ("PATH", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
        if given is not None:
            monkeypatch.setenv(name, given)
    share_environment()
    others = ["/elsewhere"] if given else []
    assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(SCRIPTS), *others]
    assert os.environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), *others]


def test_the_running_python_comes_before_others_though_it_is_known(monkeypatch):
    folder = str(Path(sys.executable).parent)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PATH", os.pathsep.join(["/elsewhere", folder]))
    share_environment()
    assert os.environ["PATH"].split(os.pathsep) == [folder, "/elsewhere"]


def test_twice_is_as_good_as_once(monkeypatch):
    monkeypatch.setenv("PATH", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    share_environment()
    once = os.environ["PATH"], os.environ["PYTHONPATH"]
    share_environment()
    assert (os.environ["PATH"], os.environ["PYTHONPATH"]) == once


def test_a_command_finds_the_library(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "")
    share_environment()
    command = ["python", "-c", "import segflow, sys; print(sys.executable)"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).parent == Path(sys.executable).parent


def test_a_command_draws_where_a_notebook_started_it(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://of_a_notebook")
    share_environment()
    command = ["python", "-c", "import matplotlib; print(matplotlib.get_backend())"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "agg"
