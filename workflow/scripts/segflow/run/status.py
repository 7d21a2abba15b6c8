"""How far a run is, shown from its files while it works: nothing is locked, nothing written.

It works in any shell and on any host that sees the folder in which Snakemake runs.
"""

import os
import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from segflow.files.words import counted
from segflow.models.progress import read_progress
from segflow.run.configuration import Run
from segflow.run.record import STATES, Job, Start, silence

RECENT_EPOCHS = 10  # the time that is left is taken from these
FEW_TRAININGS = 30  # up to here the finished ones are listed, too
TAIL_BYTES = 4096


@dataclass(frozen=True)
class Progress:
    """How far the training of a fold is.

    Parameters
    ----------
    n_done, n_epochs : int
        Epochs that have ended, and all of them. Training may stop before, if its model has
        patience.
    score : float
        Moving average of the score, such as the pseudo Dice from 0 to 1.
    seconds : float
        Mean time of the last epochs.
    """

    n_done: int
    n_epochs: int
    score: float
    seconds: float

    @property
    def seconds_left(self) -> float:
        """Time until the last epoch ends."""
        return max(0, self.n_epochs - self.n_done) * self.seconds


def training_folder(run: Run, job: Job) -> Path:
    """Return nnU-Net's folder of the fold that a job trains (see `segflow.models.training`)."""
    model, results = job.wildcards["model"], run.config["pathvars"]["results"]
    trained = f"SegflowTrainer__{model}__{run.models[model]['configuration']}"
    name = run.nnunet_name(job.wildcards["dataset"])
    return Path(results, "nnUNet_results", name, trained, f"fold_{job.wildcards['fold']}")


def signs_of_life(run: Run, job: Job) -> list[Path]:
    """Return the files besides its log that a job changes while it works."""
    if job.rule != "train_fold":
        return [job.lease]
    folder = training_folder(run, job)
    return [folder.with_name(f"{folder.name}.lease"), folder / "progress.csv"]


def measure_progress(path: Path, n_epochs: int) -> Progress | None:
    """Read how far a training is from its ``progress.csv``; None before its first epoch ends."""
    rows = read_progress(path)
    if not rows:
        return None
    recent = [float(row["seconds"]) for row in rows[-RECENT_EPOCHS:]]
    score = float(rows[-1]["score_average"])
    return Progress(len(rows), n_epochs, score, sum(recent) / len(recent))


def last_words(log: Path) -> str:
    """Return the last line of a log, which may be a progress bar; empty without a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in re.split(r"[\r\n]", text)]
    return next((line for line in reversed(lines) if line), "")


def leased_gpus(log: Path) -> str:
    """Return the GPUs that a job leased, as it wrote at the beginning of its log; empty if none."""
    try:
        with log.open(errors="replace") as file:
            found = re.search(r"^GPU: (.+)$", file.read(TAIL_BYTES), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def disk_usage(folder: Path) -> tuple[int, int]:
    """Return the bytes and the number of the files below a folder; a hard link counts once."""
    size, linked = 0, set()
    n_files = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                state = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:  # jobs go on meanwhile
                continue
            if state.st_nlink > 1:
                if state.st_ino in linked:
                    continue
                linked.add(state.st_ino)
            size += state.st_blocks * 512
            n_files += 1
    return size, n_files


def describe_duration(seconds: float) -> str:
    """Return a length of time as people write it."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def known_states(run: Run, starts: list[Start]) -> dict[str, tuple[Job, str]]:
    """Return each job and its state, by its output, as the last start that knows it left it."""
    found: dict[str, tuple[Job, str]] = {}
    for start in starts:
        for number, job in enumerate(start.jobs):
            if job.output not in found:
                found[job.output] = job, start.state(number, signs_of_life(run, job))
    return found


def show(run: Run, starts: list[Start], console: Console) -> None:
    """Print how far a run is."""
    results = Path(run.config["pathvars"]["results"])
    states = list(known_states(run, starts).values())
    jobs = [job for job, _ in states]
    silences = {
        job.output: describe_duration(silence(job, signs_of_life(run, job)))
        for job, state in states
        if state == "silent"
    }
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(starts[0].since))
    console.print(
        f"as started on {since}: {counted(len(run.datasets), 'data set')}, "
        f"{counted(len(run.models), 'model')}, "
        f"{counted(len(run.folds), 'fold')}\nresults in {results}\n",
        soft_wrap=True,
    )
    n_trainings = sum(job.rule == "train_fold" for job in jobs)
    unfinished = {"train_fold"} if n_trainings > FEW_TRAININGS else set()
    trainings = [
        (job, state)
        for job, state in states
        if job.rule == "train_fold"
        and state != "waiting"
        and not (state == "done" and job.rule in unfinished)
    ]
    tables = (
        _count_table(states),
        _training_table(run, trainings),
        _work_table(states),
        _silence_table(states, silences),
        _failure_table(states),
    )
    for table in tables:
        if table.row_count:
            console.print(table, "")
    if results.exists():
        size, n_files = disk_usage(results)
        free = shutil.disk_usage(results).free
        console.print(
            f"{results}: {size / 1e9:.1f} GB in {n_files} files; {free / 1e9:.1f} GB are free"
        )


def _table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """Return an empty table, some of whose columns hold numbers."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        right = column in numbers
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _count_table(states: list[tuple[Job, str]]) -> Table:
    """Return the number of jobs of each rule by state."""
    counts: dict[str, Counter] = {}
    for job, state in states:
        counts.setdefault(job.rule, Counter())[state] += 1
    total = sum(counts.values(), Counter())
    shown = [state for state in STATES if total[state] or state in ("done", "waiting")]
    table = _table("jobs", *shown, "all", numbers=(*shown, "all"))
    for rule, found in [*counts.items(), ("all", total)]:
        table.add_row(rule, *(str(found[state] or "") for state in shown), str(found.total()))
    return table


def _training_table(run: Run, trainings: list[tuple[Job, str]]) -> Table:
    """Return how far each training is."""
    numbers = ("epoch", "score", "s per epoch", "left")
    table = _table("training", "state", *numbers, "GPU", numbers=numbers)
    for job, state in trainings:
        n_epochs = run.models[job.wildcards["model"]]["training"]["epochs"]
        progress = measure_progress(training_folder(run, job) / "progress.csv", n_epochs)
        cells = ["", "", "", ""]
        if progress:
            left = describe_duration(progress.seconds_left) if state == "running" else ""
            epoch = f"{progress.n_done}/{progress.n_epochs}"
            cells = [epoch, f"{progress.score:.3f}", f"{progress.seconds:.1f}", left]
        table.add_row(job.about, state, *cells, leased_gpus(job.log) if state == "running" else "")
    return table


def _work_table(states: list[tuple[Job, str]]) -> Table:
    """Return what jobs other than trainings do."""
    table = _table("running", "on", "GPU", "last line of its log")
    for job, state in states:
        if state == "running" and job.rule != "train_fold":
            table.add_row(job.rule, job.about, leased_gpus(job.log), last_words(job.log))
    return table


def _silence_table(states: list[tuple[Job, str]], silences: dict[str, str]) -> Table:
    """Return the jobs that give no sign of life."""
    table = _table("silent: killed, or slow", "on", "for", "last line of its log")
    for job, state in states:
        if state == "silent":
            table.add_row(job.rule, job.about, silences[job.output], last_words(job.log))
    return table


def _failure_table(states: list[tuple[Job, str]]) -> Table:
    """Return the jobs that ended without a result."""
    table = _table("failed or interrupted", "on", "log", "its last line")
    for job, state in states:
        if state == "failed":
            table.add_row(job.rule, job.about, str(job.log), last_words(job.log))
    return table
