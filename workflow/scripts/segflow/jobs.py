"""The jobs that a run consists of, and how far each is, as files show it."""

import itertools
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from segflow.content import replacing
from segflow.registry import PROJECT, Run

RECORD = Path(".snakemake/segflow.yaml")  # the configuration that Snakemake was started with last
STATES = ("done", "running", "silent", "queued", "failed", "waiting")
SILENT_SECONDS = 900.0
# Clocks of hosts that share a file system differ by less.
SLACK_SECONDS = 60.0
TEMPORARY = "predict_fold"  # its table is removed when no job needs it any more
# Rules that a run does not need for each combination of its wildcards.
CONDITIONS = {
    "find_near_duplicates": lambda run, at: "near_duplicates" in run.datasets[at["dataset"]],
    "plot_preparation": lambda run, at: "mammography" in run.datasets[at["dataset"]]["reading"],
    "transfer_previous_stage": lambda run, at: "previous_model" in run.models[at["model"]],
    "discard_probabilities": lambda run, at: not run.config["keep_probabilities"],
    "rank_predictors": lambda run, at: len(run.datasets) > 1,
}


@dataclass(frozen=True)
class Rule:
    """What is written about a rule's files.

    Parameters
    ----------
    name : str
        Name of the rule.
    stage : str
        Stem of the file that it stands in.
    output, log : str
        Its first output below the results and its log below the logs, with wildcards.
    """

    name: str
    stage: str
    output: str
    log: str


@dataclass(frozen=True)
class Job:
    """One job of a run.

    Parameters
    ----------
    rule : str
        Name of its rule.
    wildcards : dict of str to str
        What it is about.
    output : str
        Its first output, as Snakemake names it.
    log, benchmark : Path
        Its log and its benchmark.
    """

    rule: str
    wildcards: dict[str, str]
    output: str
    log: Path
    benchmark: Path

    @property
    def about(self) -> str:
        """What it is about, for people."""
        named = {"fold": "fold {}"}
        return " ".join(named.get(key, "{}").format(value) for key, value in self.wildcards.items())

    @property
    def lease(self) -> Path:
        """The lease that a job of prediction holds beside its folder."""
        return Path(self.output).with_suffix(".lease")


def record_config(config: dict) -> None:
    """Write the merged configuration of a run that starts, for whoever asks how far it is."""
    with replacing(RECORD) as path:
        path.write_text(yaml.safe_dump(config, sort_keys=False))


def read_rules(project: Path = PROJECT) -> list[Rule]:
    """Return the rules that write into the results, in the order in which they are included.

    The rules' text is the one place that says what jobs write; it is read as snakefmt lays it out.
    """
    included = re.findall(r'^include: "(.+)"$', (project / "Snakefile").read_text(), re.MULTILINE)
    rules = []
    for name in included:
        text = (project / name).read_text()
        for match in re.finditer(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
            output = re.search(r'^    output:\n.*?"<results>/(.+?)"', match[2], re.M | re.S)
            log = re.search(r'^    log:\n +"<logs>/(.+)\.log"', match[2], re.M)
            rules.append(Rule(match[1], Path(name).stem, output[1], log[1]))
    return rules


def expected_jobs(run: Run, rules: list[Rule]) -> list[Job]:
    """Return the jobs of a whole run, whatever it selects.

    A run without models only converts and divides its data sets. The segmentation of new images
    is no part of it.
    """
    models = list(run.models)
    values = {
        "dataset": list(run.datasets),
        "model": models,
        "predictor": list(run.predictors),
        "fold": [str(fold) for fold in run.folds],
        "part": ["train", "test"],
        "split": ["val", "test"],
        "plans": sorted({run.plans(model) for model in models}),
        "preprocessing": sorted({run.preprocessing(model) for model in models}),
    }
    paths = run.config["pathvars"]
    return [
        Job(
            rule.name,
            at,
            f"{paths['results']}/{rule.output.format(**at)}",
            Path(paths["logs"], f"{rule.log.format(**at)}.log"),
            Path(paths["benchmarks"], f"{rule.log.format(**at)}.tsv"),
        )
        for rule in rules
        if models or rule.stage == "prepare"
        for at in _combinations(rule.output, values)
        if CONDITIONS.get(rule.name, lambda run, at: True)(run, at)
    ]


def _combinations(pattern: str, values: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    """Yield each combination of the wildcards of a pattern."""
    names = re.findall(r"\{(\w+)\}", pattern)
    for chosen in itertools.product(*(values[name] for name in names)):
        yield dict(zip(names, chosen, strict=True))


class Snapshot:
    """What Snakemake's own files say at one moment.

    Parameters
    ----------
    folder : Path
        Snakemake's folder ``.snakemake``; it need not exist.

    Attributes
    ----------
    now : float
        When it was taken, in seconds since 1970.
    marked : dict of str to float
        Outputs of jobs that were started or queued and have not ended, and since when. A marker
        outlives a Snakemake that was killed.
    planned : dict of str to float
        Outputs of the jobs that a Snakemake has set out to make, and since when.
    """

    def __init__(self, folder: Path):
        self.now = time.time()
        self.marked: dict[str, float] = {}
        incomplete = folder / "incomplete"
        for path in incomplete.rglob("*"):
            if not path.name.startswith("@") and (since := modified(path)) is not None:
                # Long names are cut into parts, the first of which are folders.
                parts = [part.removeprefix("@") for part in path.relative_to(incomplete).parts]
                name = _decoded("".join(parts))
                if name is not None:
                    self.marked[name] = since
        self.planned: dict[str, float] = {}
        for path in folder.glob("locks/*.output.lock"):
            if (since := modified(path)) is not None:
                self.planned |= dict.fromkeys(path.read_text().splitlines(), since)

    def state(self, job: Job, signs: list[Path]) -> str:
        """Return the state of a job, one of ``STATES``.

        ``silent`` is a job that was started and has given no sign of life for a quarter of an
        hour: killed, or slow. ``failed`` is one that ended without a result, interrupted ones
        included.

        Parameters
        ----------
        job : Job
            The job.
        signs : list of Path
            Files besides its log that it changes while it works.
        """
        logged = modified(job.log)
        if job.output in self.marked:
            if logged is None or logged < self.marked[job.output] - SLACK_SECONDS:
                return "queued"
            return "running" if self.silence(job, signs) < SILENT_SECONDS else "silent"
        since = self.planned.get(job.output, 0.0)
        made = modified(Path(job.output))
        if made is None and job.rule == TEMPORARY and logged is not None:
            measured = modified(job.benchmark)  # written when a job has ended well
            made = measured if measured is not None and measured >= logged - 1 else None
        if made is not None and made >= since:
            return "done"
        return "failed" if logged is not None and logged >= since and made is None else "waiting"

    def silence(self, job: Job, signs: list[Path]) -> float:
        """Return the seconds since a job, which has begun its log, gave a sign of life."""
        times = (modified(path) for path in (job.log, *signs))
        return self.now - max(found for found in times if found is not None)


def modified(path: Path) -> float | None:
    """Return when a file was modified, in seconds since 1970, or None if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _decoded(name: str) -> str | None:
    """Return the output that a marker stands for; None for a file that is no marker."""
    try:
        return urlsafe_b64decode(name).decode()
    except ValueError:
        return None
