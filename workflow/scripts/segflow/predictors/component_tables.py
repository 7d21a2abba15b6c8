"""Tables of the components of all cases, which the search for post-processing works on."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from segflow.files.code import module_key
from segflow.files.content import content_key, file_sha256
from segflow.files.labels import Labels
from segflow.jobs.workers import finish_cases
from segflow.predictors.components import CaseTable, load_table, read_table, save_table
from segflow.predictors.pooled_cases import Cohort
from segflow.predictors.steps import Components, fillable_holes, find_components, rank_components

TABLE_BYTES = 20  # of memory for each voxel of a case, measured with labels everywhere
COLUMNS = [
    "case",
    "scope",
    "kind",
    "voxels",
    "volume_mm3",
    "overlap_voxels",
    "rank",
    "at_border",
]


def tabulate_cases(
    folder: Path,
    references: dict[str, Path],
    predictions: dict[str, Path],
    keys: dict[str, str],
    labels: Labels,
    workers: int,
) -> dict[str, CaseTable]:
    """Reduce all cases to tables in `folder`; finished cases are kept.

    Parameters
    ----------
    folder : Path
        Where the tables lie.
    references, predictions : dict of str to Path
        Label maps of the cases.
    keys : dict of str to str
        The key of each prediction.
    labels : dict
        Labels and regions of the data set.
    workers : int
        Number of processes.

    Raises
    ------
    FileNotFoundError, ValueError
        See `segflow.predictors.components.read_table`.
    """
    code = module_key("predictors.components")
    table_keys = {
        case: content_key(key, file_sha256(references[case]), code) for case, key in keys.items()
    }
    items = {case: (references[case], predictions[case]) for case in keys}
    work = partial(_tabulate_case, folder=folder, labels=labels)
    finish_cases(folder, table_keys, items, work, workers, "components")
    return {case: load_table(folder / f"{case}.npz") for case in sorted(keys)}


def _tabulate_case(item: tuple[str, tuple[Path, Path]], folder: Path, labels: Labels) -> list[Path]:
    path = folder / f"{item[0]}.npz"
    save_table(path, read_table(*item[1], labels))
    return [path]


def describe_components(cohort: Cohort) -> Iterator[dict]:
    """Yield a row for each component and each hole of each scope, before any step.

    ``overlap_voxels`` is what it shares with the scope's labels in the reference: 0 makes a
    component a false one. The ``rank`` is by size within case, scope and kind, from 1.
    """
    pool = cohort.pool
    for scope, labels in cohort.scopes.items():
        overlaps = cohort.overlaps(labels)
        holes = fillable_holes(pool, cohort.untouched, labels)
        alone = Components(
            holes,
            np.arange(len(holes)),
            pool.pieces.voxels[holes],
            pool.volume_mm3[holes],
            pool.case[holes],
        )
        together = find_components(pool, cohort.untouched, labels)
        for kind, components in (("component", together), ("hole", alone)):
            n = len(components.voxels)
            overlap = np.bincount(components.number, overlaps[components.members], n)
            border = np.bincount(components.number, pool.pieces.at_border[components.members], n)
            ranks = rank_components(components)
            for place in np.lexsort((np.arange(n), ranks, components.case)):
                yield {
                    "case": cohort.cases[components.case[place]],
                    "scope": scope,
                    "kind": kind,
                    "voxels": int(components.voxels[place]),
                    "volume_mm3": float(components.volume_mm3[place]),
                    "overlap_voxels": int(overlap[place]),
                    "rank": int(ranks[place]),
                    "at_border": int(border[place] > 0),
                }
