"""The conversion of one data set, run as the workflow's script runs it."""

import copy
import functools
from pathlib import Path

from convert_dataset import main as convert_dataset
from segflow.datasets.sources import Problem
from segflow.files.cases import Case, read_cases, read_rows
from segflow.run.descriptions import load_descriptions

RULE = {"held_out": 0.0, "published": False, "random_split": None, "seed": 0}
PROBLEM_COLUMNS = list(Problem.__dataclass_fields__)


def describe(name: str, **changes) -> dict:
    """Return the description of a shipped data set, with other values of some keys."""
    return copy.deepcopy(_descriptions()[name]) | changes


@functools.cache
def _descriptions() -> dict[str, dict]:
    return load_descriptions("dataset")


def convert(
    raw: Path,
    dataset: dict,
    folder: Path,
    part: str = "train",
    pairs: Path | None = None,
    rule: dict = RULE,
) -> tuple[list[Case], list[Problem]]:
    """Convert one part of a data set into ``folder/converted``, and return its two tables.

    The tables are ``folder/<part>.csv`` and ``folder/<part>_problems.csv``.
    """
    cases, problems = folder / f"{part}.csv", folder / f"{part}_problems.csv"
    convert_dataset(
        raw=raw,
        dataset=dataset,
        rule=rule,
        pairs=pairs,
        part=part,
        state="state",
        folder=folder / "converted",
        workers=1,
        cases=cases,
        problems=problems,
        sources=folder / f"{part}_sources.json",
    )
    return read_cases(cases), [Problem(**row) for row in read_rows(problems, PROBLEM_COLUMNS)]
