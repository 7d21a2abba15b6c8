"""Conversion of a published data set to nnU-Net's raw layout, with a check of every file."""

from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from segflow.datasets.normalisation import brain_key, read_normalised
from segflow.datasets.problems import failed_cases
from segflow.datasets.reading import Report, Target, read_channels, read_reference
from segflow.datasets.sources import Problem, SourceCase
from segflow.files.cases import Case
from segflow.files.content import content_key, file_sha256, place_file
from segflow.files.labels import Labels, foreground, foreground_values, ignored_value
from segflow.files.ledger import Ledger
from segflow.files.suffixes import suffix
from segflow.images.identity import voxel_key
from segflow.images.nifti import SUFFIX, read_grid, write_image
from segflow.images.orientation import (
    orientation_of,
    reorient,
    reorient_grid,
    with_flat_axis_last,
)
from segflow.images.preparation import drop_blank_slices, prepare_mammogram
from segflow.images.raw_files import Volume, is_clean
from segflow.jobs.workers import map_cases

PROCEDURE = 1  # move it when converted files would differ
READER, REORIENTING_READER = "SimpleITKIO", "SimpleITKIOWithReorient"  # of nnU-Net
AS_STORED = "stored"  # what an orientation that is not given has always meant
STATED = {"spacing_mm": [1, 1, 1]}  # what a description that is silent has always meant
MADE = "made"  # in place of the file of a reference that conversion makes
FEW, FEW_SHARE = 5, 0.05  # training cases with a label: fewer are worth a note
# What the table of cases holds of a converted case.
FACTS = {"shape", "spacing_mm", "voxels", "label_voxels", "orientation"}


def target_of(dataset: dict, raw: Path, folder: Path, brains: Path | None) -> Target:
    """Return where and under which rules the cases of a data set are converted.

    Parameters
    ----------
    dataset : dict
        Description of the data set.
    raw, folder, brains : Path
        See `segflow.datasets.reading.Target`.
    """
    labels = dataset.get("labels", {})
    return Target(
        raw=raw,
        folder=folder,
        n_channels=len(dataset["channels"]),
        labels=frozenset({0, *foreground_values(labels), ignored_value(labels) or 0}),
        reading=dataset["reading"],
        brains=brains,
    )


def convert_cases(
    sources: list[SourceCase], target: Target, workers: int
) -> tuple[list[Case], list[Problem], dict[Path, str]]:
    """Check and convert cases.

    A case whose raw files did not change since it was converted is left as it is.

    Parameters
    ----------
    sources : list of SourceCase
        The cases.
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
    cases, problems, sha256 = [], [], {}
    for _, result in map_cases(partial(convert_case, target=target), sources, workers, "convert"):
        case, found, hashes = result
        problems += found
        sha256 |= hashes
        if case:
            cases.append(case)
    cases.sort(key=lambda case: case.case)
    failed = failed_cases(problems)
    problems.sort(key=lambda problem: (problem.case, problem.file, problem.problem))
    return [case for case in cases if case.case not in failed], problems, sha256


def remove_other_cases(sources: list[SourceCase], part: str, target: Target) -> None:
    """Remove what earlier conversions of a part left of cases that are no longer in it.

    Parameters
    ----------
    sources : list of SourceCase
        The cases of the part.
    part : {'train', 'test'}
        The part.
    target : Target
        Where they are converted to.
    """
    images, labels = (Ledger(folder) for folder in target.folders(part))
    images.prune(source.case for source in sources)
    made = "brain" in target.reading
    labels.prune(source.case for source in sources if made or source.labels is not None)


def convert_case(
    source: SourceCase, target: Target
) -> tuple[Case | None, list[Problem], dict[Path, str]]:
    """Check one case and write it in nnU-Net's raw layout; see `convert_cases`."""
    report = Report(source, target)
    sha256 = {}
    for path in source.files:
        try:
            sha256[path] = file_sha256(path)
        except FileNotFoundError:
            report.error(path, "the file is missing")
        except OSError as error:
            report.error(path, f"cannot be read ({error.strerror})")
    made = "brain" in target.reading  # the reference is the mask of the brain
    if source.split != "test" and source.labels is None and target.labels > {0} and not made:
        action = "name its label or say that it is empty, make it a test case, or exclude it"
        report.add("error", source.images[0], "the training case has no reference", action)
    if report.failed:
        return None, report.problems, sha256
    case = Case(
        case=source.case,
        patient=source.patient,
        group=source.group or source.patient,
        split="test" if source.split == "test" else "train",
        class_label=source.class_label,
        images=target.name(source.images),
        label=MADE if made else _label(source, target),
        image_sha256=_combined([sha256[path] for path in source.image_files]),
        label_sha256=_combined([sha256[path] for path in source.label_files]),
        content="",
        shape="",
        spacing_mm="",
        published_split=source.published_split,
        covariates=dict(source.covariates),
    )
    brain = brain_key([sha256[path] for path in source.image_files], target.reading) if made else ""
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
        *([brain] if made else []),
    )
    case = replace(case, content=key)
    images_folder, labels_folder = target.folders(case.split)
    images, labels = Ledger(images_folder), Ledger(labels_folder)
    facts = images.find(source.case, key)
    labelled = source.labels is not None or made
    # A problem names its file, which may have been renamed since.
    names = {target.name([path]) for path in (*source.images, *source.label_files)}
    if (
        facts is not None
        and facts.keys() >= FACTS
        and (not labelled or labels.find(source.case, key) is not None)
        and _are_as_placed(target.folder, facts.get("placed", {}), sha256)
        and {problem["file"] for problem in facts["problems"]} <= names
    ):
        problems = [Problem(**problem) for problem in facts["problems"]]
        return replace(case, **{name: facts[name] for name in FACTS}), problems, sha256

    volume = read_channels(source, target, report)
    label_map = None
    if volume is not None and labelled and not made:
        label_map = read_reference(source, target, volume, report)
    voxels = ""
    if not report.failed:
        read = volume
        voxels = ";".join(map(voxel_key, volume.array))
        for number, channel in enumerate(volume.array):
            if (channel == channel.flat[0]).all():
                text = f"all voxels of channel {number} are {channel.flat[0]:g}"
                report.add("note", source.images[0], text, "kept")
        volume, label_map = _prepare(source, target, volume, label_map, brain, report)
    if report.failed or volume is None:
        return None, report.problems, sha256

    unchanged = volume is read and not report.repaired
    files, placed = [], {}
    for number, channel in enumerate(volume.array):
        files.append(images_folder / f"{source.case}_{number:04d}{SUFFIX}")
        one_each = len(source.images) == len(volume.array)
        if one_each and unchanged and _is_ready(source.images[number]):
            place_file(source.images[number], files[-1])
            placed[files[-1]] = sha256[source.images[number]]
        else:
            write_image(files[-1], channel, volume.grid)
    if labelled:
        path = labels_folder / f"{source.case}{SUFFIX}"
        if unchanged and not report.remapped and _is_ready(*source.labels):
            place_file(source.labels[0], path)
            placed[path] = sha256[source.labels[0]]
        else:
            write_image(path, label_map, volume.grid)
        labels.enter(source.case, key, [path])
    facts = {
        "shape": " ".join(str(size) for size in volume.grid.shape),
        "spacing_mm": " ".join(f"{value:.6g}" for value in volume.grid.spacing_mm),
        "voxels": voxels,
        "orientation": orientation_of(read.grid),
        "label_voxels": _count_labels(label_map, max(target.labels)) if labelled else "",
    }
    placed = {str(path.relative_to(target.folder)): digest for path, digest in placed.items()}
    problems = [asdict(problem) for problem in report.problems]
    images.enter(source.case, key, files, **facts, placed=placed, problems=problems)
    return replace(case, **facts), report.problems, sha256


def _prepare(
    source: SourceCase,
    target: Target,
    volume: Volume,
    label_map: np.ndarray | None,
    brain: str,
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
        if "brain" in target.reading:
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


def _label(source: SourceCase, target: Target) -> str:
    return "" if source.labels is None else target.name(source.labels) or "empty"


def _count_labels(label_map: np.ndarray, largest: int) -> str:
    """Return the number of voxels of each value from 1 on, by runs of equal ones: it is faster."""
    flat = label_map.ravel()
    begins = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    lengths = np.diff(begins, append=flat.size)
    counts = np.bincount(flat[begins].astype(int), lengths, largest + 1)[1:]
    return " ".join(str(int(count)) for count in counts)


def missing_labels(cases: list[Case], labels: Labels) -> list[Problem]:
    """Report labels that no training case holds, and those that few hold.

    Parameters
    ----------
    cases : list of Case
        The training cases; those without a reference do not count.
    labels : mapping of str to int or list of int
        Value of each label, and values of each region.
    """
    held = [case.label_volumes_mm3 for case in cases if case.label]
    problems = []
    for name, values in foreground(labels).items():
        count = sum(any(value in found for value in values) for found in held)
        if not count:
            text = f"label {name!r} ({', '.join(map(str, values))}) is in no training case"
            action = "mend the label maps, say which file is a mask of it, or declare it no more"
            problems.append(Problem("", "", "error", text, action))
        elif count < max(FEW, FEW_SHARE * len(held)):
            text = f"label {name!r} is in {count} of {len(held)} training cases"
            problems.append(Problem("", "", "note", text, "kept"))
    return problems


def note_orientations(cases: list[Case], rule: str) -> list[Problem]:
    """Note that images are stored in several orientations.

    Parameters
    ----------
    cases : list of Case
        The cases of one part.
    rule : str
        Orientation that they are brought to, or ``stored``.
    """
    found = Counter(case.orientation for case in cases if case.orientation)
    if len(found) < 2:
        return []
    text = f"images are stored in {len(found)} orientations: " + ", ".join(
        f"{count} {name}" for name, count in sorted(found.items())
    )
    action = f"networks see all of them as {rule}"
    if rule == AS_STORED:
        action = "kept; reading.orientation: RAS brings them to one"
    return [Problem("", "", "note", text, action)]


def choose_reader(cases: list[Case], folder: Path, reading: dict) -> str:
    """Return the name of the nnU-Net reader that brings images to one orientation, where it can.

    It cannot with 2D images, nor with slices of 3D images that would lose z as their flat axis.

    Parameters
    ----------
    cases : list of Case
        The training cases.
    folder : Path
        Folder of the data set in nnU-Net's raw layout.
    reading : dict
        The rules of the data set.
    """
    if reading.get("orientation", AS_STORED) == AS_STORED:
        return READER
    for case in cases:
        if not case.orientation:
            return READER
        if case.shape.startswith("1 "):
            grid = read_grid(folder / "imagesTr" / f"{case.case}_0000{SUFFIX}")
            if orientation_of(grid)[2] not in "SI":
                return READER
    return REORIENTING_READER


def describe_for_nnunet(dataset: dict, cases: list[Case], folder: Path) -> dict:
    """Return ``dataset.json`` of training cases that are converted into `folder`."""
    return make_dataset_json(dataset, cases, choose_reader(cases, folder, dataset["reading"]))


def make_dataset_json(dataset: dict, cases: list[Case], reader: str = READER) -> dict:
    """Return nnU-Net's ``dataset.json`` of a data set.

    Parameters
    ----------
    dataset : dict
        Description of the data set (``config/datasets``).
    cases : list of Case
        The training cases.
    reader : str
        nnU-Net's reader; see `choose_reader`.
    """
    files = [Path(name) for case in cases for name in case.images.split(";")]
    description = {
        "channel_names": {str(number): name for number, name in enumerate(dataset["channels"])},
        "labels": dataset.get("labels", {"background": 0}),
        "numTraining": len(cases),
        "file_ending": SUFFIX,
        "overwrite_image_reader_writer": reader,
        "name": dataset["title"],
        "licence": dataset["license"],
        "reference": dataset["source"],
        # So that new images are read in the same way and compared with the training cases.
        "reading": dataset["reading"],
        "dimensions": sorted({3 if case.orientation else 2 for case in cases}),
        "formats": sorted(set(map(suffix, files))),
    }
    if "regions_class_order" in dataset:
        description["regions_class_order"] = dataset["regions_class_order"]
    return description


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


def _is_ready(*paths: Path) -> bool:
    """Say whether nnU-Net can read a file as it is, and may."""
    return len(paths) == 1 and suffix(paths[0]) == SUFFIX and is_clean(paths[0])


def _combined(digests: list[str]) -> str:
    if not digests:
        return ""
    return digests[0] if len(digests) == 1 else content_key(*digests)
