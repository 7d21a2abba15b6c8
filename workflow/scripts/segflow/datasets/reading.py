"""The files of one case, read into one image and one reference; what is found is reported."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segflow.datasets.sources import Problem, SourceCase
from segflow.files.words import counted
from segflow.images.nifti import describe_difference
from segflow.images.raw_files import Volume, knows_its_grid, read_label_map, read_volume
from segflow.images.resampling import resample
from segflow.images.segments import HALF, SegmentRule, find_segments, read_segments

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
    brains : Path or None
        Where normalised brains are kept, if ``reading.brain`` asks for them.
    """

    raw: Path
    folder: Path
    n_channels: int
    labels: frozenset[int]
    reading: dict
    brains: Path | None = None

    def folders(self, split: str) -> tuple[Path, Path]:
        """Return nnU-Net's folders of images and labels of a split."""
        part = "Ts" if split == "test" else "Tr"
        return self.folder / f"images{part}", self.folder / f"labels{part}"

    def name(self, paths: Iterable[Path]) -> str:
        """Return the names of raw files, relative to the raw folder."""
        return ";".join(str(path.relative_to(self.raw)) for path in paths)


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


def read_channels(source: SourceCase, target: Target, report: Report) -> Volume | None:
    """Read the channels of a case into one image, on the grid of the first or of the label.

    None if `report` has an error.
    """
    read = {path: _read_channel(path, target, report) for path in source.images}
    found = {path: volume for path, volume in read.items() if volume is not None}
    if not found:
        return None
    try:
        model, where, first = _grid_giver(source, target, found)
    except ValueError as error:
        report.error(source.labels[0], error)
        return None
    volumes = []
    for path, volume in found.items():
        mismatch, rounding = describe_difference(model.grid, volume.grid)
        alike = len(model.grid.origin_mm) == len(volume.grid.origin_mm)
        text = f"differs from {where} in {mismatch}; the first values are those of {first.name}"
        if mismatch and alike and "grid" in target.reading:
            volume = resample(volume, model.grid)
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
    return replace(
        volumes[0],
        array=array,
        grid=model.grid,
        place=model.place,
        frame_of_reference=model.frame_of_reference,
    )


def _read_channel(path: Path, target: Target, report: Report) -> Volume | None:
    """Read one file of an image."""
    try:
        volume = read_volume(path, target.reading)
    except ValueError as error:
        report.error(path, error)
        return None
    for repair in volume.repairs:
        report.add("repaired", path, repair, "converted")
    if not (n_bad := _n_not_finite(volume.array)):
        return volume
    text = f"NaN or infinite in {counted(n_bad, 'voxel')}"
    value = target.reading.get("not_finite")
    if value is None:
        report.add("error", path, text, "mend or replace the file, or state reading.not_finite")
        return None
    kept = np.isfinite(volume.array)
    report.add("repaired", path, text, f"became {value:g}")
    return replace(volume, array=np.where(kept, volume.array, volume.array.dtype.type(value)))


def _grid_giver(
    source: SourceCase, target: Target, channels: dict[Path, Volume]
) -> tuple[Volume, str, Path]:
    """Return the image on whose grid all others are put, what it is, and its file.

    Segments have no grid of their own: the channel on which they can be drawn has it.

    Raises
    ------
    ValueError
        If it is to be that of a label which has none.
    """
    path, volume = next(iter(channels.items()))
    if target.reading.get("grid") != "label" or not source.labels:
        return volume, "channel 0", source.images[0]
    label = source.labels[0]
    segments = find_segments(label)
    if segments is None:
        if not knows_its_grid(label):
            raise ValueError(
                f"{label}: reading.grid is label, but a file of this kind knows no grid"
            )
        return read_volume(label, target.reading), "its label", label
    rule = _segment_rule(source, target, next(iter(source.mask_values), None))
    errors = []
    for number, (path, volume) in enumerate(channels.items()):
        try:
            _draw(segments, volume, rule)
        except ValueError as error:
            errors.append(error)
        else:
            return volume, f"channel {number}", path
    raise errors[0]


def read_reference(
    source: SourceCase, target: Target, volume: Volume, report: Report
) -> np.ndarray | None:
    """Read the reference of a case, of shape (z, y, x), and compare the others with it.

    None if `report` has an error.
    """
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
        if (segments := find_segments(path)) is not None:
            report.remapped = True
            values, notes = _draw(segments, volume, _segment_rule(source, target, masked))
            for note in notes:
                report.add("note", segments, note, "left out")
            return values
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


def _segment_rule(source: SourceCase, target: Target, masked: int | None) -> SegmentRule:
    """Return which label a segment of a case's file is; see `_read_values` for `masked`."""
    return SegmentRule(
        source.segment_values,
        target.reading["label_values"],
        target.labels,
        masked,
        target.reading.get("label_threshold", HALF),
    )


def _draw(path: Path, volume: Volume, rule: SegmentRule) -> tuple[np.ndarray, list[str]]:
    """Draw the segments of a DICOM object on an image."""
    return read_segments(path, volume.place or volume.grid, volume.frame_of_reference, rule)


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
