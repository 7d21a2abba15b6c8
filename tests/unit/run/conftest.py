"""Descriptions that tests may change."""

import pytest

from segflow.run import descriptions
from segflow.run.schemas import PROJECT


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Let descriptions come from a project that holds the shipped ones and may be changed."""
    monkeypatch.setattr(descriptions, "PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)
    for kind in ("datasets", "models"):
        (tmp_path / "config" / kind).mkdir(parents=True)
        for path in (PROJECT / "config" / kind).glob("*.yaml"):
            (tmp_path / "config" / kind / path.name).write_text(path.read_text())
    return tmp_path / "config"
