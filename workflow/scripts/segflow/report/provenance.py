"""What a run was made with: software, machine, and the state of the project."""

import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import psutil
import yaml


def installed_versions() -> dict[str, str]:
    """Return Python's version and those of all installed packages, by name."""
    packages = {item.metadata["Name"].lower(): item.version for item in distributions()}
    return {"python": platform.python_version(), **dict(sorted(packages.items()))}


def describe_machine() -> dict[str, str | int]:
    """Return processor, memory in GB, operating system and GPUs; no host or user names."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "gpus": _run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
    }


def project_version(project: Path) -> str:
    """Return the version of the project, which stands in its ``CITATION.cff``."""
    return yaml.safe_load((project / "CITATION.cff").read_text())["version"]


def git_commit(project: Path) -> str:
    """Return the commit of the project, marked ``+`` if files differ from it; empty without git."""
    commit = _run("git", "-C", str(project), "rev-parse", "HEAD")
    changed = _run("git", "-C", str(project), "status", "--porcelain")
    return commit + ("+" if commit and changed else "")


def _run(*command: str) -> str:
    """Return what a command prints, or nothing if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
