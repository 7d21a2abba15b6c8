"""YAML files, read and checked against their schemas in ``config/schemas``."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

PROJECT = Path(__file__).parents[4]
SCHEMAS = PROJECT / "config" / "schemas"


def check(value: dict, schema: str, where: str) -> dict:
    """Check a mapping against a schema and fill in its defaults.

    Parameters
    ----------
    value : dict
        The mapping; defaults are added to it.
    schema : str
        Name of a file in ``config/schemas``, without its suffixes.
    where : str
        Name of the file that the mapping comes from, for the messages.

    Raises
    ------
    ValueError
        With every problem in one message, each with its key.
    """
    rules = _read_schema(schema)
    problems = [
        f"{'.'.join(str(part) for part in error.absolute_path) or 'top level'}: {error.message}"
        for error in Draft202012Validator(rules).iter_errors(value)
    ]
    if problems:
        raise ValueError(f"{where}: " + "; ".join(sorted(problems)))
    _fill_defaults(value, rules)
    return value


@cache  # reading them for each of many descriptions would be most of the work
def _read_schema(name: str) -> dict:
    return yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text())


def _fill_defaults(value: dict, schema: dict) -> None:
    """Add what a mapping leaves out and its schema has a default for, at every level."""
    known = schema.get("properties", {})
    for key, rules in known.items():
        if "default" in rules:
            value.setdefault(key, deepcopy(rules["default"]))
    for key, part in value.items():
        rules = known.get(key, schema.get("additionalProperties"))
        if isinstance(part, dict) and isinstance(rules, dict):
            _fill_defaults(part, rules)
        elif isinstance(part, list) and isinstance(rules, dict):
            for item in part:
                if isinstance(item, dict):
                    _fill_defaults(item, rules.get("items", {}))


def read_yaml(path: Path, where: str) -> Any:
    """Read a YAML file of plain values.

    Raises
    ------
    ValueError
        If the file is not YAML, or asks for objects.
    """
    try:
        return yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not valid YAML of plain values ({error})") from None


def reading_defaults() -> dict:
    """Return how files are read where no description of a data set says otherwise."""
    reading: dict = {}
    _fill_defaults(reading, _read_schema("dataset")["properties"]["reading"])
    return reading
