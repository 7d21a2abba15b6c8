"""The conversion of one data set, run as the workflow's script runs it."""

import copy
import functools
from pathlib import Path

from convert_dataset import main as convert_dataset
from gather_cases import main as gather_cases
from segflow.datasets.problems import read_problems, table_of_part
from segflow.datasets.sources import Problem
from segflow.files.cases import Case, read_cases
from segflow.run.descriptions import load_descriptions

RULE = {"held_out": 0.0, "published": False, "random_split": None, "seed": 0}
PARTS = ("train", "test")


def describe(name: str, **changes) -> dict:
    """Return the description of a shipped data set, with other values of some keys."""
    return copy.deepcopy(_descriptions()[name]) | changes


@functools.cache
def _descriptions() -> dict[str, dict]:
    return load_descriptions("dataset")


def without_brain(dataset: dict) -> dict:
    """Return the description of a data set whose images are converted as they are."""
    kept = {key: value for key, value in dataset.items() if key not in ("task", "labels")}
    return kept | {"reading": {k: v for k, v in dataset["reading"].items() if k != "brain"}}


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
    cases = folder / f"{part}.csv"
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
        problems=folder / "problems.csv",
        sources=folder / f"{part}_sources.json",
    )
    return read_cases(cases), read_problems(table_of_part(cases))


def gather(folder: Path, published: bool = False, columns: tuple[str, ...] = ()) -> None:
    """Join the tables of both converted parts to ``cases.csv`` and ``problems.csv``."""
    tables = [folder / f"{part}.csv" for part in PARTS]
    gather_cases(tables, published, [*columns], folder / "cases.csv", folder / "problems.csv")
