"""Stops of a running experiment: at every stage, and at random moments."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from faults.experiment import Start, differences, final_state, finish
from project import Project

# Jobs go on to their end, be it that Snakemake waits for them or that it was killed.
JOB_SECONDS = 600.0
IDLE_SECONDS = 60.0  # of a Snakemake that was told to end and has no job
# As they come to pass, the rules of a miniature experiment.
STAGES = [
    "convert_dataset",
    "gather_cases",
    "describe_dataset",
    "make_splits",
    "extract_fingerprint",
    "plan_experiment",
    "make_model_plans",
    "preprocess_cases",
    "train_fold",
    "predict_fold",
    "ensemble_predictions",
    "search_postprocessing",
    "apply_postprocessing",
    "evaluate_predictor",
    "summarise_metrics",
    "compare_predictors",
    "select_predictor",
    "plot_cases",
    "plot_metrics",
    "prepare_viewer",
    "write_provenance",
    "make_report",
]
# The long ones are stopped more often than three times, and after more than two seconds.
WEIGHTS = {"train_fold": 4, "predict_fold": 3, "preprocess_cases": 2}
SECONDS = {"train_fold": 14.0, "predict_fold": 10.0, "preprocess_cases": 5.0}


def kill_job(start: Start) -> None:
    """As the system does when memory runs out."""
    _signal_job(start, signal.SIGKILL)


def end_job(start: Start) -> None:
    """As a cluster does at a time limit."""
    _signal_job(start, signal.SIGTERM)


def _signal_job(start: Start, number: signal.Signals) -> None:
    """Send a signal to a job, and interrupt the rest, which would go on, when Snakemake knows."""
    while start.process.poll() is None:
        for job in start.jobs()[:1]:
            with suppress(psutil.NoSuchProcess):
                job.send_signal(number)
        time.sleep(0.3)
        if "Error in rule" in start.text:
            interrupt(start)
            return


def end_snakemake(start: Start) -> None:
    """As a system does that shuts down."""
    start.process.terminate()


def interrupt(start: Start) -> None:
    """As Ctrl-C does."""
    with suppress(ProcessLookupError):
        os.killpg(start.process.pid, signal.SIGINT)


def kill_group(start: Start) -> None:
    """As a power cut does."""
    os.killpg(start.process.pid, signal.SIGKILL)


def kill_snakemake(start: Start) -> None:
    """Leave the jobs running behind."""
    start.process.kill()


KINDS: dict[str, Callable[[Start], None]] = {
    "SIGKILL of a job": kill_job,
    "SIGKILL of the process group": kill_group,
    "SIGTERM of a job": end_job,
    "SIGTERM of Snakemake": end_snakemake,
    "SIGINT of the process group": interrupt,
    "SIGKILL of Snakemake": kill_snakemake,
}


@dataclass
class Kill:
    """A stop that was injected, and what it cost.

    Parameters
    ----------
    fault, stage : str
        What was done, and the rule whose job ran then.
    lost_jobs : int
        Finished jobs that ran again.
    lost_seconds : float
        Time that the unfinished jobs had run.
    survived : bool
        Whether the experiment ended as an undisturbed one.
    """

    fault: str
    stage: str
    lost_jobs: int = 0
    lost_seconds: float = 0.0
    survived: bool = False


def stop_at_every_stage(project: Project, seed: int) -> Iterator[Kill]:
    """Stop an experiment in turn while each rule's jobs run, in each of the ways in turn."""
    chance, done, kinds = random.Random(seed), set(), list(KINDS)
    turn = 0
    for stage in STAGES:
        for _ in range(3 * WEIGHTS.get(stage, 1)):
            kind = kinds[turn % len(kinds)]
            delay = chance.uniform(0, SECONDS.get(stage, 2.0))
            kill = stop(project, kind, stage, delay, done)
            if kill is None:
                return  # it came to its end
            turn += 1
            yield kill


def stop_at_random(project: Project, seed: int, count: int, longest: float) -> Iterator[Kill]:
    """Stop an experiment at random moments, in random ways."""
    chance, done = random.Random(seed), set()
    for _ in range(count):
        kind = chance.choice(list(KINDS))
        kill = stop(project, kind, None, chance.uniform(0, longest), done)
        if kill is None:
            return
        yield kill


def judge(project: Project, kills: list[Kill], expected: dict[str, object]) -> list[str]:
    """Finish an experiment and say what differs from the undisturbed one; the kills learn it."""
    finish(project, 2)
    found = differences(final_state(project), expected)
    for kill in kills:
        kill.survived = not found
    return found


def _wait_for_end(start: Start, since: float) -> str:
    """Wait until a stopped Snakemake ends; return what is to be said of how it did.

    One that SIGTERM met as it noted the end of a job waits for itself for ever, without a job: it
    is killed, as `docs/reliability.md` says that people should.
    """
    idle = since
    while start.process.poll() is None:
        if start.jobs():
            idle = time.monotonic()
        assert time.monotonic() < since + JOB_SECONDS, "Snakemake does not end"
        if time.monotonic() > idle + IDLE_SECONDS:
            start.process.kill()
            return ", and SIGKILL, for it waited for itself"
        time.sleep(0.05)
    return ""


def stop(
    project: Project, kind: str, stage: str | None, delay: float, done: set[str]
) -> Kill | None:
    """Start the workflow, stop it, and return what was done; None if it came to its end.

    Parameters
    ----------
    project : Project
        The experiment.
    kind : str
        One of `KINDS`.
    stage : str or None
        The rule whose job, or that of a later stage, must have begun; any, if None.
    delay : float
        Seconds from there to the stop.
    done : set of str
        First outputs of the jobs that have finished so far; those of this start are added.
    """
    start = Start(project)
    # A stage that is over is known by a later one, which is stopped instead.
    if stage is not None and not start.wait_for(STAGES[STAGES.index(stage) :]):
        assert start.wait(), start.text[-6000:]
        return None
    end = time.monotonic() + delay
    while time.monotonic() < end and start.process.poll() is None:
        start.follow()
        time.sleep(0.02)
    start.follow()
    if start.process.poll() is not None:
        assert start.wait(), start.text[-6000:]
        return None
    now = time.monotonic()
    rules = [start.rules[job] for job in start.began]
    kill = Kill(kind, stage if stage in rules else "+".join(sorted({*rules})) or "start")
    kill.lost_seconds = sum(now - began for began in start.began.values())
    KINDS[kind](start)
    kill.fault += _wait_for_end(start, now)
    # What still runs belongs to the dead: a plain rerun waits for nobody.
    while start.orphans():
        assert time.monotonic() < now + JOB_SECONDS, f"{kind}: jobs do not end"
        time.sleep(0.05)
    start.wait()
    kill.lost_jobs = len(done & set(start.finished))
    done |= set(start.finished)
    return kill
