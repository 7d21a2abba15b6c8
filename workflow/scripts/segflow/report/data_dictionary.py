"""What the columns of all tables mean, and its form for other tools (Frictionless Data Package)."""

import csv
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from segflow.files.content import file_sha256

WORDS = Path(__file__).with_suffix(".yaml")
MISSING = [""]


def dictionary_key() -> str:
    """Return a hash of the dictionary, which no script imports."""
    return file_sha256(WORDS)


@cache
def _dictionary() -> dict[str, Any]:
    return yaml.safe_load(WORDS.read_text())


def described_tables() -> list[str]:
    """Return the file names of all tables that the dictionary knows."""
    return list(_dictionary()["tables"])


def describe_column(table: str, column: str) -> dict[str, str] | None:
    """Return what a column is, as a field of a Table Schema; None if nothing is known of it.

    Parameters
    ----------
    table : str
        File name of the table.
    column : str
        Name of the column.
    """
    shared, own = _dictionary(), _dictionary()["tables"].get(table, {})
    for words in (own.get("columns", {}), shared["columns"]):
        if column in words:
            return _field(column, words[column])
    for patterns in (own.get("patterns", {}), shared["patterns"]):
        for pattern, words in patterns.items():
            if re.fullmatch(pattern, column):
                return _field(column, words)
    return None


def _field(name: str, words: list[str]) -> dict[str, str]:
    kind, unit, meaning = words
    field = {"name": name, "type": kind, "description": meaning}
    return field | {"unit": unit} if unit else field


def describe_table(path: Path, results: Path) -> dict[str, Any]:
    """Return a table as a resource of a Data Package.

    Parameters
    ----------
    path : Path
        The table, one of `described_tables`.
    results : Path
        Folder of the package, to which its paths are relative.
    """
    with path.open(newline="") as file:
        columns = next(csv.reader(file))
    about = _dictionary()["tables"][path.name]
    place = path.relative_to(results)
    schema: dict[str, Any] = {
        "fields": [describe_column(path.name, name) or {"name": name} for name in columns],
        "missingValues": MISSING,
    }
    if "key" in about:
        schema["primaryKey"] = about["key"]
    return {
        "name": re.sub("[^a-z0-9]+", "-", place.with_suffix("").as_posix().lower()),
        "path": place.as_posix(),
        "profile": "tabular-data-resource",
        "title": about["title"],
        "description": about["about"],
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": path.stat().st_size,
        "hash": f"sha256:{file_sha256(path)}",
        "schema": schema,
    }


def describe_tables(
    tables: list[Path], results: Path, datasets: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the tables of a run as a Frictionless Data Package.

    Parameters
    ----------
    tables : list of Path
        Tables in `results`.
    results : Path
        Folder of all results.
    datasets : dict of str to dict
        Descriptions of the data sets, whose licences and sources go with the tables.
    """
    return {
        "profile": "tabular-data-package",
        "name": "segflow-results",
        "title": f"Results on {', '.join(one['title'] for one in datasets.values())}",
        "description": "Tables of a run of Segflow. Every table is tidy: one row an observation.",
        "sources": [
            {"title": f"{one['title']} ({one['license']})", "path": one["source"]}
            if one["source"].startswith(("http://", "https://"))
            else {"title": f"{one['title']} ({one['license']}), from {one['source']}"}
            for one in datasets.values()
        ],
        "resources": [describe_table(path, results) for path in sorted(set(tables))],
    }
