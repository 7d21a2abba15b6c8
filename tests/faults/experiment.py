"""A miniature experiment that can be stopped in many ways, and compared with an undisturbed one."""

import gzip
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field

import pandas as pd
import psutil
import torch

from project import Project

# Of a training's table; the rest are times.
EPOCH_COLUMNS = ["epoch", "train_loss", "val_loss", "score", "learning_rate"]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]
STARTED = re.compile(r"^(?:local)?rule (\w+):$")
OUTPUT = re.compile(r"^    output: ([^,\n]+)")
JOB = re.compile(r"^    jobid: (\d+)$")
FINISHED = re.compile(r"^Finished jobid: (\d+) ")


@dataclass
class Start:
    """One start of the workflow, with what it says so far.

    Parameters
    ----------
    project : Project
        The experiment.
    options : tuple of str
        Further options of Snakemake.
    """

    project: Project
    options: tuple[str, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.output = self.project.folder / "output.txt"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [*SNAKEMAKE, *self.options],
                cwd=self.project.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell that starts this in the background lets all ignore interrupts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self._file = self.output.open()
        self._rest = ""
        self._rule, self._first = "", ""

    @property
    def text(self) -> str:
        return self.output.read_text()

    def follow(self) -> None:
        """Read what Snakemake has said since the last call."""
        lines = (self._rest + self._file.read()).split("\n")
        self._rest = lines.pop()
        for line in lines:
            if found := STARTED.match(line):
                self._rule, self._first = found[1], ""
            elif found := OUTPUT.match(line):
                self._first = found[1]
            elif found := JOB.match(line):
                self.outputs[found[1]] = self._first or self._rule
                self.rules[found[1]] = self._rule
                self.began[found[1]] = time.monotonic()
            elif (found := FINISHED.match(line)) and found[1] in self.began:
                self.finished.append(self.outputs[found[1]])
                del self.began[found[1]]

    def wait_for(self, rules: Collection[str]) -> bool:
        """Wait until a job of one of the rules has begun; return False if none does."""
        while self.process.poll() is None:
            self.follow()
            if not {*self.rules.values()}.isdisjoint(rules):
                return True
            time.sleep(0.02)
        return False

    def jobs(self) -> list[psutil.Process]:
        """Return the processes of the jobs that run, without their shells and workers."""
        try:
            children = psutil.Process(self.process.pid).children()
            children += [job for shell in children for job in shell.children()]
            return [job for job in children if job.name().startswith("python")]
        except psutil.NoSuchProcess:
            return []

    def orphans(self) -> list[psutil.Process]:
        """Return what is left of this start's session."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != "zombie":
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def wait(self) -> bool:
        """Wait for the end; return whether it is a good one."""
        self.process.wait()
        self.follow()
        self._file.close()
        return self.process.returncode == 0


def final_state(project: Project) -> dict[str, object]:
    """Return what an experiment came to: its tables, choices, label maps and weights.

    Times of day, durations and memory are left out, and keys, which are made of checkpoints that
    hold them.
    """
    results, state = project.results, {}
    for path in sorted(results.rglob("*")):
        name = str(path.relative_to(results))
        if ".ledger" in name or "nnUNet_preprocessed" in name or path.name.endswith(".damaged"):
            continue
        if path.name == "progress.csv":
            state[name] = pd.read_csv(path)[EPOCH_COLUMNS].to_csv()
        elif path.name == "costs.csv":
            state[name] = pd.read_csv(path).drop(columns=["training_seconds", "peak_mb"]).to_csv()
        elif path.suffix == ".csv" and path.read_text().startswith("case,key"):
            state[name] = [line.split(",")[0] for line in path.read_text().splitlines()]
        elif path.suffix == ".csv" or path.name in ("postprocessing.json", "best.json"):
            state[name] = path.read_text()
        elif path.name.endswith(".nii.gz"):
            state[name] = gzip.decompress(path.read_bytes())
        elif path.name == "checkpoint_final.pth":
            weights = torch.load(path, weights_only=False, map_location="cpu")["network_weights"]
            state[name] = {key: value.numpy().tobytes() for key, value in weights.items()}
    return state


def differences(found: dict[str, object], expected: dict[str, object]) -> list[str]:
    """Return the names of what differs, is missing or is there besides."""
    names = sorted(found.keys() | expected.keys())
    return [name for name in names if found.get(name) != expected.get(name)]


def finish(project: Project, starts: int) -> str:
    """Start the workflow until it succeeds; return what the failed starts said.

    Raises
    ------
    AssertionError
        If the last start fails, too.
    """
    said = ""
    for _ in range(starts):
        start = Start(project)
        if start.wait():
            return said
        said += start.text
    raise AssertionError(said[-6000:])
