"""What the probabilities of a predictor are worth, measured while they are there.

One pass over the tiles of a case serves calibration and the candidates of FROC alike. A label's
probabilities are counted by their 12-bit level, from which all else is computed, so nothing of the
size of an image is held but label maps, and nothing is read twice.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from segflow.evaluation.calibration import DOMAINS, measure_calibration, near_label, surroundings
from segflow.evaluation.candidates import CandidateRule, find_candidates
from segflow.evaluation.lesions import LesionRule
from segflow.files.code import module_key
from segflow.files.content import content_key, file_sha256, read_json, write_json
from segflow.files.labels import Labels, blank_ignored, foreground, ignored_value
from segflow.images.nifti import describe_difference, read_labels
from segflow.images.probabilities import LEVELS, Probabilities, tile_boxes
from segflow.images.sizes import at_least, voxel_size
from segflow.jobs.workers import finish_cases
from segflow.predictors.ensembling import Member, check_members, in_order, weighted_sums


@dataclass(frozen=True)
class ProbabilitySettings:
    """What is measured.

    Parameters
    ----------
    labels : dict of str to int or list of int
        Labels and regions that the networks predict, as in a data set's description.
    evaluated_regions : dict of str to list of int
        Unions of labels. Only networks of classes know their probability, the sum over the labels.
    regions_class_order : list of int or None
        See `segflow.predictors.ensembling.label_map_of`.
    margin_mm : float or None
        See `segflow.evaluation.calibration.near_label`. Without it no calibration is measured.
    candidates : CandidateRule or None
        What is a candidate. Without it there are none.
    lesions : LesionRule or None
        What counts as a lesion, and as found; goes with `candidates`.
    flat : bool
        Whether all images are 2D, and sizes of candidates are areas.
    """

    labels: Labels
    evaluated_regions: dict[str, list[int]]
    regions_class_order: list[int] | None
    margin_mm: float | None
    candidates: CandidateRule | None
    lesions: LesionRule | None
    flat: bool = False


@dataclass(frozen=True)
class PredictedCase:
    """The members of a case, its reference, its label map, and what tells it in a table."""

    members: list[Member]
    reference: Path
    prediction: Path
    about: dict[str, str | int]


def measure_cases(
    cases: list[PredictedCase], settings: ProbabilitySettings, folder: Path, workers: int
) -> dict[str, list[dict]]:
    """Measure the probabilities of many cases; see `measure_case`. Finished cases are kept.

    Parameters
    ----------
    cases : list of PredictedCase
        The cases.
    settings : ProbabilitySettings
        What is measured.
    folder : Path
        Where the results of each case are kept, named by the content that they were made from.
    workers : int
        Number of processes.

    Returns
    -------
    dict of str to list of dict
        The rows of each table, in the order of the cases.
    """
    made_from = [module_key("predictors.probability_measures"), asdict(settings)]
    keys = [
        content_key(
            made_from,
            [[key, weight] for _, weight, key in one.members],
            file_sha256(one.reference),
            file_sha256(one.prediction),
        )
        for one in cases
    ]
    items = dict(zip(keys, cases, strict=True))
    work = partial(_measure, settings=settings, folder=folder)
    finish_cases(folder, {key: key for key in items}, items, work, workers, "measure")
    tables: dict[str, list[dict]] = {"calibration": [], "reliability": [], "candidates": []}
    for key, one in zip(keys, cases, strict=True):
        for name, rows in read_json(folder / f"{key}.json").items():
            tables[name] += [{**one.about, **row} for row in rows]
    return tables


def _measure(
    item: tuple[str, PredictedCase], settings: ProbabilitySettings, folder: Path
) -> list[Path]:
    key, one = item
    path = folder / f"{key}.json"
    write_json(path, measure_case(one.members, one.reference, one.prediction, settings))
    return [path]


def measure_case(
    members: list[Member], reference: Path, prediction: Path, settings: ProbabilitySettings
) -> dict[str, list[dict]]:
    """Measure the mean probabilities of the members of a case.

    Voxels that the reference does not annotate count nowhere. A mean is rounded to the levels in
    which probabilities are stored.

    Parameters
    ----------
    members : list of (Path, float, str)
        See `segflow.predictors.ensembling.gather_members`.
    reference, prediction : Path
        The reference, and the label map that the members make.
    settings : ProbabilitySettings
        What is measured.

    Returns
    -------
    dict of str to list of dict
        ``calibration`` and ``reliability``, see
        `segflow.evaluation.calibration.measure_calibration`, for each label and domain, and
        ``candidates``, see `segflow.evaluation.candidates.find_candidates`, for each label of
        lesions.

    Raises
    ------
    ValueError
        If the members do not fit together, or the reference lies on another grid.
    """
    truth, grid = read_labels(reference)
    guess, other = read_labels(prediction)
    if difference := describe_difference(grid, other)[0]:
        raise ValueError(f"{prediction}: differs from its reference {reference} in {difference}")
    paths, weights, _ = zip(*in_order(members), strict=True)
    opened = check_members(list(paths), list(weights), settings.regions_class_order)
    if (found := opened[0].levels.shape[1:]) != truth.shape:
        raise ValueError(f"{paths[0]}: {found} voxels, but {reference} has {truth.shape}")
    unknown = truth == ignored_value(settings.labels)
    blank_ignored(settings.labels, truth, guess)
    values = foreground({**settings.labels, **settings.evaluated_regions})
    channels = _channels(settings, opened[0].with_background)
    counts = {name: np.zeros((2, 2, LEVELS + 1), np.int64) for name in channels}
    lesions = settings.lesions.labels if settings.candidates and settings.lesions else ()
    likely: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in lesions}
    for place, box in tile_boxes(truth.shape):
        levels = _mean_levels(opened, list(weights), place, box)
        level_of = {name: np.minimum(levels[own].sum(0), LEVELS) for name, own in channels.items()}
        known = ~unknown[box]
        if settings.margin_mm is not None:
            around, inside = surroundings(box, grid.spacing_mm, settings.margin_mm)
            parts = truth[around], guess[around]
            present = {value for part in parts for value in np.flatnonzero(np.bincount(part.flat))}
            for name, level in level_of.items():
                if present.isdisjoint(values[name]) and not level.any():
                    counts[name][0, 0, 0] += known.sum()
                    continue
                actual, predicted = (np.isin(part, values[name]) for part in parts)
                near = near_label(actual | predicted, grid.spacing_mm, settings.margin_mm)
                counts[name] += _count(level, actual[inside], near[inside], known)
        for name in lesions:
            likely[name].append(_likely(level_of[name], known, box, truth.shape, settings))
    tables: dict[str, list[dict]] = {"calibration": [], "reliability": [], "candidates": []}
    for name, found in counts.items() if settings.margin_mm is not None else ():
        for domain, part in zip(DOMAINS, (found[1], found.sum(0)), strict=True):
            measures, bins = measure_calibration(part)
            about = {"label": name, "domain": domain}
            tables["calibration"].append({**about, **measures})
            tables["reliability"] += [{**about, **row} for row in bins]
    size = voxel_size(grid)
    thickness_mm = 1.0 if settings.flat else float(np.prod(grid.spacing_mm)) / size
    for name, parts in likely.items():
        rows = find_candidates(
            np.isin(truth, values[name]),
            *map(np.concatenate, zip(*parts, strict=True)),
            size,
            settings.lesions,
            settings.candidates.score,
            settings.flat,
            thickness_mm,
        )
        tables["candidates"] += [{"label": name, **row} for row in rows]
    return tables


def _count(
    level: np.ndarray, actual: np.ndarray, near: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Return voxels by whether they are near, belong to the label, and by their level."""
    codes = level + (LEVELS + 1) * (actual + 2 * near)
    return np.bincount(codes[known], minlength=4 * (LEVELS + 1)).reshape(2, 2, LEVELS + 1)


def _likely(
    level: np.ndarray,
    known: np.ndarray,
    box: tuple[slice, ...],
    shape: tuple[int, ...],
    settings: ProbabilitySettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Return flat indices and probabilities of the voxels of a tile that candidates consist of."""
    chosen = known & at_least(level, settings.candidates.threshold * LEVELS)
    where = zip(np.nonzero(chosen), box, strict=True)
    places = np.ravel_multi_index(tuple(axis + part.start for axis, part in where), shape)
    return places, level[chosen] / LEVELS


def _channels(settings: ProbabilitySettings, of_classes: bool) -> dict[str, list[int]]:
    """Return the channels whose sum is the probability of each label."""
    labels = foreground(settings.labels)
    if not of_classes:
        return {name: [number] for number, name in enumerate(labels)}
    return {
        name: [value - 1 for value in values]
        for name, values in (labels | settings.evaluated_regions).items()
    }


def _mean_levels(
    members: list[Probabilities],
    weights: list[float],
    place: tuple[int, ...],
    box: tuple[slice, ...],
) -> np.ndarray:
    """Return the weighted mean levels of a tile, of shape (class or region, z, y, x)."""
    if not any(member.peaks[place] for member in members):
        shape = (members[0].levels.shape[0], *(axis.stop - axis.start for axis in box))
        return np.zeros(shape, np.intp)
    sums = weighted_sums(members, weights, box)
    return np.rint(sums / np.float32(sum(weights))).astype(np.intp)
