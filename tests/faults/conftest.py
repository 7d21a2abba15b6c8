import os

import pytest


@pytest.fixture(autouse=True)
def hasty_disk(monkeypatch):
    """Do not wait for the disk: no test cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
