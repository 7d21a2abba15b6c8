"""Steps of post-processing by components and holes, and what they leave of a label map."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from segflow.files.labels import Labels, foreground, foreground_values
from segflow.images.sizes import at_least, at_most
from segflow.predictors.components import Pieces, find_pieces

FILLS, REMOVALS = ("fill_holes",), ("keep_largest", "drop_small")
VOXEL_BYTES = 14  # of memory for each voxel, measured with labels everywhere


@dataclass(frozen=True)
class Step:
    """One step of post-processing.

    Parameters
    ----------
    scope : str
        ``foreground``, or the name of a label or region.
    labels : tuple of int
        The labels of the scope, looked at together.
    operation : {'fill_holes', 'keep_largest', 'drop_small'}
        Fill holes whose faces all belong to the scope; keep the largest components of the scope,
        with those that are as large as the last one kept; drop its small components.
    parameter : float
        The largest volume in mm3 that is filled, the number of components that is kept, or the
        volume in mm3 below which components are dropped. Areas in mm2 in flat images.
    """

    scope: str
    labels: tuple[int, ...]
    operation: str
    parameter: float


@dataclass(frozen=True)
class Pool:
    """The pieces of several cases side by side.

    Parameters
    ----------
    pieces : Pieces
        All pieces; those of different cases never touch.
    case : ndarray of int
        Of shape (piece,): the case that each belongs to.
    voxel_mm3 : ndarray of float
        Of shape (case,).
    """

    pieces: Pieces
    case: np.ndarray
    voxel_mm3: np.ndarray

    @property
    def volume_mm3(self) -> np.ndarray:
        """Volume of each piece."""
        return self.pieces.voxels * self.voxel_mm3[self.case]


@dataclass(frozen=True)
class Components:
    """Components of some labels taken together, in a pool.

    Parameters
    ----------
    members : ndarray of int
        Of shape (m,): the pieces that they are made of.
    number : ndarray of int
        Of shape (m,): the component that each of these belongs to, from 0.
    voxels, volume_mm3, case : ndarray
        Of shape (component,).
    """

    members: np.ndarray
    number: np.ndarray
    voxels: np.ndarray
    volume_mm3: np.ndarray
    case: np.ndarray


def scopes_of(labels: Labels) -> dict[str, tuple[int, ...]]:
    """Return the labels of each scope: all foreground, then each other label or region."""
    everything = tuple(foreground_values(labels))
    scopes = {"foreground": everything}
    for name, members in foreground(labels).items():
        if set(members) != set(everything):
            scopes[name] = tuple(members)
    return scopes


def pool_pieces(cases: list[Pieces], voxel_mm3: list[float]) -> Pool:
    """Put the pieces of several cases side by side, in their order."""
    counts = [len(pieces.values) for pieces in cases]
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    together = Pieces(
        *(
            np.concatenate([getattr(pieces, name) for pieces in cases])
            for name in ("values", "voxels", "is_hole", "at_border")
        ),
        rims=np.concatenate(
            [p.rims + np.array([s, 0]) for p, s in zip(cases, starts, strict=True)]
        ),
        contacts=np.concatenate([p.contacts + s for p, s in zip(cases, starts, strict=True)]),
    )
    return Pool(together, np.repeat(np.arange(len(cases)), counts), np.array(voxel_mm3, float))


def find_components(pool: Pool, present: np.ndarray, labels: Iterable[int]) -> Components:
    """Return the components of some labels taken together.

    Parameters
    ----------
    pool : Pool
        The pieces.
    present : ndarray of bool
        Of shape (piece,): components that were not removed, and holes that were filled.
    labels : iterable of int
        The labels.
    """
    chosen = present & np.isin(pool.pieces.values, list(labels))
    members = np.flatnonzero(chosen)
    place = np.cumsum(chosen) - 1
    contacts = place[pool.pieces.contacts[chosen[pool.pieces.contacts].all(1)]]
    number = np.zeros(0, np.intp)
    if len(members):
        links = np.ones(len(contacts), bool), (contacts[:, 0], contacts[:, 1])
        graph = csr_array(links, shape=(len(members), len(members)))
        number = connected_components(graph, directed=False)[1]
    voxels = np.bincount(number, pool.pieces.voxels[members]).astype(np.int64)
    case = np.zeros(len(voxels), np.intp)
    case[number] = pool.case[members]
    return Components(members, number, voxels, voxels * pool.voxel_mm3[case], case)


def rank_components(components: Components) -> np.ndarray:
    """Return the rank of each component by size within its case, from 1."""
    order = np.lexsort((-components.voxels, components.case))
    cases = components.case[order]
    ranks = np.empty(len(order), np.intp)
    ranks[order] = np.arange(len(order)) - np.searchsorted(cases, cases) + 1
    return ranks


def removed_components(components: Components, step: Step) -> np.ndarray:
    """Return which components a removing step takes away, as booleans."""
    if step.operation == "drop_small":
        return ~at_least(components.volume_mm3, step.parameter)
    last = rank_components(components) == step.parameter
    limit = np.zeros(components.case.max(initial=-1) + 1, np.int64)
    limit[components.case[last]] = components.voxels[last]
    return components.voxels < limit[components.case]


def fillable_holes(pool: Pool, present: np.ndarray, labels: Iterable[int]) -> np.ndarray:
    """Return the holes whose faces all belong to some labels, and that are not filled yet."""
    fits = pool.pieces.is_hole & ~present
    rims = pool.pieces.rims
    fits[rims[~np.isin(rims[:, 1], list(labels)), 0]] = False
    return np.flatnonzero(fits)


def run_steps(pool: Pool, steps: Iterable[Step]) -> np.ndarray:
    """Apply steps to pieces, one after the other.

    A step takes whole pieces: a component of several labels is made of components of one label
    that touch, or touch by way of filled holes. What a removal leaves is again made of whole
    pieces, and no contact between these has changed. So the result is exact for any labels,
    regions that overlap included. Only fills after a removal are not: it may join or open holes.

    Returns
    -------
    ndarray of bool
        Of shape (piece,): the components that are left and the holes that are filled.

    Raises
    ------
    ValueError
        If a fill comes after a removal.
    """
    present = ~pool.pieces.is_hole
    removed = False
    for step in steps:
        if step.operation in FILLS:
            if removed:
                raise ValueError(f"{step}: holes are filled before anything is removed")
            holes = fillable_holes(pool, present, step.labels)
            present[holes[at_most(pool.volume_mm3[holes], step.parameter)]] = True
        else:
            removed = True
            components = find_components(pool, present, step.labels)
            gone = removed_components(components, step)
            present[components.members[gone[components.number]]] = False
    return present


def apply_steps(label_map: np.ndarray, steps: list[Step], voxel_mm3: float) -> np.ndarray:
    """Apply steps to a label map.

    Parameters
    ----------
    label_map : ndarray of int
        Of shape (z, y, x); with an axis of one voxel it is flat. It is not changed.
    steps : list of Step
        What to do, in this order; fills first.
    voxel_mm3 : float
        Volume of a voxel; of a flat image the area in mm2.

    Returns
    -------
    ndarray of int
        The label map after the steps; `label_map` itself if they change nothing.

    Raises
    ------
    ValueError
        If a fill comes after a removal.
    """
    with_holes = any(step.operation in FILLS for step in steps)
    numbers, box, pieces = find_pieces(label_map, with_holes)
    present = run_steps(pool_pieces([pieces], [voxel_mm3]), steps)
    if (present != pieces.is_hole).all():
        return label_map
    after = np.zeros(len(present) + 1, label_map.dtype)
    after[1:] = np.where(present, pieces.values, 0)
    changed = label_map.copy()
    changed[box] = after[numbers]
    return changed


def read_steps(choice: dict) -> list[Step]:
    """Return the adopted steps of what the search returned, also after a way through JSON."""
    return [Step(**{**step, "labels": tuple(step["labels"])}) for step in choice["steps"]]
