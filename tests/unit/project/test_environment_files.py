import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[3]
ENVS = PROJECT / "envs"


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(name):
    """Return the version and the hashes of each package in a lock."""
    entries = re.split(r"\n(?=\S)", (ENVS / name).read_text())
    found = {}
    for entry in entries:
        if entry.startswith("#"):
            continue
        name, version = re.match(r"([\w.-]+)==([\w.+!-]+)", entry).groups()
        found[normalised(name)] = version, re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)
    return found


@pytest.fixture
def locked():
    return read_lock("requirements.txt")


@pytest.fixture
def direct():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return {normalised(re.match(r"[\w.-]+", entry)[0]) for entry in project["dependencies"]}


@pytest.mark.parametrize("name", ["requirements.txt", "slurm.txt", "publishing.txt"])
def test_every_locked_package_has_a_hash(name):
    assert [name for name, (_, hashes) in read_lock(name).items() if not hashes] == []


def test_the_executor_for_slurm_changes_no_locked_version(locked):
    executor = read_lock("slurm.txt")
    assert "snakemake-executor-plugin-slurm" in executor
    assert {
        name: locked[name] for name in executor.keys() & locked.keys()
    }.items() <= executor.items()


def test_every_direct_dependency_is_locked(locked, direct):
    assert direct - {"uv"} <= locked.keys()


def test_tools_that_check_what_is_published_are_locked_apart(locked):
    groups = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]
    assert {normalised(name) for name in groups["publishing"]} <= read_lock("publishing.txt").keys()
    assert locked.keys().isdisjoint({"mkdocs-material", "roc-validator", "cffconvert"})


def test_conda_gets_the_locked_versions(locked, direct):
    dependencies = yaml.safe_load((ENVS / "segflow.yaml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    found = dict(entry.split("==") for entry in pip)
    expected = {name: locked[name][0] for name in direct - {"uv"}}
    assert {normalised(name): version for name, version in found.items()} == expected


def test_packages_come_from_no_particular_server():
    assert [path.name for path in ENVS.iterdir() if "://" in path.read_text()] == []


@pytest.mark.parametrize("package", ["torch", "nnunetv2", "snakemake", "segflow.models.training"])
def test_bytecode_was_compiled_when_the_environment_was_set_up(package):
    """Every job would compile it anew where nothing may write it."""
    if not (PROJECT / ".venv/.ready").exists() or Path(sys.prefix) != PROJECT / ".venv":
        pytest.skip("this environment was not set up by make")
    source = Path(importlib.util.find_spec(package).origin)
    assert Path(importlib.util.cache_from_source(str(source))).exists()


def test_every_way_to_set_up_compiles_bytecode():
    for name in ("Makefile", "Dockerfile"):
        text = (PROJECT / name).read_text()
        assert "uv pip sync" in text
        assert all("--compile-bytecode" in line for line in text.splitlines() if "pip sync" in line)
        assert "python -m compileall -q workflow/scripts" in text
