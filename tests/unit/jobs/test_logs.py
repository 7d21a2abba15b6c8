import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "workflow" / "scripts"
HEAD = """
import logging, sys, warnings
from segflow.jobs.logs import logged
with logged("log"):"""


@pytest.fixture
def run(tmp_path):
    """Run lines within `logged`, in a process of their own, for it changes logging for good."""

    def run(*lines):
        code = "\n    ".join([HEAD, *lines])
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(SCRIPTS)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, (tmp_path / "log").read_text()

    return run


def test_everything_goes_to_the_log(run):
    done, log = run(
        "print('printed')",
        "print('to stderr', file=sys.stderr)",
        "logging.info('logged')",
        "warnings.warn('warned')",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for text in ("printed", "to stderr", "logged", "warned"):
        assert text in log


def test_an_error_is_shown_in_one_line_and_logged_with_its_traceback(run):
    done, log = run("print('before')", "raise ValueError('cases.csv: wrong')")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["ValueError: cases.csv: wrong", "(details: log)"]
    assert "Traceback" in log
    assert "before" in log
    assert log.endswith("ValueError: cases.csv: wrong\n")
