"""Tools that check what is published; `make publishing` installs them, in versions of their own."""

import os
import subprocess
import sys

import pytest

from project import ROOT

TOOLS = ROOT / ".venv/publishing"
needs_tools = pytest.mark.skipif(not TOOLS.exists(), reason=f"no tools in {TOOLS}")


def run_tool(name: str, *options, **settings) -> str:
    """Run a tool and return what it says; it has to succeed."""
    environment = os.environ | {"PYTHONPATH": str(TOOLS), "PYTHONWARNINGS": "ignore"}
    environment |= settings.pop("environment", {})
    run = subprocess.run(
        [sys.executable, TOOLS / "bin" / name, *map(str, options)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **settings,
    )
    assert run.returncode == 0, run.stdout[-6000:]
    return run.stdout
