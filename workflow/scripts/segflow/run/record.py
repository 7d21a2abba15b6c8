"""What each start of Snakemake set out to do, and what became of it: written by it, read by others.

A record is one file for each start: a first line with the configuration and all jobs of
Snakemake's graph, then a line for each event. Jobs that an earlier start of the same run knew are
remembered until a later one knows them, too.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from segflow.jobs.folder_leases import Owner, this_process
from segflow.run.configuration import lasting

FOLDER = Path(".snakemake/segflow")
STATES = ("done", "running", "silent", "queued", "failed", "waiting")
STARTED, FINISHED, FAILED, ENDED = "started", "finished", "failed", "ended"
SILENT_SECONDS = 900.0
# Clocks of hosts that share a file system differ by less.
SLACK_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """One job of a start.

    Parameters
    ----------
    rule : str
        Name of its rule.
    wildcards : dict of str to str
        What it is about.
    output : str
        Its first output, as Snakemake names it.
    log : Path
        Its log.
    needed : bool
        Whether Snakemake has to run it; if not, its result is there or of no use any more.
    """

    rule: str
    wildcards: dict[str, str]
    output: str
    log: Path
    needed: bool

    @property
    def about(self) -> str:
        """What it is about, for people."""
        named = {"fold": "fold {}"}
        return " ".join(named.get(key, "{}").format(value) for key, value in self.wildcards.items())

    @property
    def lease(self) -> Path:
        """The lease that a job of prediction holds beside its folder."""
        return Path(self.output).with_suffix(".lease")


@dataclass(frozen=True)
class Start:
    """What is recorded of one start.

    Parameters
    ----------
    config : dict
        The merged configuration.
    since : float
        When it started, in seconds since 1970.
    owner : Owner
        The process of Snakemake.
    jobs : list of Job
        All jobs of its graph.
    events : dict of int to (str, float)
        The last event of each job, by its place in the list, and when it happened.
    ended : bool
        Whether Snakemake said that it ended; one that was killed did not.
    """

    config: dict
    since: float
    owner: Owner
    jobs: list[Job]
    events: dict[int, tuple[str, float]] = field(default_factory=dict)
    ended: bool = False

    def state(self, number: int, signs: Iterable[Path]) -> str:
        """Return the state of a job, one of ``STATES``.

        ``silent`` is a job that was started and has given no sign of life for a quarter of an
        hour: killed, or slow. ``failed`` is one that ended without a result, interrupted ones
        included.

        Parameters
        ----------
        number : int
            Its place in the list.
        signs : iterable of Path
            Files besides its log that it changes while it works.
        """
        job = self.jobs[number]
        if not job.needed:
            return "done"
        event, when = self.events.get(number, ("", 0.0))
        if event != STARTED:
            return {FINISHED: "done", FAILED: "failed"}.get(event, "waiting")
        if (made := modified(Path(job.output))) is not None and made >= when:
            return "done"  # though nobody was there to say so
        if self.ended:
            return "failed"
        logged = modified(job.log)
        if logged is None or logged < when - SLACK_SECONDS:
            return "queued"
        return "running" if silence(job, signs) < SILENT_SECONDS else "silent"


def silence(job: Job, signs: Iterable[Path]) -> float:
    """Return the seconds since a job, which has begun its log, gave a sign of life."""
    times = (modified(path) for path in (job.log, *signs))
    return time.time() - max(found for found in times if found is not None)


def modified(path: Path) -> float | None:
    """Return when a file was modified, in seconds since 1970, or None if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def write_start(folder: Path, config: dict, jobs: list[Job]) -> Path:
    """Begin the record of a start; records of which nothing will be asked any more are removed.

    These are records of other runs, and those all of whose jobs this one knows, too.

    Returns
    -------
    Path
        The record, for `write_event`.
    """
    owner = this_process()
    folder.mkdir(parents=True, exist_ok=True)
    known = {job.output for job in jobs}
    for path in folder.glob("*.jsonl"):
        start = _read(path)
        if start is None or (
            _is_gone(start, owner)
            and (not _same_run(start.config, config) or known >= {job.output for job in start.jobs})
        ):
            path.unlink(missing_ok=True)
    first = {
        "config": config,
        "since": time.time(),
        "owner": asdict(owner),
        "jobs": [[j.rule, j.wildcards, j.output, str(j.log), j.needed] for j in jobs],
    }
    path = folder / f"{owner.token}.jsonl"
    path.write_text(json.dumps(first) + "\n")
    return path


def write_event(path: Path, event: str, number: int = -1) -> None:
    """Add an event to a record: of a job, by its place in the list, or of the start itself."""
    with path.open("a") as file:
        file.write(json.dumps([event, number, time.time()]) + "\n")


def read_starts(folder: Path) -> list[Start]:
    """Return the recorded starts of the run that was started last, the last one first."""
    starts = [found for path in folder.glob("*.jsonl") if (found := _read(path)) is not None]
    starts.sort(key=lambda start: start.since, reverse=True)
    return [start for start in starts if _same_run(start.config, starts[0].config)]


def _read(path: Path) -> Start | None:
    """Read a record; None if it is gone, or torn in its first line."""
    try:
        first, *lines = path.read_text().splitlines()
        found = json.loads(first)
        jobs = [Job(rule, at, made, Path(log), on) for rule, at, made, log, on in found["jobs"]]
        start = Start(found["config"], found["since"], Owner(**found["owner"]), jobs)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    ended = False
    for line in lines:
        try:
            event, number, when = json.loads(line)
        except ValueError:  # being written
            continue
        if event == ENDED:
            ended = True
        else:
            start.events[number] = event, when
    return Start(start.config, start.since, start.owner, jobs, start.events, ended)


def _same_run(one: dict, other: dict) -> bool:
    return lasting(one) == lasting(other)


def _is_gone(start: Start, mine: Owner) -> bool:
    return start.ended or (start.owner.place == mine.place and not start.owner.is_alive())
