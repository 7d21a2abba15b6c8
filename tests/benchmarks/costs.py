"""Seconds and memory of commands and functions, each run in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from project import ROOT, Project

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
COLUMNS = ["work", "peer", "ours_s", "peer_s", "ratio", "ours_mb", "peer_mb"]


@dataclass
class Cost:
    """Seconds of some commands, and memory in MB of their largest process."""

    seconds: float = 0.0
    megabytes: float = 0.0
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(self, folder: Path, *command: str | Path) -> None:
        """Run a command and add its cost."""
        print("  $", Path(command[0]).name, *command[1:], flush=True)
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds += time.perf_counter() - start
        self.megabytes = max(self.megabytes, usage.ru_maxrss / 1024)
        if process.returncode:
            raise RuntimeError(f"{command[0]} failed\n{output[-4000:]}")


def ours(project: Project, *targets: str) -> Cost:
    """Run targets of the workflow."""
    cost = Cost()
    cost.run(project.folder, PROGRAMS / "snakemake", "--cores", str(os.cpu_count()), *targets)
    return cost


def alone(function: str, *arguments: str | Path | int) -> Cost:
    """Run ``MODULE.FUNCTION`` of this folder in a process of its own."""
    cost = Cost()
    paths = (HERE, ROOT / "tests/helpers", ROOT / "workflow/scripts")
    cost.environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    module, name = function.split(".")
    code = f"import sys, {module}; {module}.{name}(*sys.argv[1:])"
    cost.run(HERE, sys.executable, "-c", code, *arguments)
    return cost


def medians(times: int, *works: Callable[[], Cost]) -> list[Cost]:
    """Do some works in turn, several times, and return the median cost of each."""
    rounds = [[work() for work in works] for _ in range(times)]
    return [
        Cost(median(cost.seconds for cost in costs), median(cost.megabytes for cost in costs))
        for costs in zip(*rounds, strict=True)
    ]


def row(work: str, name: str, mine: Cost, theirs: Cost | None) -> dict:
    """Return one line of the table."""
    return {
        "work": work,
        "peer": name,
        "ours_s": f"{mine.seconds:.1f}",
        "peer_s": f"{theirs.seconds:.1f}" if theirs else "",
        "ratio": f"{theirs.seconds / mine.seconds:.2f}" if theirs else "",
        "ours_mb": f"{mine.megabytes:.0f}",
        "peer_mb": f"{theirs.megabytes:.0f}" if theirs else "",
    }
