"""Conversion of a published data set to nnU-Net's raw layout, with a check of every file."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from segflow.datasets.problems import failed_cases
from segflow.datasets.sources import Problem, SourceCase
from segflow.files.cases import Case
from segflow.files.content import content_key, file_sha256, place_file
from segflow.files.labels import Labels, foreground
from segflow.files.ledger import Ledger
from segflow.files.suffixes import suffix
from segflow.files.words import counted
from segflow.images.identity import voxel_key
from segflow.images.nifti import SUFFIX, Grid, describe_difference, read_grid, write_image
from segflow.images.orientation import (
    orientation_of,
    reorient,
    reorient_grid,
    with_flat_axis_last,
)
from segflow.images.preparation import drop_blank_slices, prepare_mammogram
from segflow.images.raw_files import Volume, is_clean, knows_its_grid, read_label_map, read_volume
from segflow.images.resampling import resample
from segflow.images.segments import HALF, SegmentRule, is_segmentation, read_segments
from segflow.jobs.workers import map_cases

PROCEDURE = 1  # move it when converted files would differ
READER, REORIENTING_READER = "SimpleITKIO", "SimpleITKIOWithReorient"  # of nnU-Net
AS_STORED = "stored"  # what an orientation that is not given has always meant
STATED = {"spacing_mm": [1, 1, 1]}  # what a description that is silent has always meant
FEW, FEW_SHARE = 5, 0.05  # training cases with a label: fewer are worth a note
# What the table of cases holds of a converted case.
FACTS = {"shape", "spacing_mm", "voxels", "label_voxels", "orientation"}
WHOLE_TOLERANCE = 1e-3  # of label values that were stored as inexact floats


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
    reading : dict
        How files are read (``reading`` in the data set's description).
    """

    raw: Path
    folder: Path
    n_channels: int
    labels: frozenset[int]
    reading: dict

    def folders(self, split: str) -> tuple[Path, Path]:
        """Return nnU-Net's folders of images and labels of a split."""
        part = "Ts" if split == "test" else "Tr"
        return self.folder / f"images{part}", self.folder / f"labels{part}"

    def name(self, paths: Iterable[Path]) -> str:
        """Return the names of raw files, relative to the raw folder."""
        return ";".join(str(path.relative_to(self.raw)) for path in paths)


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
    labels.prune(source.case for source in sources if source.labels is not None)


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
    if source.split != "test" and source.labels is None and target.labels > {0}:
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
        label="" if source.labels is None else target.name(source.labels) or "empty",
        image_sha256=_combined([sha256[path] for path in source.image_files]),
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
    )
    case = replace(case, content=key)
    images_folder, labels_folder = target.folders(case.split)
    images, labels = Ledger(images_folder), Ledger(labels_folder)
    facts = images.find(source.case, key)
    labelled = source.labels is not None
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

    volume = _read_channels(source, target, report)
    label_map = None
    if volume is not None and labelled:
        label_map = _read_reference(source, target, volume, report)
    voxels = ""
    if not report.failed:
        read = volume
        voxels = ";".join(map(voxel_key, volume.array))
        for number, channel in enumerate(volume.array):
            if (channel == channel.flat[0]).all():
                text = f"all voxels of channel {number} are {channel.flat[0]:g}"
                report.add("note", source.images[0], text, "kept")
        volume, label_map = _prepare(source, target, volume, label_map, report)
    if report.failed:
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


class Report:
    """What is found while one case is converted.

    Parameters
    ----------
    source : SourceCase
        The case.
    target : Target
        Where the raw files are.

    Attributes
    ----------
    problems : list of Problem
        Everything so far.
    remapped : bool
        Whether the reference holds other values than its file.
    """

    def __init__(self, source: SourceCase, target: Target):
        self.case, self.target = source.case, target
        self.problems: list[Problem] = []
        self.remapped = False

    def add(self, severity: str, path: Path, problem: str, action: str) -> None:
        """Add a problem of a file."""
        name = self.target.name([path])
        self.problems.append(Problem(self.case, name, severity, problem, action))

    def error(self, path: Path, problem: str | ValueError) -> None:
        """Add something that stops the conversion; the names of file and folder are said once."""
        text = str(problem).removeprefix(f"{path}: ").removeprefix(f"{path}/")
        self.add("error", path, text, "mend or replace the file")

    @property
    def failed(self) -> bool:
        """Whether the case cannot be converted."""
        return any(problem.severity == "error" for problem in self.problems)

    @property
    def repaired(self) -> bool:
        """Whether the raw files cannot be taken over as they are."""
        return any(problem.severity == "repaired" for problem in self.problems)


def _read_channels(source: SourceCase, target: Target, report: Report) -> Volume | None:
    """Read the channels of a case into one image, on the grid of the first or of the label."""
    volumes: list[Volume] = []
    grid, where, first = None, "channel 0", source.images[0]
    if target.reading.get("grid") == "label" and source.labels:
        where, first = "its label", source.labels[0]
        try:
            grid = _grid_of_label(first, target)
        except ValueError as error:
            report.error(first, error)
            return None
    for path in source.images:
        try:
            volume = read_volume(path, target.reading)
        except ValueError as error:
            report.error(path, error)
            continue
        for repair in volume.repairs:
            report.add("repaired", path, repair, "converted")
        if n_bad := _n_not_finite(volume.array):
            text = f"NaN or infinite in {counted(n_bad, 'voxel')}"
            value = target.reading.get("not_finite")
            if value is None:
                action = "mend or replace the file, or state reading.not_finite"
                report.add("error", path, text, action)
                continue
            kept = np.isfinite(volume.array)
            volume = replace(
                volume, array=np.where(kept, volume.array, volume.array.dtype.type(value))
            )
            report.add("repaired", path, text, f"became {value:g}")
        if grid is None:
            grid = volume.grid
        mismatch, rounding = describe_difference(grid, volume.grid)
        alike = len(grid.origin_mm) == len(volume.grid.origin_mm)
        text = f"differs from {where} in {mismatch}; the first values are those of {first.name}"
        if mismatch and alike and "grid" in target.reading:
            volume = resample(volume, grid)
            report.add("repaired", path, text, f"resampled linearly to the grid of {where}")
        elif mismatch:
            action = "put all on one grid, or state reading.grid, which resamples images"
            report.add("error", path, text, action)
        elif not alike:
            text = f"differs from {where} in {rounding}"
            report.add("repaired", path, text, f"took the header of {where}")
        volumes.append(volume)
    if report.failed:
        return None
    arrays = [volume.array for volume in volumes]
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    if len(array) != target.n_channels:
        problem = f"{counted(len(array), 'channel')}, but the data set declares {target.n_channels}"
        report.error(source.images[0], problem)
        return None
    return replace(volumes[0], array=array, grid=grid)


def _grid_of_label(path: Path, target: Target) -> Grid:
    """Return the grid of a label map, to which images are resampled."""
    if not knows_its_grid(path) or is_segmentation(path):
        raise ValueError(f"{path}: reading.grid is label, but a file of this kind knows no grid")
    return read_volume(path, target.reading).grid


def _read_reference(
    source: SourceCase, target: Target, volume: Volume, report: Report
) -> np.ndarray | None:
    """Read the reference of a case, of shape (z, y, x), and compare the others with it."""
    reference = np.zeros(volume.grid.shape, np.uint8 if max(target.labels) < 256 else np.uint16)
    masked = source.mask_values or [None] * len(source.labels)
    for path, value in zip(source.labels, masked, strict=True):
        values = _read_values(path, source, target, volume, report, value)
        if values is None:
            continue
        clash = (reference != 0) & (values != 0) & (reference != values)
        if clash.any():
            n_voxels = counted(int(clash.sum()), "voxel")
            report.error(path, f"another file has another label in {n_voxels}")
        np.maximum(reference, values, out=reference, casting="unsafe")
    if report.failed:
        return None
    if source.labels and not reference.any():
        report.add("note", source.labels[0], "the label map is empty", "kept")
    for path in source.other_labels:
        values = _read_values(path, source, target, volume, report)
        if values is not None and (n_different := int((values != reference).sum())):
            text = f"differs from the reference in {counted(n_different, 'voxel')}"
            report.add("note", path, text, f"took {target.name(source.labels)}")
    return reference


def _read_values(
    path: Path,
    source: SourceCase,
    target: Target,
    volume: Volume,
    report: Report,
    masked: int | None = None,
) -> np.ndarray | None:
    """Read one label map, of shape (z, y, x), as the values that the data set declares.

    A mask of the label `masked` alone gives its value, whatever value the file marks it by.
    """
    try:
        if is_segmentation(path):
            return _read_segments(path, source, target, volume, report, masked)
        found = read_label_map(path, volume.grid.shape, target.reading)
    except ValueError as error:
        report.error(path, error)
        return None
    for repair in found.repairs:
        report.add("repaired", path, repair, "converted")
    # A format without a grid takes that of the image, and only has to have its shape.
    same = replace(volume.grid, shape=found.grid.shape)
    grid = found.grid if knows_its_grid(path) else same
    mismatch, rounding = describe_difference(volume.grid, grid)
    if mismatch:
        report.error(path, f"differs from its image in {mismatch}")
    if rounding:
        text = f"differs from its image by rounding in {rounding}"
        report.add("repaired", path, text, "took the image's header")
    values = found.array[0]
    if n_bad := _n_not_finite(values):
        report.error(path, f"NaN or infinite in {counted(n_bad, 'voxel')}")
        return None
    if masked is None:
        values = _declared(values, path, target, report)
    else:
        values = _masked(values, masked, path, target, report)
    return None if mismatch else values


def _read_segments(
    path: Path,
    source: SourceCase,
    target: Target,
    volume: Volume,
    report: Report,
    masked: int | None,
) -> np.ndarray | None:
    """Read a DICOM object of segments; see `_read_values`."""
    report.remapped = True
    known = SegmentRule(
        source.segment_values,
        target.reading["label_values"],
        target.labels,
        masked,
        target.reading.get("label_threshold", HALF),
    )
    values, notes = read_segments(path, volume.grid, volume.frame_of_reference, known)
    for note in notes:
        report.add("note", path, note, "left out")
    return values


def _masked(
    values: np.ndarray, label: int, path: Path, target: Target, report: Report
) -> np.ndarray | None:
    """Return a mask of one label with the value of this label."""
    report.remapped = True
    threshold = target.reading.get("label_threshold")
    if threshold is None and len(found := _distinct(values[values != 0])) > 1:
        shown = ", ".join(f"{value:g}" for value in found[:5])
        text = f"a mask of one label holds 0 and one other value, found {shown}"
        report.error(path, text)
        return None
    inside = values != 0 if threshold is None else values > threshold
    return np.where(inside, label, 0).astype(np.uint16)


def _declared(values: np.ndarray, path: Path, target: Target, report: Report) -> np.ndarray | None:
    """Return the values of a label map as integers that the data set declares, if they can be."""
    if "label_threshold" in target.reading:
        report.remapped = True
        return (values > target.reading["label_threshold"]).astype(np.uint8)
    found = _distinct(values)
    whole = np.rint(found)
    inexact = np.abs(found - whole).max()
    if np.issubdtype(values.dtype, np.floating) and inexact < WHOLE_TOLERANCE:
        report.remapped = True
        if inexact:
            text = f"label values are inexact, by at most {inexact:.1g}"
            report.add("repaired", path, text, "rounded")
            values, found = np.rint(values), np.unique(whole)
    mapping = target.reading["label_values"]
    known = {value: mapping.get(f"{value:g}", value) for value in found.tolist()}
    wrong = [value for value, label in known.items() if label not in target.labels]
    if wrong:
        shown = ", ".join(f"{value:g}" for value in wrong[:5])
        allowed = ", ".join(dict.fromkeys([*map(str, sorted(target.labels)), *mapping]))
        report.error(path, f"label values {shown} are not declared (allowed: {allowed})")
        return None
    if not mapping:
        return values
    report.remapped = True
    return np.array(list(known.values()))[np.searchsorted(found, values)]


def _prepare(
    source: SourceCase,
    target: Target,
    volume: Volume,
    label_map: np.ndarray | None,
    report: Report,
) -> tuple[Volume, np.ndarray | None]:
    """Change image and reference as the data set's description asks."""
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
        if "mammography" in target.reading:
            laterality = source.covariates.get("laterality", "")
            options = target.reading["mammography"]
            volume, label_map, notes = prepare_mammogram(volume, label_map, options, laterality)
            for note in notes:
                report.add("note", path, note, "kept")
    except ValueError as error:
        report.error(path, error)
    return volume, label_map


def _count_labels(label_map: np.ndarray, largest: int) -> str:
    """Return the number of voxels of each value from 1 on; by runs, as in `_distinct`."""
    flat = label_map.ravel()
    begins = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    lengths = np.diff(begins, append=flat.size)
    counts = np.bincount(flat[begins].astype(int), lengths, largest + 1)[1:]
    return " ".join(str(int(count)) for count in counts)


def _distinct(values: np.ndarray) -> np.ndarray:
    """Return the sorted distinct values of a label map, which is faster by runs of equal ones."""
    flat = values.ravel()
    begins = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.unique(np.append(flat[begins], flat[:1]))


def _n_not_finite(array: np.ndarray) -> int:
    """Return the number of values that are NaN or infinite."""
    if not np.issubdtype(array.dtype, np.floating):
        return 0
    return int(array.size - np.count_nonzero(np.isfinite(array)))


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
