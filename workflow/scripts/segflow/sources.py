"""The raw files of a data set's cases, and whether they changed since they were converted."""

import importlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segflow.content import content_key, file_sha256, read_json


@dataclass(frozen=True)
class SourceCase:
    """The raw files of one case, as a converter finds them.

    Parameters
    ----------
    case : str
        Name of the case, unique in the data set.
    patient : str
        Whom the images show. A converter that cannot tell gives the case's name.
    split : {'train', 'test'}
        Cases of ``train`` are divided into folds, those of ``test`` never trained on.
    images : tuple of Path
        One file for each channel, or one file with all channels in its last axis.
    label : Path or None
        The reference segmentation; None where there is none.
    group : str
        What must not be torn apart by a split; the patient if empty.
    class_label : str
        Class of the whole case, by which folds are stratified; empty if there is none.
    """

    case: str
    patient: str
    split: str
    images: tuple[Path, ...]
    label: Path | None
    group: str = ""
    class_label: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """All raw files of the case."""
        return self.images if self.label is None else (*self.images, self.label)


def find_cases(converter: str, raw: Path) -> list[SourceCase]:
    """Return the cases that a converter finds in a raw folder, sorted by name.

    Only names are looked at, no image is read.

    Parameters
    ----------
    converter : str
        Name of a module of `segflow.datasets`.
    raw : Path
        Folder of the data set as published.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or of another layout.
    ValueError
        If a case is there twice.
    """
    if not raw.is_dir():
        raise FileNotFoundError(f"{raw}: no such folder; put the data set there, or name its place")
    cases = importlib.import_module(f"segflow.datasets.{converter}").find_cases(raw)
    for name, count in Counter(case.case for case in cases).items():
        if count > 1:
            raise ValueError(f"{raw}: case {name!r} is there {count} times")
    return sorted(cases, key=lambda case: case.case)


def describe_files(raw: Path, cases: Iterable[SourceCase]) -> dict[str, list[int]]:
    """Return size in bytes and modification time in ns of each file of `cases`, by path."""
    files = {}
    for case in cases:
        for path in case.files:
            state = path.stat() if path.exists() else None
            files[str(path.relative_to(raw))] = [state.st_size, state.st_mtime_ns] if state else []
    return dict(sorted(files.items()))


def state_of_sources(raw: Path, cases: Iterable[SourceCase], record: Path) -> str:
    """Return a key of the raw files that changes when their content does.

    The first time the key is taken from sizes and modification times, so that a new data set
    is not read twice. Once conversion has recorded the key together with the files' hashes, it
    stays as it is while the content does: a file that was only touched is recognised by its
    hash.

    Parameters
    ----------
    raw : Path
        Folder of the data set.
    cases : iterable of SourceCase
        The cases whose files count.
    record : Path
        JSON file that conversion writes (see `record_sources`); it need not exist.

    Returns
    -------
    str
        The key.
    """
    cases = list(cases)
    files = describe_files(raw, cases)
    roles = _roles(raw, cases)
    try:
        known = read_json(record)
    except (OSError, ValueError):
        known = None
    if (
        isinstance(known, dict)
        and known.get("roles") == roles
        and known.get("files", {}).keys() == files.keys()
    ):
        for name, (size, mtime, sha256) in known["files"].items():
            if files[name] == [size, mtime]:
                continue
            if not files[name] or files[name][0] != size or file_sha256(raw / name) != sha256:
                break
        else:
            return known["state"]
    return content_key(roles, files)


def record_sources(raw: Path, cases: Iterable[SourceCase], sha256: dict[Path, str]) -> dict:
    """Return what `state_of_sources` needs to recognise these files, less the key."""
    cases = list(cases)
    files = describe_files(raw, cases)
    return {
        "roles": _roles(raw, cases),
        "files": {name: [*state, sha256[raw / name]] for name, state in files.items()},
    }


def _roles(raw: Path, cases: list[SourceCase]) -> list[list]:
    """Return what the files mean: which case, whose, of which class, in which order."""
    return [
        [
            case.case,
            case.patient,
            case.group,
            case.class_label,
            *(str(path.relative_to(raw)) for path in case.files),
        ]
        for case in cases
    ]


def folder_state(raw: Path, record: Path | None = None) -> str:
    """Return a key of the names, sizes and times of everything in a folder.

    Parameters
    ----------
    raw : Path
        The folder. If it is gone, the data set that was converted from it stands for it.
    record : Path or None
        Where conversion records the state of what it read.
    """
    if not raw.is_dir():
        try:
            return read_json(record)["state"] if record else "missing"
        except (OSError, ValueError, KeyError, TypeError):
            return "missing"
    files = {}
    for path in sorted(path for path in raw.rglob("*") if path.is_file()):
        state = path.stat()
        files[str(path.relative_to(raw))] = [state.st_size, state.st_mtime_ns]
    return content_key(files)
