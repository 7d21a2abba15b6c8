"""Content hashes, and files that are either whole or absent."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_key(*parts: Any) -> str:
    """Return a key of 16 hexadecimal digits that stands for the content of `parts`.

    Parts are anything that JSON can hold; the order of the keys of a mapping does not
    matter.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Damaged(ValueError):
    """A file that the workflow made itself is lost, cut short or altered.

    Parameters
    ----------
    what : str
        Which file, what is expected of it and what was found.
    *files : Path
        The damaged file, if it is still there, and every output that vouches for it: when they
        are gone, the next run makes them again.
    """

    def __init__(self, what: str, *files: Path):
        super().__init__(what, *files)
        self.files = files

    def __str__(self) -> str:
        """Return what is damaged."""
        return self.args[0]


PARTIAL = ".partial."  # part of the name of every file that is being written


def remove_partial(folder: Path) -> None:
    """Remove what killed writers left in a folder that nobody else writes to."""
    for path in folder.glob(f".*{PARTIAL}*"):
        path.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the block a temporary path beside `path` that replaces it at the end.

    A reader sees the old file or the new one, never a part: the temporary file reaches
    the disk before it takes the name, and it is removed when the block fails. It keeps the
    suffixes of `path`, by which many writers choose their format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}{PARTIAL}{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


FULL_MB = 64.0  # a disk with less than this counts as full where a write failed


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Name a full disk where a library that writes into `folder` says only that it failed.

    Raises
    ------
    OSError
        In place of a RuntimeError, if the disk has no room.
    """
    try:
        yield
    except RuntimeError as error:
        if shutil.disk_usage(folder).free > FULL_MB * 1e6:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error


def place_file(source: Path, path: Path) -> None:
    """Give a file a second name: a hard link where possible, else a copy."""
    with replacing(path) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_own_json(path: Path) -> Any:
    """Read a JSON file that the workflow made.

    Raises
    ------
    Damaged
        If the file is not JSON.
    """
    try:
        return read_json(path)
    except ValueError as error:
        raise Damaged(str(error), path) from None


def read_json(path: Path) -> Any:
    """Read a JSON file, naming it when it is damaged.

    Raises
    ------
    ValueError
        If the file is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
