import json
import re
from pathlib import Path

import pytest
import yaml

CONFIG = Path(__file__).parents[3] / "config"
SECTIONS = {
    "config": "config.yaml",
    "dataset": "config/datasets/NAME.yaml",
    "model": "config/models/NAME.yaml",
    "augmentation": "config/augmentations/NAME.yaml",
    "published": "config/published/NAME.yaml",
}


def keys_of(schema, prefix=""):
    """Yield each key by its dotted name with what the table says of it: its default, as text."""
    free = schema.get("additionalProperties")
    if isinstance(free, dict):  # a mapping: its keys are names, `NAME` stands for each
        schema, prefix = free, f"{prefix}NAME."
    for key, value in schema.get("properties", {}).items():
        missing = "required" if key in schema.get("required", ()) else "-"
        yield f"{prefix}{key}", value.get("default", missing)
        yield from keys_of(value, f"{prefix}{key}.")
        yield from keys_of(value.get("items", {}), f"{prefix}{key}.")


def read_default(cell):
    """Return the value in a cell: JSON where it is some, else the text."""
    text = cell.strip("` ")
    try:
        return json.loads(text)
    except ValueError:
        return text


@pytest.fixture(params=SECTIONS)
def documented_and_declared(request):
    manual = (CONFIG / "README.md").read_text()
    heading = re.escape(f"## {SECTIONS[request.param]}")
    section = re.search(rf"^{heading}\n(.*?)(?=^## |\Z)", manual, re.M | re.S)[1]
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\|([^|]*)\|[^|]*\S[^|]*\|$", section, re.M)
    assert len(dict(rows)) == len(rows), "a key has two rows"
    schema = yaml.safe_load((CONFIG / "schemas" / f"{request.param}.schema.yaml").read_text())
    return {key: read_default(cell) for key, cell in rows}, dict(keys_of(schema))


def test_every_key_has_a_row_and_every_row_a_key(documented_and_declared):
    documented, declared = documented_and_declared
    assert sorted(documented) == sorted(declared)


def test_every_row_states_the_default(documented_and_declared):
    documented, declared = documented_and_declared
    assert documented == declared


def test_the_tables_are_read_as_meant():
    schema = {
        "required": ["a"],
        "properties": {
            "a": {"type": "string"},
            "b": {"default": {}, "properties": {"c": {"type": "number", "default": 3e-5}}},
            "d": {
                "properties": {"background": {"const": 0}},
                "additionalProperties": {"required": ["e"], "properties": {"e": {}, "f": {}}},
            },
        },
    }
    assert dict(keys_of(schema)) == {
        "a": "required",
        "b": {},
        "b.c": 3e-5,
        "d": "-",
        "d.NAME.e": "required",
        "d.NAME.f": "-",
    }
    assert read_default(" `3e-05` ") == 3e-5
    assert read_default(" `auto` ") == "auto"
