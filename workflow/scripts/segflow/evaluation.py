"""Comparison of predicted label maps with their references, case by case."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects

from segflow.content import content_key, file_sha256, read_json, write_json
from segflow.distances import surface_metrics
from segflow.images import describe_difference, read_grid, read_labels
from segflow.labels import Labels, foreground, foreground_values
from segflow.ledger import finish_cases
from segflow.lesions import LesionRule, compare_lesions
from segflow.metrics import joint_histogram, overlap

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Parameters
    ----------
    labels : dict of str to int or list of int
        Labels and regions by name, as in a data set's description; the background is left out.
    tolerances_mm : dict of str to float
        Tolerance of the normalised surface Dice of each label, which is NaN without one.
    lesions : LesionRule or None
        What counts as a lesion, and as found; None if there are no lesions.
    flat : bool
        Whether all images are 2D: areas in mm2 take the place of volumes in mL.
    """

    labels: Labels
    tolerances_mm: dict[str, float] = field(default_factory=dict)
    lesions: LesionRule | None = None
    flat: bool = False


def evaluate_case(
    reference: Path, prediction: Path, settings: Settings
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """Compare a predicted label map with its reference.

    Parameters
    ----------
    reference, prediction : Path
        The label maps.
    settings : Settings
        What is measured.

    Returns
    -------
    metrics : dict of str to dict
        The metrics of each label or region; see `segflow.metrics.overlap`,
        `segflow.distances.surface_metrics` and, for labels that are lesions,
        `segflow.lesions.lesion_metrics`.
    lesions : list of dict
        One row for each lesion; see `segflow.lesions.compare_lesions`.

    Raises
    ------
    ValueError
        If the grids differ, a file is missing or damaged, or a label is not declared.
    """
    truth, grid = read_labels(reference)
    guess, other = read_labels(prediction)
    if difference := describe_difference(grid, other)[0]:
        raise ValueError(f"{prediction}: differs from its reference {reference} in {difference}")
    declared = [0, *foreground_values(settings.labels)]
    try:
        histogram = joint_histogram(truth, guess, declared[-1] + 1)
    except ValueError as error:
        raise ValueError(f"{prediction}: {error}") from None
    for value in sorted(set(range(len(histogram))) - set(declared)):
        if histogram[value].any() or histogram[:, value].any():
            raise ValueError(f"{prediction}: it or its reference holds undeclared label {value}")
    maps = _crop(truth, guess, np.min_scalar_type(declared[-1]))
    del truth, guess
    boxes = [find_objects(label_map, declared[-1]) for label_map in maps]
    voxel_mm3 = float(np.prod(grid.spacing_mm[1:] if settings.flat else grid.spacing_mm))
    metrics, lesions = {}, []
    for name, members in foreground(settings.labels).items():
        box = _join([found[value - 1] for found in boxes for value in members])
        masks = [_mask(label_map[box], members) for label_map in maps]
        size = voxel_mm3 if settings.flat else voxel_mm3 / 1000
        metrics[name] = {
            **overlap(histogram, members, size, settings.flat),
            **surface_metrics(*masks, grid.spacing_mm, settings.tolerances_mm.get(name)),
        }
        if settings.lesions and name in settings.lesions.labels:
            found, rows = compare_lesions(*masks, voxel_mm3, settings.lesions, settings.flat)
            metrics[name] |= found
            lesions += [{"label": name, **row} for row in rows]
    return metrics, lesions


def _crop(truth: np.ndarray, guess: np.ndarray, dtype: np.dtype) -> list[np.ndarray]:
    """Cut the box around all labels of both maps from them, in the smallest type."""
    columns = truth.any(0) | guess.any(0)
    y, x = _extent(columns.any(1)), _extent(columns.any(0))
    z = _extent(truth[:, y, x].any((1, 2)) | guess[:, y, x].any((1, 2)))
    return [label_map[z, y, x].astype(dtype) for label_map in (truth, guess)]


def _extent(line: np.ndarray) -> slice:
    """Return the slice from the first to the last that is true."""
    found = np.flatnonzero(line)
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _join(boxes: list[Box | None]) -> Box:
    """Return the smallest box around some boxes; an empty one if there are none."""
    sides = zip(*(box for box in boxes if box is not None), strict=True)
    joined = [slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides]
    return tuple(joined) if joined else (slice(0, 0),) * 3


def _mask(label_map: np.ndarray, members: list[int]) -> np.ndarray:
    mask = label_map == members[0]
    for value in members[1:]:
        mask |= label_map == value
    return mask


@dataclass(frozen=True)
class Comparison:
    """A reference, a prediction, and the columns that tell them from others in a table."""

    reference: Path
    prediction: Path
    about: dict[str, str | int]


def check_comparisons(comparisons: Iterable[Comparison]) -> None:
    """Refuse missing files and grids that differ, from headers alone.

    Raises
    ------
    FileNotFoundError
        If a reference or prediction is missing.
    ValueError
        If a file cannot be read, or reference and prediction lie on different grids.
    """
    for one in comparisons:
        for what, path in (("reference", one.reference), ("prediction", one.prediction)):
            if not path.exists():
                raise FileNotFoundError(f"{path}: the {what} of this case is missing")
        difference, _ = describe_difference(read_grid(one.reference), read_grid(one.prediction))
        if difference:
            raise ValueError(
                f"{one.prediction}: differs from its reference {one.reference} in {difference}"
            )


def evaluate_cases(
    comparisons: Iterable[Comparison], settings: Settings, code: str, folder: Path, workers: int
) -> tuple[list[dict], list[dict]]:
    """Evaluate many label maps; see `evaluate_case`. Finished cases are kept.

    Label maps of the same content, as post-processing leaves many, are evaluated once.

    Parameters
    ----------
    comparisons : iterable of Comparison
        What to compare.
    settings : Settings
        What is measured.
    code : str
        Key of the code that measures.
    folder : Path
        Where the results of each case are kept, named by the content that they were made from.
    workers : int
        Number of processes.

    Returns
    -------
    metrics : list of dict
        One row for each comparison and label, in the order of the comparisons.
    lesions : list of dict
        One row for each comparison and lesion.
    """
    comparisons = list(comparisons)
    check_comparisons(comparisons)
    references = {one.reference for one in comparisons}
    hashes = {path: file_sha256(path) for path in references}
    made_from = [code, asdict(settings)]
    keys = [
        content_key(made_from, hashes[one.reference], file_sha256(one.prediction))
        for one in comparisons
    ]
    items = {key: one for key, one in zip(keys, comparisons, strict=True)}
    work = partial(_evaluate, settings=settings, folder=folder)
    finish_cases(folder, {key: key for key in items}, items, work, workers, "evaluate")
    metrics, lesions = [], []
    for key, one in zip(keys, comparisons, strict=True):
        found = read_json(folder / f"{key}.json")
        metrics += [{**one.about, "label": label, **row} for label, row in found["metrics"].items()]
        lesions += [{**one.about, **row} for row in found["lesions"]]
    return metrics, lesions


def _evaluate(item: tuple[str, Comparison], settings: Settings, folder: Path) -> list[Path]:
    key, one = item
    metrics, lesions = evaluate_case(one.reference, one.prediction, settings)
    path = folder / f"{key}.json"
    write_json(path, {"metrics": metrics, "lesions": lesions})
    return [path]
