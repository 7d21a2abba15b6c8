"""Content hashes, and files that are either whole or absent."""

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


PARTIAL = ".partial."  # part of the name of every file that is being written


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
