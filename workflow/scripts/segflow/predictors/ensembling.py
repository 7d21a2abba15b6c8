"""Label maps from the probabilities of any number of members."""

import math
from functools import partial
from pathlib import Path

import numpy as np

from segflow.files.content import content_key
from segflow.files.ledger import Ledger
from segflow.files.manifests import read_manifest
from segflow.files.words import counted
from segflow.images.nifti import SUFFIX, read_grid, write_image
from segflow.images.probabilities import LEVELS, Probabilities, open_probabilities, tile_boxes
from segflow.jobs.workers import finish_cases

Member = tuple[Path, float, str]  # file of probabilities, weight, key of its content


def gather_members(
    tables: list[tuple[Path, str, int, float]], folds: list[dict] | None
) -> dict[str, list[Member]]:
    """Find the members of every case.

    Parameters
    ----------
    tables : list of (Path, str, int, float)
        Tables of predicted cases, with the model, the fold, and the weight of each.
    folds : list of dict or None
        The ``train`` and ``val`` cases of each fold, for validation cases, which are predicted
        by the networks that were not trained on them. None for test cases, which all predict.

    Returns
    -------
    dict of str to list of (Path, float, str)
        For each case the members' probabilities, weights and keys.

    Raises
    ------
    ValueError
        If a case is missing in a table, or a member was trained on it.
    """
    predicted = {path: read_manifest(path) for path, *_ in tables}
    groups: dict[int | None, list[tuple[Path, str, int, float]]] = {}
    for table in tables:
        groups.setdefault(table[2] if folds else None, []).append(table)
    members: dict[str, list[Member]] = {}
    for group in groups.values():
        wanted = sorted({case for path, *_ in group for case in predicted[path]})
        for path, model, fold, weight in group:
            if missing := [case for case in wanted if case not in predicted[path]]:
                raise ValueError(
                    f"{path}: {model}, fold {fold}, has no prediction of {', '.join(missing)}, "
                    "which other members have"
                )
            trained = set(folds[fold]["train"]) if folds else set()
            if seen := [case for case in wanted if case in trained]:
                raise ValueError(
                    f"{path}: {model}, fold {fold}, was trained on {', '.join(seen)}; validation "
                    "cases need members that were not"
                )
            for case, key in predicted[path].items():
                file = path.with_suffix("") / f"{case}.b2nd"
                members.setdefault(case, []).append((file, weight, key))
    return members


def in_order(members: list[Member]) -> list[Member]:
    """Return members in the order that decides about the last bit of their sums."""
    return sorted(members, key=lambda member: (member[2], member[1]))


def check_members(
    paths: list[Path], weights: list[float], regions_class_order: list[int] | None
) -> list[Probabilities]:
    """Open the members of a case and check that they can be averaged; see `label_map_of`.

    Only headers are read.

    Raises
    ------
    ValueError
        If a file is missing or damaged, members differ in shape or kind, a weight is missing or
        not positive, or the number of regions is another one.
    """
    if len(weights) != len(paths):
        raise ValueError(f"{paths[0]}: {counted(len(paths), 'member')}, but weights {weights}")
    if not all(0 < weight < math.inf for weight in weights):
        raise ValueError(f"{paths[0]}: weights must be positive numbers, found {weights}")
    members = [open_probabilities(path) for path in paths]
    first = members[0]
    for member in members:
        one, other = member.levels.shape, first.levels.shape
        if member.with_background != first.with_background:
            raise ValueError(
                f"{member.path}: classes and regions cannot be averaged with {first.path}"
            )
        if one != other:
            raise ValueError(f"{member.path}: shape {one}, but {first.path} has {other}")
    n_regions = 0 if first.with_background else first.levels.shape[0]
    if len(regions_class_order or []) != n_regions:
        raise ValueError(
            f"{first.path}: {n_regions} regions, but regions_class_order is {regions_class_order}"
        )
    return members


def label_map_of(
    paths: list[Path], weights: list[float], regions_class_order: list[int] | None
) -> np.ndarray:
    """Return the label map of the members' mean probabilities.

    Classes take the label of the largest mean, the lowest of equal ones. Regions are painted over
    each other in the given order wherever their mean exceeds one half. That is nnU-Net's rule;
    other labels than its own come only from means that differ by less than the rounding of the
    stored probabilities. Sums are of levels, without rounding if the weights are integers. A tile
    of voxels is held at a time, whatever the number of members.

    Parameters
    ----------
    paths : list of Path
        Files of probabilities, at least one.
    weights : list of float
        Weight of each member, above 0; their sum need not be 1.
    regions_class_order : list of int or None
        Label that each region paints; None for classes.

    Returns
    -------
    ndarray of uint8 or uint16
        Of shape (z, y, x).

    Raises
    ------
    ValueError
        See `check_members`.
    """
    members = check_members(paths, weights, regions_class_order)
    if len(set(weights)) == 1:
        weights = [1.0] * len(weights)
    labels = regions_class_order or range(1, members[0].levels.shape[0] + 1)
    label_map = np.zeros(members[0].levels.shape[1:], np.min_scalar_type(max(labels)))
    total = LEVELS * sum(weights)
    for place, box in tile_boxes(label_map.shape):
        # Foreground needs more than half of all levels, and most tiles have less. What is added
        # stands for the rounding of sums.
        peak = sum(
            weight * member.peaks[place] for member, weight in zip(members, weights, strict=True)
        )
        if 2 * peak * (1 + 1e-3) < total:
            continue
        sums = weighted_sums(members, weights, box)
        part = label_map[box]
        if members[0].with_background:
            largest = total - sums.sum(0)
            for label, level in zip(labels, sums, strict=True):
                part[level > largest] = label
                np.maximum(largest, level, out=largest)
        else:
            for label, level in zip(labels, sums, strict=True):
                part[2 * level > total] = label
    return label_map


def weighted_sums(
    members: list[Probabilities], weights: list[float], box: tuple[slice, ...]
) -> np.ndarray:
    """Return the sums of the members' weighted levels in a box, as float32."""
    sums = None
    for member, weight in zip(members, weights, strict=True):
        levels = member.tile(box).astype(np.float32)
        if weight != 1:
            levels *= np.float32(weight)
        sums = levels if sums is None else np.add(sums, levels, out=sums)
    return sums


def ensemble_cases(
    members: dict[str, list[Member]],
    references: dict[str, Path],
    target: Path,
    regions_class_order: list[int] | None,
    workers: int,
) -> dict[str, str]:
    """Write the label map of every case on its own grid; finished cases are kept.

    The members of all other cases are checked before the first label map is made.

    Parameters
    ----------
    members : dict of str to list of (Path, float, str)
        For each case the members' probabilities, weights and keys.
    references : dict of str to Path
        For each case an image that has its grid.
    target : Path
        Folder of the label maps.
    regions_class_order : list of int or None
        See `label_map_of`.
    workers : int
        Number of processes.

    Returns
    -------
    dict of str to str
        The key of each label map.

    Raises
    ------
    ValueError
        If members do not fit together (see `check_members`) or not to the case's image.
    """
    members = {case: in_order(chosen) for case, chosen in members.items()}
    keys = {
        case: content_key([[key, weight] for _, weight, key in chosen], regions_class_order)
        for case, chosen in members.items()
    }
    ledger = Ledger(target)
    for case in ledger.waiting(keys):
        paths, weights, _ = zip(*members[case], strict=True)
        opened = check_members(list(paths), list(weights), regions_class_order)
        found, grid = opened[0].levels.shape[1:], read_grid(references[case])
        if found != grid.shape:
            raise ValueError(f"{paths[0]}: {found} voxels, but {references[case]} has {grid.shape}")
    items = {case: (chosen, references[case]) for case, chosen in members.items()}
    work = partial(_ensemble_case, target=target, regions_class_order=regions_class_order)
    finish_cases(target, keys, items, work, workers, "ensemble")
    return keys


def _ensemble_case(
    item: tuple[str, tuple[list[Member], Path]], target: Path, regions_class_order: list[int] | None
) -> list[Path]:
    case, (members, reference) = item
    paths = [path for path, _, _ in members]
    weights = [weight for _, weight, _ in members]
    path = target / f"{case}{SUFFIX}"
    label_map = label_map_of(paths, weights, regions_class_order)
    write_image(path, label_map, read_grid(reference))
    return [path]
