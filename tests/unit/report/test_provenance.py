import getpass
import json
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

from segflow.report.provenance import (
    describe_machine,
    git_commit,
    installed_versions,
    project_version,
)


def test_versions_are_those_of_the_running_python():
    versions = installed_versions()
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == np.__version__
    assert list(versions)[1:] == sorted(list(versions)[1:])


def test_the_version_is_that_of_the_citation(tmp_path):
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 3.10.2\n")
    assert project_version(tmp_path) == "3.10.2"


def test_the_machine_is_described_without_names():
    description = describe_machine()
    assert description.keys() == {"system", "cores", "memory_gb", "gpus"}
    text = json.dumps(description)
    for name in (platform.node(), getpass.getuser(), str(Path.home())):
        assert name not in text


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_a_changed_project_is_marked(repository):
    folder, commit = repository
    assert git_commit(folder) == commit
    (folder / "file").write_text("2")
    assert git_commit(folder) == f"{commit}+"


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) == ""
