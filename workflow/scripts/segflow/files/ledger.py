"""Which cases of a step are finished, and from what content they were made."""

from collections.abc import Iterable
from pathlib import Path

from segflow.files.content import read_json, remove_partial, write_json


class Ledger:
    """One small JSON record for each finished case of a folder.

    A step that handles cases one by one enters each of them when its files are complete. A
    restarted or repeated step asks the ledger first and redoes only what is missing, was
    made from other content, or lost a file.

    Parameters
    ----------
    folder : Path
        Folder of the step's files. The records lie in its subfolder ``.ledger``.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.records = folder / ".ledger"

    def find(self, case: str, key: str) -> dict | None:
        """Return the facts of a case that was made with `key`, or None if it must be redone.

        A damaged record counts as none, and so does one whose files are gone or have another
        size than when they were entered.
        """
        try:
            record = read_json(self.records / f"{case}.json")
            if record["key"] != key:
                return None
            for name, size in record["files"].items():
                if (self.folder / name).stat().st_size != size:
                    return None
            return record["facts"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def waiting(self, keys: dict[str, str]) -> list[str]:
        """Return the cases that are not finished, sorted; see `find`."""
        return [case for case in sorted(keys) if self.find(case, keys[case]) is None]

    def enter(self, case: str, key: str, files: Iterable[Path], **facts) -> dict:
        """Record that a case is finished and return its facts (values that JSON can hold).

        Files that the case had before and has no more are removed.
        """
        files = list(files)
        kept = {str(path.relative_to(self.folder)) for path in files}
        for name in self._files(case):
            if name not in kept:
                (self.folder / name).unlink(missing_ok=True)
        sizes = {str(path.relative_to(self.folder)): path.stat().st_size for path in files}
        write_json(self.records / f"{case}.json", {"key": key, "files": sizes, "facts": facts})
        return facts

    def prune(self, cases: Iterable[str]) -> None:
        """Remove the files and records of all other cases, and what a killed writer left.

        Only the one job that fills the folder may call this.
        """
        for folder in (self.folder, self.records):
            remove_partial(folder)
        known = set(cases)
        for path in sorted(self.records.glob("*.json")):
            if path.stem in known:
                continue
            for name in self._files(path.stem):
                (self.folder / name).unlink(missing_ok=True)
            path.unlink()

    def _files(self, case: str) -> list[str]:
        """Return the files of a case; none if its record is missing or torn."""
        try:
            return list(read_json(self.records / f"{case}.json")["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return []
