"""What a step costs: seconds, and memory of its process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

ROOT = Path(__file__).parents[2]


@dataclass
class Cost:
    """Wall and processor seconds, memory in MB of the largest process, and what was printed.

    Processor seconds hardly depend on what else the machine does.
    """

    seconds: float
    cpu_s: float
    memory_mb: float
    text: str


def run(folder: Path, *command: str | Path) -> Cost:
    """Run a command in a folder."""
    print("  $", *command, flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed\n{text[-4000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def run_step(script: str, *arguments: str | Path | int) -> Cost:
    """Run a script of this folder, which says itself what its work took, imports left out."""
    cost = run(ROOT, sys.executable, ROOT / "tests/scale" / script, *map(str, arguments))
    cost.seconds, cost.cpu_s = json.loads(cost.text.splitlines()[-1])
    return cost


@contextmanager
def timed() -> Iterator[None]:
    """Print the wall and processor seconds that a block takes, workers included."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    yield
    print(json.dumps([time.perf_counter() - wall, _cpu_seconds() - cpu]))


def _cpu_seconds() -> float:
    usages = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
