"""Conversion of one case to nnU-Net's raw layout, with a check of its files."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from segflow.datasets.dataset_json import AS_STORED
from segflow.datasets.normalisation import brain_key, read_normalised
from segflow.datasets.reading import Report, Target, read_channels, read_reference
from segflow.datasets.sources import Problem, SourceCase
from segflow.files.cases import Case
from segflow.files.content import content_key, file_sha256, place_file
from segflow.files.ledger import Ledger
from segflow.files.suffixes import suffix
from segflow.images.identity import voxel_key
from segflow.images.nifti import SUFFIX, Grid, write_image
from segflow.images.orientation import (
    orientation_of,
    reorient,
    reorient_grid,
    with_flat_axis_last,
)
from segflow.images.preparation import drop_blank_slices, prepare_mammogram
from segflow.images.raw_files import Volume, is_clean

PROCEDURE = 1  # move it when converted files would differ
STATED = {"spacing_mm": [1, 1, 1]}  # what a description that is silent has always meant
MADE = "made"  # in place of the file of a reference that conversion makes
# What the table of cases holds of a converted case.
FACTS = {"shape", "spacing_mm", "voxels", "label_voxels", "orientation"}


def convert_case(
    source: SourceCase, target: Target
) -> tuple[Case | None, list[Problem], dict[Path, str]]:
    """Check one case and write it; see `segflow.datasets.conversion.convert_cases`."""
    report = Report(source, target)
    sha256 = _hash_files(source, report)
    if source.split != "test" and target.labels > {0} and not _has_reference(source, target):
        action = "name its label or say that it is empty, make it a test case, or exclude it"
        report.add("error", source.images[0], "the training case has no reference", action)
    if report.failed:
        return None, report.problems, sha256
    case = _describe(source, target, sha256)
    if (found := _find_converted(case, source, target, sha256)) is not None:
        facts, problems = found
    else:
        facts, problems = _convert(case, source, target, sha256, report), report.problems
    return None if facts is None else replace(case, **facts), problems, sha256


def _hash_files(source: SourceCase, report: Report) -> dict[Path, str]:
    """Return the SHA-256 of each raw file that can be read."""
    sha256 = {}
    for path in source.files:
        try:
            sha256[path] = file_sha256(path)
        except FileNotFoundError:
            report.error(path, "the file is missing")
        except OSError as error:
            report.error(path, f"cannot be read ({error.strerror})")
    return sha256


def _makes_reference(target: Target) -> bool:
    """Say whether conversion makes the references itself: masks of the brain."""
    return "brain" in target.reading


def _has_reference(source: SourceCase, target: Target) -> bool:
    return source.labels is not None or _makes_reference(target)


def _describe(source: SourceCase, target: Target, sha256: dict[Path, str]) -> Case:
    """Return what is known of a case before its files are read, and the key of its content."""
    images = [sha256[path] for path in source.image_files]
    made = _makes_reference(target)
    case = Case(
        case=source.case,
        patient=source.patient,
        group=source.group or source.patient,
        split="test" if source.split == "test" else "train",
        class_label=source.class_label,
        images=target.name(source.images),
        label=MADE if made else _label(source, target),
        image_sha256=_combined(images),
        label_sha256=_combined([sha256[path] for path in source.label_files]),
        content="",
        shape="",
        spacing_mm="",
        published_split=source.published_split,
        covariates=dict(source.covariates),
    )
    key = content_key(
        PROCEDURE,
        case.image_sha256,
        case.label_sha256,
        case.label == "empty",
        target.n_channels,
        sorted(target.labels),
        STATED | {key: value for key, value in target.reading.items() if value != AS_STORED},
        source.covariates.get("laterality"),
        *source.mask_values,
        *([dict(source.segment_values)] if source.segment_values else []),
        *([brain_key(images, target.reading)] if made else []),
    )
    return replace(case, content=key)


def _find_converted(
    case: Case, source: SourceCase, target: Target, sha256: dict[Path, str]
) -> tuple[dict[str, str], list[Problem]] | None:
    """Return what the table of cases holds of a case that is converted, and its problems."""
    images, labels = map(Ledger, target.folders(case.split))
    facts = images.find(case.case, case.content)
    if facts is None or not facts.keys() >= FACTS:
        return None
    if _has_reference(source, target) and labels.find(case.case, case.content) is None:
        return None
    # A problem names its file, which may have been renamed since.
    names = {target.name([path]) for path in (*source.images, *source.label_files)}
    if not {problem["file"] for problem in facts["problems"]} <= names:
        return None
    if not _are_as_placed(target.folder, facts.get("placed", {}), sha256):
        return None
    problems = [Problem(**problem) for problem in facts["problems"]]
    return {name: facts[name] for name in FACTS}, problems


def _convert(
    case: Case, source: SourceCase, target: Target, sha256: dict[Path, str], report: Report
) -> dict[str, str] | None:
    """Read, prepare and write a case; return what the table of cases holds of it.

    None if `report` has an error.
    """
    stored = read_channels(source, target, report)
    label_map = None
    if stored is not None and source.labels is not None and not _makes_reference(target):
        label_map = read_reference(source, target, stored, report)
    if report.failed:
        return None
    for number, channel in enumerate(stored.array):
        if (channel == channel.flat[0]).all():
            text = f"all voxels of channel {number} are {channel.flat[0]:g}"
            report.add("note", source.images[0], text, "kept")
    facts = {
        "voxels": ";".join(map(voxel_key, stored.array)),
        "orientation": orientation_of(stored.grid),
    }
    volume, label_map = _prepare(source, target, stored, label_map, sha256, report)
    if report.failed or volume is None:
        return None

    unchanged = volume is stored and not report.repaired
    one_each = len(source.images) == len(volume.array)
    images_folder, labels_folder = target.folders(case.split)
    files, placed = [], {}
    for number, channel in enumerate(volume.array):
        files.append(images_folder / f"{case.case}_{number:04d}{SUFFIX}")
        raw = source.images[number] if one_each and unchanged else None
        if _take_over(raw, files[-1], channel, volume.grid):
            placed[files[-1]] = sha256[raw]
    facts["label_voxels"] = ""
    if label_map is not None:
        path = labels_folder / f"{case.case}{SUFFIX}"
        one = unchanged and not report.remapped and len(source.labels) == 1
        raw = source.labels[0] if one else None
        if _take_over(raw, path, label_map, volume.grid):
            placed[path] = sha256[raw]
        Ledger(labels_folder).enter(case.case, case.content, [path])
        facts["label_voxels"] = _count_labels(label_map, max(target.labels))
    facts["shape"] = " ".join(str(size) for size in volume.grid.shape)
    facts["spacing_mm"] = " ".join(f"{value:.6g}" for value in volume.grid.spacing_mm)
    Ledger(images_folder).enter(
        case.case,
        case.content,
        files,
        **facts,
        placed={str(path.relative_to(target.folder)): digest for path, digest in placed.items()},
        problems=[asdict(problem) for problem in report.problems],
    )
    return facts


def _prepare(
    source: SourceCase,
    target: Target,
    volume: Volume,
    label_map: np.ndarray | None,
    sha256: dict[Path, str],
    report: Report,
) -> tuple[Volume | None, np.ndarray | None]:
    """Change image and reference as the data set's description asks; None if it cannot be used."""
    path = source.images[0]
    try:
        stored = orientation_of(volume.grid)
        wanted = with_flat_axis_last(volume.grid)
        if target.reading.get("orientation", AS_STORED) != AS_STORED and wanted != stored:
            array = np.ascontiguousarray(reorient(volume.array, stored, wanted))
            if label_map is not None:
                label_map = np.ascontiguousarray(reorient(label_map, stored, wanted))
            volume = replace(volume, array=array, grid=reorient_grid(volume.grid, wanted))
            report.add("repaired", path, "its axis of one voxel is not z", "made it z")
        if target.reading["drop_blank_slices"]:
            volume, label_map, notes = drop_blank_slices(volume, label_map)
            for note in notes:
                report.add("repaired", path, note, "dropped")
        if _makes_reference(target):
            brain = brain_key([sha256[path] for path in source.image_files], target.reading)
            found = read_normalised(source, brain, target, volume, report)
            return (found.volume, found.mask) if found else (None, None)
        if "mammography" in target.reading:
            laterality = source.covariates.get("laterality", "")
            options = target.reading["mammography"]
            volume, label_map, notes = prepare_mammogram(volume, label_map, options, laterality)
            for note in notes:
                report.add("note", path, note, "kept")
    except ValueError as error:
        report.error(path, error)
    return volume, label_map


def _take_over(raw: Path | None, path: Path, array: np.ndarray, grid: Grid) -> bool:
    """Put a raw file into its place as it is, if nnU-Net can read it and may; else write voxels."""
    if raw is not None and suffix(raw) == SUFFIX and is_clean(raw):
        place_file(raw, path)
        return True
    write_image(path, array, grid)
    return False


def _label(source: SourceCase, target: Target) -> str:
    return "" if source.labels is None else target.name(source.labels) or "empty"


def _count_labels(label_map: np.ndarray, largest: int) -> str:
    """Return the number of voxels of each value from 1 on, by runs of equal ones: it is faster."""
    flat = label_map.ravel()
    begins = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    lengths = np.diff(begins, append=flat.size)
    counts = np.bincount(flat[begins].astype(int), lengths, largest + 1)[1:]
    return " ".join(str(int(count)) for count in counts)


def _are_as_placed(folder: Path, placed: dict[str, str], sha256: dict[Path, str]) -> bool:
    """Say whether files that were taken over have the content that they had then.

    What is done to a raw file is done to the file that is linked to it, and stays there when the
    raw file is replaced by a sound one. A file that is still linked has the hash of its raw file.
    """
    for name, digest in placed.items():
        path = folder / name
        linked = any(path.samefile(raw) for raw, found in sha256.items() if found == digest)
        if not linked and file_sha256(path) != digest:
            return False
    return True


def _combined(digests: list[str]) -> str:
    if not digests:
        return ""
    return digests[0] if len(digests) == 1 else content_key(*digests)
