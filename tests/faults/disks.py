"""A disk that is full, or must not be written to, while an experiment runs."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.experiment import SNAKEMAKE, differences, final_state, finish
from project import Project

SIZE = 2**31
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


def fill_disks(
    project: Project, folder: Path, expected: dict[str, object]
) -> Iterator[tuple[str, str, bool, str]]:
    """Let each stage of an experiment run out of disk, then give it room and finish it.

    Half of what the stage writes fits. At the last stage the disk is made read-only besides.

    Yields
    ------
    tuple of (str, str, bool, str)
        The fault, the stage, whether it was named and the end is that of an undisturbed run, and
        a note.

    Raises
    ------
    OSError
        If no disk can be mounted.
    """
    for stage, targets in STAGES.items():
        with small_disk(folder / stage) as disk, small_disk(folder / f"{stage} whole") as other:
            copy, whole = project.copy(disk / "project"), project.copy(other / "project")
            before = used(other)
            whole.snakemake(*targets)
            remount(disk, f"size={used(disk) + (used(other) - before) // 2}")
            said = _fails(copy, targets)
            remount(disk, f"size={SIZE}")
            yield "disk full", stage, *_judge(copy, "No space left on device", said, expected)
        project.snakemake(*targets)
    with small_disk(folder / "read-only") as disk:
        copy = project.copy(disk / "project")
        remount(disk, "ro")
        said = _fails(copy, ())
        remount(disk, "rw")
        yield "read-only disk", stage, *_judge(copy, "Read-only file system", said, expected)


def _fails(project: Project, targets: tuple[str, ...]) -> str:
    """Start what must fail for want of a disk, and return what it says."""
    run = subprocess.run(
        [*SNAKEMAKE, *targets], cwd=project.folder, capture_output=True, text=True, check=False
    )
    return run.stdout + run.stderr if run.returncode else "nothing failed"


def _judge(
    project: Project, words: str, said: str, expected: dict[str, object]
) -> tuple[bool, str]:
    if words not in said:
        return False, f"was not named: {said[-500:]}"
    try:
        finish(project, 1)
    except AssertionError as error:
        return False, f"does not go on: {str(error)[-500:]}"
    found = differences(final_state(project), expected)
    return not found, ", ".join(found[:5])
