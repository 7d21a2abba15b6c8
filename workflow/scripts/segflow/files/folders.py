"""What lies in a folder."""

from pathlib import Path


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the entries of a folder that match, sorted, without hidden files.

    macOS leaves a hidden ``._name`` beside each file on foreign disks. A folder that is not there
    has no entries.
    """
    paths = folder.glob(pattern) if folder.is_dir() else ()
    return sorted(path for path in paths if not path.name.startswith("."))
