"""Snakemake's own events and graph, brought into a record (`segflow.run.record`)."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from segflow.jobs.logs import read_failure
from segflow.run.record import (
    ENDED,
    FAILED,
    FINISHED,
    FOLDER,
    STARTED,
    Job,
    write_event,
    write_start,
)

if TYPE_CHECKING:
    from snakemake.common import Rules
    from snakemake.dag import DAG
    from snakemake.path_modifier import PathModifier


class Recorder(logging.Handler):
    """Writes what Snakemake logs about its jobs into the record of a start.

    Parameters
    ----------
    path : Path
        The record.
    places : dict of int to int
        Place in the record of each job that Snakemake numbers.
    jobs : list of Job
        The jobs of the record.

    Attributes
    ----------
    failed : dict of int to Job
        Jobs that failed, and did not succeed since, by their places.
    """

    def __init__(self, path: Path, places: dict[int, int], jobs: list[Job]):
        super().__init__()
        self.path = path
        self.places = places
        self.jobs = jobs
        self.failed: dict[int, Job] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event of a job; everything else is left out."""
        match getattr(record, "event", None):
            case LogEvent.JOB_STARTED:
                self._enter(STARTED, *record.jobs)
            case LogEvent.JOB_FINISHED:
                self._enter(FINISHED, record.job_id)
            case LogEvent.JOB_ERROR:
                self._enter(FAILED, record.jobid)

    def _enter(self, event: str, *numbers: int) -> None:
        for number in numbers:
            if number in self.places:  # targets are no jobs that work
                place = self.places[number]
                write_event(self.path, event, place)
                self.failed.pop(place, None)
                if event == FAILED:
                    self.failed[place] = self.jobs[place]


def own_rules(rules: "Rules") -> dict[str, str]:
    """Return the rules of this workflow by the names under which Snakemake runs them.

    As a module of another workflow they may have other names there, and that workflow has rules of
    its own.

    Parameters
    ----------
    rules : Rules
        Snakemake's variable `rules`.

    Returns
    -------
    dict of str to str
        The names in our files by those of Snakemake, in the order in which people read them.
    """
    return {proxy.rule.name: name for name, proxy in rules._rules.items()}


def check_module(modifier: "PathModifier", results: str) -> None:
    """Refuse to be a module whose paths Snakemake changes: jobs find files by their places.

    Parameters
    ----------
    modifier : PathModifier
        Snakemake's changes of the paths of the module.
    results : str
        The folder of all results.

    Raises
    ------
    WorkflowError
        If it puts results elsewhere.
    """
    changed = modifier.replace_prefix(results, "output")
    if changed != results:
        raise WorkflowError(
            f"module: prefix or replace_prefix would bring {results} to {changed}, which jobs do "
            "not know; allowed is config: {'pathvars': {'results': FOLDER}}"
        )


def check_passed_over(dag: "DAG", names: dict[str, str]) -> None:
    """Refuse a start that would leave out jobs whose parameters changed.

    Snakemake looks at no job below one that runs, and runs none for an input that is
    ``ancient()``: what changed there would wait, unsaid, for the next start.

    Parameters
    ----------
    dag : DAG
        Snakemake's graph of jobs, complete.
    names : dict of str to str
        Our rules, as `own_rules` returns them.

    Raises
    ------
    WorkflowError
        With the rules of these jobs, and what to run first.
    """
    persistence = dag.workflow.persistence
    rules = {
        job.rule.name
        for job in dag.jobs
        if job.rule.name in names
        and job.output
        and not dag.needrun(job)
        and persistence.params_changed(job)
    }
    if rules:
        raise WorkflowError(
            f"{', '.join(sorted(rules))} must run again, and waits for cases that are converted "
            "now; run the target convert first, then this again"
        )


def record_start(config: dict, dag: "DAG", names: dict[str, str]) -> None:
    """Record what this start sets out to do, and from now on what becomes of it.

    Parameters
    ----------
    config : dict
        The merged configuration.
    dag : DAG
        Snakemake's graph of jobs, complete.
    names : dict of str to str
        Our rules, as `own_rules` returns them.
    """
    order = {name: place for place, name in enumerate(names)}
    working = [job for job in dag.jobs if job.output and job.log and job.rule.name in names]
    working.sort(key=lambda job: (order[job.rule.name], list(job.wildcards_dict.values())))
    jobs = [
        Job(
            names[job.rule.name],
            {key: str(value) for key, value in job.wildcards_dict.items()},
            str(job.output[0]),
            Path(job.log[0]),
            bool(dag.needrun(job)),
        )
        for job in working
    ]
    path = write_start(FOLDER, config, jobs)
    places = {dag.jobid(job): place for place, job in enumerate(working)}
    logger.addHandler(Recorder(path, places, jobs))


def record_end() -> None:
    """Record that this start has ended, and say at its end why jobs failed."""
    for handler in list(logger.handlers):
        if isinstance(handler, Recorder):
            write_event(handler.path, ENDED)
            logger.removeHandler(handler)
            for job in handler.failed.values():
                name = f"{job.rule} {job.about}".strip()
                text = f"\n{name} failed:\n{read_failure(job.log)}\n(details: {job.log})"
                print(text, file=sys.stderr)
