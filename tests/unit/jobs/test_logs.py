import subprocess
import sys
from pathlib import Path

import pytest

from segflow.jobs.logs import read_failure

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


def test_an_error_ends_its_log_in_its_own_words(run, tmp_path):
    done, log = run("print('before')", "raise ValueError('cases.csv: wrong')")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert "before" in log
    assert "Traceback" in log
    assert read_failure(tmp_path / "log") == "cases.csv: wrong"


def test_an_error_of_the_code_is_named(run, tmp_path):
    run("{}['key']")
    assert read_failure(tmp_path / "log") == "KeyError: 'key'"


def test_a_job_without_last_words_has_its_last_lines(tmp_path):
    log = tmp_path / "log"
    assert read_failure(log) == "it left no log"
    log.write_text("\n")
    assert read_failure(log) == "it said nothing"
    log.write_text("\n".join(map(str, range(9))))
    assert read_failure(log) == "4\n5\n6\n7\n8"
