"""What every script does around its own work."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from segflow.files.content import setting_damage_aside


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send what the block prints, logs or raises to the file at `path`.

    The error itself, without its traceback, is also shown where the workflow was started:
    a person should not have to open a log to read one line. What is found damaged is set aside.
    """
    with open(path, "w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        logging.basicConfig(
            stream=file, level=logging.INFO, format="%(asctime)s %(message)s", force=True
        )
        logging.captureWarnings(True)
        try:
            with setting_damage_aside():
                yield
        except Exception as error:
            logging.exception("job failed")
            print(f"{type(error).__name__}: {error}\n(details: {path})", file=sys.__stderr__)
            sys.exit(1)


def warn(text: str) -> None:
    """Write a warning into the log, and show it where the workflow was started."""
    logging.warning(text)
    print(f"warning: {text}", file=sys.__stderr__)
