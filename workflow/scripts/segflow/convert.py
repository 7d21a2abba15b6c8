"""Conversion of a published data set to nnU-Net's raw layout, with a check of every file."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from segflow.cases import Case
from segflow.content import content_key, file_sha256, place_file
from segflow.images import (
    SUFFIX,
    Grid,
    describe_damage,
    describe_difference,
    read_image,
    read_labels,
    write_image,
)
from segflow.ledger import Ledger
from segflow.sources import SourceCase
from segflow.workers import map_cases


@dataclass(frozen=True)
class Problem:
    """Something that conversion found: an error, a repair, or a thing worth knowing."""

    case: str
    file: str
    severity: str
    problem: str
    action: str


@dataclass(frozen=True)
class Target:
    """Where and under which rules cases are converted.

    Parameters
    ----------
    raw : Path
        Folder of the published files.
    folder : Path
        Folder of the data set in nnU-Net's raw layout.
    n_channels : int
        Channels that every image must have.
    labels : frozenset of int
        Values that a label map may hold.
    """

    raw: Path
    folder: Path
    n_channels: int
    labels: frozenset[int]

    def folders(self, split: str) -> tuple[Path, Path]:
        """Return nnU-Net's folders of images and labels of a split."""
        part = "Tr" if split == "train" else "Ts"
        return self.folder / f"images{part}", self.folder / f"labels{part}"


def convert_cases(
    sources: list[SourceCase], part: str, target: Target, workers: int
) -> tuple[list[Case], list[Problem], dict[Path, str]]:
    """Convert the cases of one part.

    A case whose raw files did not change since it was converted is left as it is.

    Parameters
    ----------
    sources : list of SourceCase
        The cases of the part.
    part : {'train', 'test'}
        The part. What an earlier conversion left of other cases of it is removed.
    target : Target
        Where to and under which rules.
    workers : int
        Number of processes.

    Returns
    -------
    cases : list of Case
        The converted cases.
    problems : list of Problem
        What was found; cases with an error are not among `cases`.
    sha256 : dict of Path to str
        Hash of each raw file.
    """
    images, labels = (Ledger(folder) for folder in target.folders(part))
    images.prune(source.case for source in sources)
    labels.prune(source.case for source in sources if source.label)
    cases, problems, sha256 = [], [], {}
    for _, result in map_cases(partial(convert_case, target=target), sources, workers, "convert"):
        case, found, hashes = result
        problems += found
        sha256 |= hashes
        if case:
            cases.append(case)
    cases.sort(key=lambda case: case.case)
    problems += _duplicates(cases)
    failed = {problem.case for problem in problems if problem.severity == "error"}
    problems.sort(key=lambda problem: (problem.case, problem.file, problem.problem))
    return [case for case in cases if case.case not in failed], problems, sha256


def convert_case(
    source: SourceCase, target: Target
) -> tuple[Case | None, list[Problem], dict[Path, str]]:
    """Check one case and write it in nnU-Net's raw layout; see `convert_cases`."""
    missing = [path for path in source.files if not path.is_file()]
    if missing:
        return None, [_error(source, target, path, "the file is missing") for path in missing], {}
    sha256 = {path: file_sha256(path) for path in source.files}
    case = Case(
        case=source.case,
        patient=source.patient,
        group=source.group or source.patient,
        split=source.split,
        class_label=source.class_label,
        images=";".join(str(path.relative_to(target.raw)) for path in source.images),
        label=str(source.label.relative_to(target.raw)) if source.label else "",
        image_sha256=_combined([sha256[path] for path in source.images]),
        label_sha256=sha256[source.label] if source.label else "",
        shape="",
        spacing_mm="",
    )
    images_folder, labels_folder = target.folders(source.split)
    images, labels = Ledger(images_folder), Ledger(labels_folder)
    key = content_key(
        case.image_sha256, case.label_sha256, target.n_channels, sorted(target.labels)
    )
    facts = images.find(source.case, key)
    if facts is not None and (source.label is None or labels.find(source.case, key) is not None):
        problems = [Problem(**problem) for problem in facts["problems"]]
        return replace(case, shape=facts["shape"], spacing_mm=facts["spacing_mm"]), problems, sha256

    problems: list[Problem] = []
    channels, grid = _read_channels(source, target, problems)
    label_map = _read_reference(source, target, grid, problems) if source.label else None
    if any(problem.severity == "error" for problem in problems):
        return None, problems, sha256

    files = []
    for number, channel in enumerate(channels):
        files.append(images_folder / f"{source.case}_{number:04d}{SUFFIX}")
        if len(source.images) == target.n_channels and _is_ready(source.images[number]):
            place_file(source.images[number], files[-1])
        else:
            write_image(files[-1], channel, grid)
    if source.label:
        path = labels_folder / f"{source.case}{SUFFIX}"
        repaired = any(problem.severity == "repaired" for problem in problems)
        integral = np.issubdtype(label_map.dtype, np.integer)
        if _is_ready(source.label) and integral and not repaired:
            place_file(source.label, path)
        else:
            small = max(target.labels) < 256
            write_image(path, label_map.astype(np.uint8 if small else np.uint16), grid)
        labels.enter(source.case, key, [path])
    facts = {
        "shape": " ".join(str(size) for size in grid.shape),
        "spacing_mm": " ".join(f"{value:.6g}" for value in grid.spacing_mm),
    }
    images.enter(source.case, key, files, **facts, problems=[vars(p) for p in problems])
    return replace(case, **facts), problems, sha256


def _read_channels(
    source: SourceCase, target: Target, problems: list[Problem]
) -> tuple[list[np.ndarray], Grid | None]:
    """Read the channels of a case, each of shape (z, y, x), and the grid of the first."""
    channels: list[np.ndarray] = []
    grid = None
    for path in source.images:
        if damage := describe_damage(path):
            problems.append(_error(source, target, path, damage))
            continue
        try:
            array, this_grid = read_image(path)
        except ValueError as error:
            problems.append(_error(source, target, path, str(error).removeprefix(f"{path}: ")))
            continue
        if grid is None:
            grid = this_grid
        elif difference := describe_difference(grid, this_grid)[0]:
            problems.append(_error(source, target, path, f"differs from channel 0 in {difference}"))
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            problems.append(_error(source, target, path, f"{count} voxels are NaN or infinite"))
        channels += list(array)
    if not problems and len(channels) != target.n_channels:
        problem = f"{len(channels)} channels, but the data set declares {target.n_channels}"
        problems.append(_error(source, target, source.images[0], problem))
    return channels, grid


def _read_reference(
    source: SourceCase, target: Target, grid: Grid | None, problems: list[Problem]
) -> np.ndarray | None:
    """Read the label map of a case, of shape (z, y, x), and check it against the image."""
    path = source.label
    if damage := describe_damage(path):
        problems.append(_error(source, target, path, damage))
        return None
    try:
        label_map, label_grid = read_labels(path)
    except ValueError as error:
        problems.append(_error(source, target, path, str(error).removeprefix(f"{path}: ")))
        return None
    values = np.unique(label_map)
    if not np.isfinite(values).all():
        problems.append(_error(source, target, path, "the label map holds NaN"))
    else:
        wrong = [value for value in values.tolist() if value not in target.labels]
        if wrong:
            shown = ", ".join(f"{value:g}" for value in wrong[:5])
            allowed = ", ".join(str(value) for value in sorted(target.labels))
            problem = f"label values {shown} are not declared (allowed: {allowed})"
            problems.append(_error(source, target, path, problem))
        elif not label_map.any():
            name = str(path.relative_to(target.raw))
            note = Problem(source.case, name, "note", "the label map is empty", "kept")
            problems.append(note)
    if grid is None:
        return label_map
    mismatch, rounding = describe_difference(grid, label_grid)
    if mismatch:
        problems.append(_error(source, target, path, f"differs from its image in {mismatch}"))
    elif rounding:
        name = str(path.relative_to(target.raw))
        problem = f"differs from its image by rounding in {rounding}"
        problems.append(Problem(source.case, name, "repaired", problem, "took the image's header"))
    return label_map


def raise_problems(problems: list[Problem], where: str) -> None:
    """Raise one error that lists every problem that conversion cannot repair.

    Raises
    ------
    ValueError
        If there is one.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        lines = [f"  {error.file}: {error.problem} ({error.action})" for error in errors]
        raise ValueError(f"{where}: {len(errors)} problems\n" + "\n".join(lines))


def make_dataset_json(dataset: dict, n_training: int) -> dict:
    """Return nnU-Net's ``dataset.json`` of a data set.

    Parameters
    ----------
    dataset : dict
        Description of the data set (``config/datasets``).
    n_training : int
        Number of training cases.
    """
    description = {
        "channel_names": {str(number): name for number, name in enumerate(dataset["channels"])},
        "labels": dataset["labels"],
        "numTraining": n_training,
        "file_ending": SUFFIX,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "name": dataset["title"],
        "licence": dataset["license"],
        "reference": dataset["source"],
    }
    if "regions_class_order" in dataset:
        description["regions_class_order"] = dataset["regions_class_order"]
    return description


def _duplicates(cases: list[Case]) -> list[Problem]:
    """Report cases whose images are the same file under two names."""
    problems, first = [], {}
    for case in cases:
        other = first.setdefault(case.image_sha256, case)
        if other is not case:
            problem = f"the same image as case {other.case!r}"
            problems.append(Problem(case.case, case.images, "error", problem, "remove one of them"))
    return problems


def _error(source: SourceCase, target: Target, path: Path, problem: str) -> Problem:
    name = str(path.relative_to(target.raw))
    return Problem(source.case, name, "error", problem, "mend or replace the file")


def _is_ready(path: Path) -> bool:
    """Say whether nnU-Net can read a file of one channel as it is."""
    return path.name.endswith(SUFFIX)


def _combined(digests: list[str]) -> str:
    return digests[0] if len(digests) == 1 else content_key(*digests)
