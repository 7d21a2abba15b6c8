"""The demonstration: one line of progress while it runs, and its numbers when it is done."""

import csv
import json
from pathlib import Path

from rich.table import Table

from segflow.evaluation.metrics import METRICS
from segflow.run.configuration import Run
from segflow.run.record import Job, Start
from segflow.run.status import describe_duration, measure_progress, training_folder

# What jobs take, in parts of what most of them take: only for the share that is done.
WEIGHTS = {"train_fold": 12.0, "predict_fold": 3.0, "preprocess_cases": 2.0}
LEAST_SHARE = 0.05  # done before a time is told: earlier it would be a guess
DOING = {"plan": "planning", "plot": "drawing", "split": "splitting"}


def describe_progress(run: Run, start: Start, seconds: float) -> tuple[float, str]:
    """Return how much of a start is done, from 0 to 1, and what to say of it in one line.

    Parameters
    ----------
    run : Run
        What the configuration asks for.
    start : Start
        The record of the start.
    seconds : float
        Time since it began.
    """
    total = done = 0.0
    n_jobs = n_done = 0
    doing = ""
    for number, job in enumerate(start.jobs):
        if not job.needed:
            continue
        weight = WEIGHTS.get(job.rule, 1.0)
        total += weight
        n_jobs += 1
        # Without other signs: nothing of a demonstration is silent for a quarter of an hour.
        state = start.state(number, [])
        if state == "done":
            done += weight
            n_done += 1
        elif state in ("running", "queued"):
            share, said = _working(run, job)
            done += weight * share
            if not doing or job.rule == "train_fold":
                doing = said
    share = done / total if total else 1.0
    parts = [f"{share:4.0%}", f"{n_done} of {n_jobs} jobs"]
    if LEAST_SHARE <= share < 1:
        parts.append(f"about {describe_duration(seconds * (1 - share) / share)} left")
    parts += [doing] if doing else []
    return share, ", ".join(parts)


def _working(run: Run, job: Job) -> tuple[float, str]:
    """Return how much of a job is done and what it does."""
    verb, _, what = job.rule.partition("_")
    doing = DOING.get(verb, verb.removesuffix("e") + "ing")
    said = f"{doing} {what.replace('_', ' ')}, {job.about}".rstrip(", ")
    if job.rule != "train_fold":
        return 0.0, said
    n_epochs = run.models[job.wildcards["model"]]["training"]["epochs"]
    progress = measure_progress(training_folder(run, job) / "progress.csv", n_epochs)
    if progress is None:
        return 0.0, said
    return progress.n_done / n_epochs, f"{said}, epoch {progress.n_done} of {n_epochs}"


def result_table(run: Run, dataset: str, results: Path) -> Table:
    """Return the results of a data set after post-processing as a small table, best first.

    The metric is the one by which the best predictor is chosen.
    """
    metric = json.loads((results / dataset / "best.json").read_text())["metric"]
    figure = "median" if METRICS[metric].infinite else "mean"
    rows: dict[str, dict[str, dict[str, str]]] = {}
    with (results / dataset / "summary.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            chosen = [row[key] for key in ("stage", "fold", "label", "metric", "published")]
            if chosen == ["postprocessed", "all", "all", metric, ""]:
                rows.setdefault(row["predictor"], {})[row["split"]] = row
    name = METRICS[metric].title
    table = Table("predictor", box=None, pad_edge=False, title=run.datasets[dataset]["title"])
    for column in (f"{name}, cross-validation", "95 % interval", f"{name}, test cases"):
        table.add_column(column, justify="right")
    sign = 1 if METRICS[metric].better == "lower" else -1

    def place(item: tuple[str, dict]) -> float:
        return sign * float(item[1].get("val", {}).get(figure) or "nan")

    for predictor, found in sorted(rows.items(), key=place):
        val, test = found.get("val", {}), found.get("test", {})
        ends = [_number(val.get(end)) for end in ("ci_low", "ci_high")]
        interval = " to ".join(ends) if figure == "mean" and "-" not in ends else "-"
        cells = _number(val.get(figure)), interval, _number(test.get(figure))
        table.add_row(run.title(predictor), *cells)
    return table


def _number(text: str | None) -> str:
    return f"{float(text):.3f}" if text else "-"
