"""Label maps from the probabilities of any number of members."""

from functools import partial
from pathlib import Path

import numpy as np

from segflow.content import content_key
from segflow.images import SUFFIX, read_grid, write_image
from segflow.ledger import finish_cases
from segflow.probabilities import iterate_slabs

Member = tuple[Path, float, str]  # file of probabilities, weight, key of its content


def label_map_of(
    paths: list[Path], weights: list[float], regions_class_order: list[int] | None
) -> np.ndarray:
    """Return the label map of the members' mean probabilities.

    Classes take the label of the largest mean. Regions are painted over each other in the
    given order wherever their mean exceeds one half, as nnU-Net does.

    Parameters
    ----------
    paths : list of Path
        Files of probabilities.
    weights : list of float
        Weight of each member.
    regions_class_order : list of int or None
        Label that each region paints; None for classes.

    Returns
    -------
    ndarray of uint8 or uint16
        Of shape (z, y, x).

    Raises
    ------
    ValueError
        If members differ in shape or kind, or the number of regions is another one.
    """
    parts = []
    for _, mean, with_background in iterate_slabs(paths, weights):
        if with_background:
            part = mean.argmax(0)
        else:
            if regions_class_order is None or len(regions_class_order) != len(mean):
                raise ValueError(
                    f"{paths[0]}: {len(mean)} regions, but regions_class_order is "
                    f"{regions_class_order}"
                )
            part = np.zeros(mean.shape[1:], np.uint16)
            for label, region in zip(regions_class_order, mean, strict=True):
                part[region > 0.5] = label
        parts.append(part.astype(np.uint16))
    label_map = np.concatenate(parts)
    return label_map.astype(np.uint8) if label_map.max(initial=0) < 256 else label_map


def ensemble_cases(
    members: dict[str, list[Member]],
    references: dict[str, Path],
    target: Path,
    regions_class_order: list[int] | None,
    workers: int,
) -> dict[str, str]:
    """Write the label map of every case on its own grid; finished cases are kept.

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
    """
    keys = {
        case: content_key([[key, weight] for _, weight, key in chosen], regions_class_order)
        for case, chosen in members.items()
    }
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
