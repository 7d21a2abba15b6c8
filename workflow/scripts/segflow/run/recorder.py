"""Snakemake's own events and graph, brought into a record (`segflow.run.record`)."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

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
    from snakemake.dag import DAG


class Recorder(logging.Handler):
    """Writes what Snakemake logs about its jobs into the record of a start.

    Parameters
    ----------
    path : Path
        The record.
    places : dict of int to int
        Place in the record of each job that Snakemake numbers.
    """

    def __init__(self, path: Path, places: dict[int, int]):
        super().__init__()
        self.path = path
        self.places = places

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
                write_event(self.path, event, self.places[number])


def record_start(config: dict, dag: "DAG", rules: list[str]) -> None:
    """Record what this start sets out to do, and from now on what becomes of it.

    Parameters
    ----------
    config : dict
        The merged configuration.
    dag : DAG
        Snakemake's graph of jobs, complete.
    rules : list of str
        Names of all rules, in the order in which people read them.
    """
    order = {name: place for place, name in enumerate(rules)}
    working = [job for job in dag.jobs if job.output and job.log]
    working.sort(key=lambda job: (order[job.rule.name], list(job.wildcards_dict.values())))
    jobs = [
        Job(
            job.rule.name,
            {key: str(value) for key, value in job.wildcards_dict.items()},
            str(job.output[0]),
            Path(job.log[0]),
            bool(dag.needrun(job)),
        )
        for job in working
    ]
    path = write_start(FOLDER, config, jobs)
    logger.addHandler(Recorder(path, {dag.jobid(job): place for place, job in enumerate(working)}))


def record_end() -> None:
    """Record that this start has ended, well or not."""
    for handler in list(logger.handlers):
        if isinstance(handler, Recorder):
            write_event(handler.path, ENDED)
            logger.removeHandler(handler)
