"""The time limit that SLURM sets to a job, and a signal in good time before it.

SLURM's own signals cannot be relied on: at the limit, where jobs are held in control groups, only
the first process of a job step gets SIGTERM, which is Snakemake and not the work that it started.
"""

import math
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MARGIN_SECONDS = 120
CHECK_SECONDS = 3600


def seconds_left() -> float:
    """Return the seconds until SLURM ends this job; infinity without SLURM or without a limit.

    Raises
    ------
    OSError, subprocess.SubprocessError
        If SLURM cannot be asked.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return math.inf
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%L"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return parse_time_left(run.stdout)


def parse_time_left(text: str) -> float:
    """Return the seconds in a length of time as SLURM writes it.

    Parameters
    ----------
    text : str
        ``MM:SS``, ``HH:MM:SS``, ``D-HH:MM:SS``, or a word, which means that there is no limit.
    """
    match = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", text.strip())
    if match is None:
        return math.inf
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@contextmanager
def warned_before_limit() -> Iterator[None]:
    """Send this process SIGUSR1 before SLURM ends its job, while the block runs.

    The signal comes two minutes before the end, in a short job in the last quarter of what is left
    now. A limit that is moved meanwhile is seen within the hour.
    """
    try:
        left = seconds_left()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"squeue: the time limit of this job is not known ({error}); no stop before it")
        left = math.inf
    done = threading.Event()
    if left < math.inf:
        print(f"SLURM ends this job in {left / 60:.0f} min; training stops in time before it")
        threading.Thread(target=_warn, args=(left, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _warn(left: float, done: threading.Event) -> None:
    margin = min(MARGIN_SECONDS, left / 4)
    while left > margin:
        end = time.monotonic() + left
        if done.wait(min(left - margin, CHECK_SECONDS)):
            return
        try:
            left = seconds_left()
        except (OSError, subprocess.SubprocessError):  # SLURM is away; what it last said holds
            left = end - time.monotonic()
    if not done.is_set():
        os.kill(os.getpid(), signal.SIGUSR1)
