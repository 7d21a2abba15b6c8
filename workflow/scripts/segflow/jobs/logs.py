"""What every job does around its own work, and what its log says when it failed."""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from segflow.files.damage import noting_damage

MARK = "\nWhat went wrong:\n"
EXPECTED = (ValueError, RuntimeError, OSError, MemoryError)  # their words suffice
LAST_LINES = 5  # of a job that was ended without a word


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send what the block prints, logs or raises to the file at `path`; see `explained`."""
    with open(path, "w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        logging.basicConfig(
            stream=file, level=logging.INFO, format="%(asctime)s %(message)s", force=True
        )
        logging.captureWarnings(True)
        with explained():
            yield


@contextmanager
def explained() -> Iterator[None]:
    """End the process by an error that the block raises, with its words last on standard output.

    There `read_failure` finds them. What is found damaged is noted; see `segflow.files.damage`.
    """
    try:
        with noting_damage():
            yield
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        name = "" if isinstance(error, EXPECTED) else f"{type(error).__name__}: "
        print(f"{MARK}{name}{error}", flush=True)
        sys.exit(1)


def warn(text: str) -> None:
    """Write a warning into the log, and show it where the workflow was started."""
    logging.warning(text)
    print(f"warning: {text}", file=sys.__stderr__)


def read_failure(log: Path) -> str:
    """Return why a job failed, by its log: in its own words, or else its last lines."""
    try:
        text = log.read_text(errors="replace").strip()
    except OSError:
        return "it left no log"
    _, mark, words = text.rpartition(MARK)
    return words if mark else "\n".join(text.splitlines()[-LAST_LINES:]) or "it said nothing"
