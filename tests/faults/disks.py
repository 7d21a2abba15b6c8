"""A disk that is full, or must not be written to, while an experiment runs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.experiment import SNAKEMAKE, finish
from project import Project

SIZE = 2**31
ROOM = 2**17  # bytes that a stage finds; each needs more
STAGES = {
    "conversion": ("convert",),
    "preprocessing": ("preprocess", "plan"),
    "training": ("train",),
    "prediction": ("--until", "predict_fold"),
}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk in memory for the length of a block.

    Raises
    ------
    OSError
        If that is not allowed here.
    """
    folder.mkdir(parents=True)
    run = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if (done := subprocess.run(run, capture_output=True, text=True)).returncode:
        raise OSError(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the size of a disk, or whether it may be written to."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def used(folder: Path) -> int:
    """Return the bytes that are taken on a disk."""
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def fill_disk(project: Project, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Let each stage of an experiment run out of disk, then give it room and go on.

    At the end the disk is made read-only for a while.

    Parameters
    ----------
    project : Project
        An experiment that has not run yet; a copy of it runs to its end, and replaces it.
    folder : Path
        Folder for the disk.

    Yields
    ------
    tuple of (str, str, str)
        The fault, the stage, and what went otherwise than it should; empty if it was named.
    """
    with small_disk(folder) as disk:
        copy = project.copy(disk / "project")
        for stage, targets in STAGES.items():
            remount(disk, f"size={used(disk) + ROOM}")
            said = _fails(copy, targets)
            remount(disk, f"size={SIZE}")
            full = "No space left on device"
            yield "disk full", stage, "" if full in said else f"was not named: {said[-500:]}"
            copy.snakemake(*targets)
        remount(disk, "ro")
        said = _fails(copy, ())
        remount(disk, "rw")
        named = "Read-only file system" in said
        yield "read-only disk", stage, "" if named else f"was not named: {said[-500:]}"
        finish(copy, 1)
        shutil.rmtree(project.folder)
        copy.copy(project.folder)


def _fails(project: Project, targets: tuple[str, ...]) -> str:
    """Start what must fail for want of a disk, and return what it says."""
    run = subprocess.run(
        [*SNAKEMAKE, *targets], cwd=project.folder, capture_output=True, text=True, check=False
    )
    return run.stdout + run.stderr if run.returncode else "nothing failed"
