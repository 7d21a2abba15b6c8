"""A search for post-processing steps, scored from tables of components.

The search follows nnU-Net's order: first all foreground together, then each label or region,
always starting from what was adopted before. Holes are filled before anything is removed.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from segflow.evaluation.bootstrap import mean_intervals
from segflow.evaluation.lesions import LesionRule, match_lesions
from segflow.files.code import module_key
from segflow.files.content import content_key, file_sha256
from segflow.files.labels import Labels, foreground
from segflow.images.sizes import TOLERANCE, at_least, at_most
from segflow.jobs.workers import finish_cases
from segflow.predictors.components import CaseTable, load_table, read_table, save_table
from segflow.predictors.steps import (
    FILLS,
    REMOVALS,
    Components,
    Step,
    fillable_holes,
    find_components,
    pool_pieces,
    rank_components,
    removed_components,
    run_steps,
    scopes_of,
)

N_DROP, N_FILL = 16, 12  # thresholds that are tried at a time
N_PARTS = 5  # for cross-fitting, where there is one fold only
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


@dataclass(frozen=True)
class Search:
    """What to search, and when to adopt it.

    Parameters
    ----------
    objective : {'dice', 'lesion_f1', 'mixed'}
        What is to rise: the mean Dice, the mean F1 of the detection of lesions, or the mean of
        both.
    adopt : {'confirmed', 'cross_fitted', 'in_sample'}
        Whether steps are adopted only if the interval of their cross-fitted gain is above 0 and the
        cross-fitted mean Dice of no label falls; if the gain is positive; or at once.
    operations : tuple of str
        Operations to try.
    largest : tuple of int
        Numbers of components to keep.
    seed : int
        Seed of the bootstrap, and of the parts if there is one fold only.
    """

    objective: str = "dice"
    adopt: str = "confirmed"
    operations: tuple[str, ...] = FILLS + REMOVALS
    largest: tuple[int, ...] = (1, 2, 3)
    seed: int = 0


@dataclass(frozen=True)
class Scores:
    """Scores of all cases; NaN where both masks are empty, or neither has a lesion.

    Parameters
    ----------
    dice : ndarray of float
        Of shape (case, label).
    lesion_f1 : ndarray of float
        Of shape (case, label with lesions).
    """

    dice: np.ndarray
    lesion_f1: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "Scores":
        """Return the scores of some cases."""
        return Scores(self.dice[chosen], self.lesion_f1[chosen])


class Cohort:
    """The tables of all validation cases, side by side, and the scores of what steps leave.

    Parameters
    ----------
    tables : dict of str to CaseTable
        The tables by case.
    labels : dict
        Labels and regions of the data set.
    rule : LesionRule or None
        What counts as a lesion and as found; None if detection is not scored.
    """

    def __init__(
        self, tables: dict[str, CaseTable], labels: Labels, rule: LesionRule | None = None
    ):
        self.cases = sorted(tables)
        chosen = [tables[case] for case in self.cases]
        voxel_mm3 = [table.voxel_mm3 for table in chosen]
        self.pool = pool_pieces([table.prediction for table in chosen], voxel_mm3)
        self.truth = pool_pieces([table.reference for table in chosen], voxel_mm3)
        starts = np.cumsum(
            [[0, 0, 0], *([len(t.prediction.values), len(t.reference.values), 0] for t in chosen)],
            axis=0,
        )
        self.shared = np.concatenate(
            [table.shared + start for table, start in zip(chosen, starts, strict=False)]
        )
        self.labels = foreground(labels)
        self.scopes = scopes_of(labels)
        self.rule = rule
        self.untouched = ~self.pool.pieces.is_hole
        self._weigh_pieces()
        names = rule.labels if rule else ()
        everything = np.ones(len(self.truth.case), bool)
        self.lesions = {
            name: find_components(self.truth, everything, self.labels[name]) for name in names
        }

    def _weigh_pieces(self) -> None:
        """Gather what each piece adds to the Dice of each label.

        Row i of `weights` holds the true positives of piece i for each label, then its voxels for
        each label. With them Dice = 2 TP / (predicted + reference voxels).
        """
        n, n_labels = len(self.pool.case), len(self.labels)
        rows, columns, values = [], [], []
        self.reference_voxels = np.zeros((len(self.cases), n_labels))
        for column, members in enumerate(self.labels.values()):
            own = np.isin(self.pool.pieces.values, members)
            true = np.where(own, self.overlaps(members), 0)
            for place, counts in ((column, true), (n_labels + column, self.pool.pieces.voxels)):
                kept = np.flatnonzero(own & (counts > 0))
                rows.append(kept)
                columns.append(np.full(len(kept), place))
                values.append(counts[kept])
            inside = np.isin(self.truth.pieces.values, members)
            self.reference_voxels[:, column] = np.bincount(
                self.truth.case[inside], self.truth.pieces.voxels[inside], len(self.cases)
            )
        places = np.concatenate(rows), np.concatenate(columns)
        self.weights = csr_array(
            (np.concatenate(values).astype(float), places), shape=(n, 2 * n_labels)
        )

    def overlaps(self, members: list[int] | tuple[int, ...]) -> np.ndarray:
        """Return the voxels that each piece shares with some labels of the reference."""
        chosen = self.shared[np.isin(self.truth.pieces.values[self.shared[:, 1]], members)]
        counts = np.bincount(chosen[:, 0], chosen[:, 2], len(self.pool.case))
        return counts.astype(np.int64)

    def sums(self, pieces: np.ndarray) -> np.ndarray:
        """Return the weights of some pieces (indices), summed over each case."""
        n = len(pieces)
        places = self.pool.case[pieces], pieces
        chosen = csr_array((np.ones(n), places), shape=(len(self.cases), len(self.pool.case)))
        return (chosen @ self.weights).toarray()

    def score(self, present: np.ndarray, sums: np.ndarray | None = None) -> Scores:
        """Return the scores of the pieces that are there.

        Parameters
        ----------
        present : ndarray of bool
            Of shape (piece,).
        sums : ndarray of float or None
            Their weights, summed over each case, if these are known.
        """
        if sums is None:
            sums = self.sums(np.flatnonzero(present))
        n_labels = len(self.labels)
        both = sums[:, n_labels:] + self.reference_voxels
        dice = np.full(both.shape, np.nan)
        np.divide(2 * sums[:, :n_labels], both, out=dice, where=both > 0)
        lesion_f1 = np.empty((len(self.cases), len(self.lesions)))
        for column, name in enumerate(self.lesions):
            lesion_f1[:, column] = self._lesion_f1(name, present)
        return Scores(dice, lesion_f1)

    def _lesion_f1(self, name: str, present: np.ndarray) -> np.ndarray:
        """Return 2 TP / (predicted + reference lesions) of each case for one label."""
        true, found = self.lesions[name], find_components(self.pool, present, self.labels[name])
        kinds = (true, len(self.truth.case)), (found, len(self.pool.case))
        places, large = [], []
        for components, n in kinds:
            place = np.full(n, -1)
            large.append(at_least(components.volume_mm3, self.rule.min_volume_mm3))
            kept = large[-1][components.number]
            place[components.members[kept]] = components.number[kept]
            places.append(place)
        pairs = np.column_stack([places[0][self.shared[:, 1]], places[1][self.shared[:, 0]]])
        both = (pairs >= 0).all(1)
        pairs, where = np.unique(pairs[both], axis=0, return_inverse=True)
        shared = np.bincount(where.ravel(), self.shared[both, 2], len(pairs))
        # Lesions of different cases share no voxel, so all cases are matched in one call.
        matched = match_lesions(pairs, shared, true.voxels, found.voxels, self.rule)
        n_cases = len(self.cases)
        n_matched = np.bincount(true.case[matched[:, 0]], minlength=n_cases)
        n_lesions = sum(
            np.bincount(components.case[kept], minlength=n_cases)
            for (components, _), kept in zip(kinds, large, strict=True)
        )
        f1 = np.full(n_cases, np.nan)
        return np.divide(2 * n_matched, n_lesions, out=f1, where=n_lesions > 0)


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


def search(
    cohort: Cohort, what: Search, folds: dict[str, int], groups: dict[str, str] | None = None
) -> dict:
    """Choose the steps that help, and estimate what they gain.

    Parameters
    ----------
    cohort : Cohort
        The validation cases.
    what : Search
        What to search.
    folds : dict of str to int
        Fold in which each case was validated.
    groups : dict of str to str or None
        Group of each case, which is drawn as a whole by the bootstrap: a patient, say. Each case
        is its own group without it.

    Returns
    -------
    dict
        For JSON. ``searched``: the space; ``proposed``: the steps chosen on all cases; ``steps``:
        the adopted ones, all of these or none; ``trials``: what each candidate was worth when its
        turn came; ``gain``: the change of the objective, ``in_sample`` (chosen and measured on
        the same cases, hence too good), ``cross_fitted`` (each fold measured with what the other
        folds would choose; None if there is one group only), its 95 % interval ``ci`` (None with
        fewer than five groups), and the Dice of each label before and after; ``parts``: what
        would be chosen for each held-out part.

    Notes
    -----
    With one fold, its groups are divided into five parts in its place.
    """
    n_cases = len(cohort.cases)
    group_of = np.unique(
        [groups[case] if groups else case for case in cohort.cases], return_inverse=True
    )[1]
    everything = np.ones(n_cases, bool)
    before = cohort.score(cohort.untouched)
    proposed, trials = choose_steps(cohort, what, everything)
    after = cohort.score(run_steps(cohort.pool, proposed))
    parts = _divide_cases(np.array([folds[case] for case in cohort.cases]), group_of, what.seed)
    chosen_for = {}
    held_out = Scores(before.dice.copy(), before.lesion_f1.copy())
    for part in np.unique(parts) if len(np.unique(parts)) > 1 else []:
        inside = parts == part
        steps, _ = choose_steps(cohort, what, ~inside)
        chosen_for[int(part)] = steps
        measured = cohort.score(run_steps(cohort.pool, steps))
        held_out.dice[inside] = measured.dice[inside]
        held_out.lesion_f1[inside] = measured.lesion_f1[inside]
    gain = {
        "in_sample": _rise(what.objective, before, after),
        "cross_fitted": None,
        "ci": None,
    }
    if chosen_for:
        gain["cross_fitted"] = _rise(what.objective, before, held_out)
        gain["ci"] = _interval(what, before, held_out, group_of)
    gain["dice"] = {
        name: {"before": old, "in_sample": new, "cross_fitted": honest if chosen_for else None}
        for name, old, new, honest in zip(
            cohort.labels,
            *(_plain(_means(scores.dice)) for scores in (before, after, held_out)),
            strict=True,
        )
    }
    written = _written(proposed)
    adopted = {
        "confirmed": gain["ci"] is not None
        and gain["ci"][0] > 0
        and not _harms(what.objective, before, held_out),
        "cross_fitted": (gain["cross_fitted"] or 0) > 0,
        "in_sample": True,
    }[what.adopt]
    return {
        **_asked(what, cohort.scopes),
        "n_cases": n_cases,
        "n_groups": int(group_of.max(initial=-1)) + 1,
        "steps": written if adopted else [],
        "proposed": written,
        "gain": gain,
        "parts": [
            {
                "cases": [cohort.cases[n] for n in np.flatnonzero(parts == part)],
                "chosen_by_the_others": _written(steps),
            }
            for part, steps in chosen_for.items()
        ],
        "trials": trials,
    }


def nothing_to_search(what: Search) -> dict:
    """Return the choice where no validation case can tell: no steps; see `search`."""
    return {
        **_asked(what, {}),
        "n_cases": 0,
        "n_groups": 0,
        "steps": [],
        "proposed": [],
        "gain": {"in_sample": None, "cross_fitted": None, "ci": None, "dice": {}},
        "parts": [],
        "trials": [],
    }


def _asked(what: Search, scopes: dict[str, tuple[str, ...]]) -> dict:
    """Return what was searched."""
    return {
        "objective": what.objective,
        "adopt": what.adopt,
        "searched": {
            "scopes": {name: list(labels) for name, labels in scopes.items()},
            "operations": list(what.operations),
            "components_kept": list(what.largest),
            "volumes_dropped": N_DROP,
            "volumes_filled": N_FILL,
        },
    }


def choose_steps(cohort: Cohort, what: Search, chosen: np.ndarray) -> tuple[list[Step], list[dict]]:
    """Go through the scopes once, fills first, and adopt what helps the chosen cases.

    For each scope the best candidate is adopted if it raises the objective and lowers the mean
    Dice of no label; then the scope's other operation is tried on top of it. Of equally good
    candidates the first one is taken: keeping before dropping, small volumes before large ones.

    A mean is over the cases in which the score is defined, as nnU-Net's is. So a false component
    of a case without reference counts: its Dice of 0 leaves the mean once it is removed. A step
    after which a label is defined in no case any more is refused, for then no case can tell
    whether it is good. A label that is defined in no case before has no say.

    Parameters
    ----------
    cohort : Cohort
        The cases.
    what : Search
        What to search.
    chosen : ndarray of bool
        Of shape (case,): the cases that decide.

    Returns
    -------
    steps : list of Step
        The adopted steps in their order.
    trials : list of dict
        Each candidate with the number of steps adopted before (``after``), the change of the
        objective and of the Dice of the labels that it changes, and whether it was adopted.
    """
    present = cohort.untouched
    sums = cohort.sums(np.flatnonzero(present))
    scores = cohort.score(present, sums)
    steps: list[Step] = []
    trials: list[dict] = []
    for operations in (FILLS, REMOVALS):
        for scope in cohort.scopes:
            waiting = [operation for operation in operations if operation in what.operations]
            while waiting:
                best, best_rise = None, 0.0
                for step, pieces in _candidates(cohort, what, scope, waiting, present, chosen):
                    new = present.copy()
                    new[pieces] = step.operation in FILLS
                    sign = 1 if step.operation in FILLS else -1
                    new_sums = sums + sign * cohort.sums(pieces)
                    new_scores = cohort.score(new, new_sums)
                    rise = _rise(what.objective, scores[chosen], new_scores[chosen])
                    changes = _means(new_scores.dice[chosen]) - _means(scores.dice[chosen])
                    trials.append(_trial(cohort, step, len(steps), rise, changes))
                    harms = _harms(what.objective, scores[chosen], new_scores[chosen])
                    if rise > best_rise and not harms:
                        best, best_rise = (step, new, new_sums, new_scores, trials[-1]), rise
                if best is None:
                    break
                step, present, sums, scores, trial = best
                trial["adopted"] = True
                steps.append(step)
                waiting.remove(step.operation)
    return steps, trials


def _candidates(
    cohort: Cohort,
    what: Search,
    scope: str,
    operations: list[str],
    present: np.ndarray,
    chosen: np.ndarray,
) -> Iterator[tuple[Step, np.ndarray]]:
    """Yield the candidates of a scope, and the pieces that each of them fills or removes."""
    labels, pool = cohort.scopes[scope], cohort.pool
    overlaps = cohort.overlaps(labels)
    if "fill_holes" in operations:
        holes = fillable_holes(pool, present, labels)
        inside = chosen[pool.case[holes]]
        volumes = pool.volume_mm3[holes]
        wrong = 2 * overlaps[holes] > pool.pieces.voxels[holes]
        for volume in pick_volumes(volumes[wrong & inside], volumes[inside], N_FILL):
            yield Step(scope, labels, "fill_holes", volume), holes[at_most(volumes, volume)]
        return
    components = find_components(pool, present, labels)
    steps = []
    if "keep_largest" in operations:
        steps += [Step(scope, labels, "keep_largest", count) for count in what.largest]
    if "drop_small" in operations:
        inside = chosen[components.case]
        overlap = np.bincount(
            components.number, overlaps[components.members], len(components.voxels)
        )
        volumes = components.volume_mm3
        picked = pick_volumes(volumes[(overlap == 0) & inside], volumes[inside], N_DROP)
        steps += [Step(scope, labels, "drop_small", volume) for volume in picked]
    for step in steps:
        gone = removed_components(components, step)
        yield step, components.members[gone[components.number]]


def pick_volumes(wrong: np.ndarray, volumes: np.ndarray, count: int) -> list[float]:
    """Pick thresholds that each lie just above the volume of some wrong piece.

    Parameters
    ----------
    wrong : ndarray of float
        Volumes of the pieces that a step should reach.
    volumes : ndarray of float
        Volumes of all pieces, these included.
    count : int
        How many thresholds to pick at most: at evenly spaced ranks of the different volumes in
        `wrong`, the smallest and the largest among them.

    Returns
    -------
    list of float
        Ascending; each between that volume and the next larger one in `volumes`, with as few
        digits as this allows. Volumes that differ by hardly more than the tolerance of limits
        (`segflow.images.sizes`) are one.
    """
    wrong, volumes = np.unique(wrong), np.unique(volumes)
    places = np.unique(np.linspace(0, len(wrong) - 1, min(count, len(wrong))).round().astype(int))
    picked = []
    for low in wrong[places]:
        above = np.searchsorted(volumes, low * (1 + 4 * TOLERANCE), side="right")
        high = volumes[above] if above < len(volumes) else 1.5 * low
        picked.append(_short_number(float(low), float(high)))
    return list(dict.fromkeys(picked))


def _short_number(low: float, high: float) -> float:
    """Return a number between two others, near their geometric mean, with few digits."""
    middle = math.sqrt(low * high)
    for digits in range(1, 17):
        number = float(f"{middle:.{digits}g}")
        if not at_most(number, low) and not at_least(number, high):
            return number
    return middle


def _means(scores: np.ndarray) -> np.ndarray:
    """Return the mean of each column where it is defined; NaN where it is nowhere."""
    defined = ~np.isnan(scores)
    means = np.full(scores.shape[1], np.nan)
    counts = defined.sum(0)
    return np.divide(np.where(defined, scores, 0).sum(0), counts, out=means, where=counts > 0)


def _kinds(objective: str) -> list[str]:
    """Return the scores whose mean is the objective."""
    return ["dice", "lesion_f1"] if objective == "mixed" else [objective]


def _rise(objective: str, before: Scores, after: Scores) -> float:
    """Return the change of the objective, over the labels that are defined before and after."""
    rises = []
    for kind in _kinds(objective):
        change = _means(getattr(after, kind)) - _means(getattr(before, kind))
        defined = change[~np.isnan(change)]
        rises.append(defined.mean() if len(defined) else 0.0)
    return float(np.mean(rises))


def _harms(objective: str, before: Scores, after: Scores) -> bool:
    """Say whether the mean Dice of a label falls, or a score becomes defined or undefined."""
    means = _means(before.dice), _means(after.dice)
    if (means[1] < means[0]).any():
        return True
    return any(
        (np.isnan(_means(getattr(before, kind))) != np.isnan(_means(getattr(after, kind)))).any()
        for kind in {"dice", *_kinds(objective)}
    )


def _written(steps: list[Step]) -> list[dict]:
    """Return steps as JSON holds them."""
    return [{**asdict(step), "labels": list(step.labels)} for step in steps]


def _trial(cohort: Cohort, step: Step, after: int, rise: float, changes: np.ndarray) -> dict:
    changed = dict(zip(cohort.labels, _plain(changes), strict=True))
    return {
        "scope": step.scope,
        "operation": step.operation,
        "parameter": step.parameter,
        "after": after,
        "objective": rise,
        "dice": {name: change for name, change in changed.items() if change},
        "adopted": False,
    }


def _divide_cases(folds: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return the part of each case that is held out together: its fold, if there are several."""
    if len(np.unique(folds)) > 1:
        return folds
    n_groups = groups.max(initial=-1) + 1
    order = np.random.default_rng(seed).permutation(n_groups)
    return (order % N_PARTS)[groups]


def _interval(
    what: Search, before: Scores, after: Scores, groups: np.ndarray
) -> list[float] | None:
    """Return the 95 % interval of a gain, or None with too few groups.

    The gain is a mean of differences of means over the cases in which a score is defined. Its
    pseudo-values, of which there is one for each group, have the gain as their mean, but for what
    is of second order.

    References
    ----------
    Miller, The jackknife, a review, Biometrika 1974, doi:10.1093/biomet/61.1.1.
    """
    n = groups.max() + 1
    together = _rise(what.objective, before, after)
    without = [
        _rise(what.objective, before[groups != one], after[groups != one]) for one in range(n)
    ]
    values = n * together - (n - 1) * np.array(without)
    ends = mean_intervals(values[:, None], np.arange(n), what.seed)[:, 0].tolist()
    return None if math.isnan(ends[0]) else ends


def _plain(values: np.ndarray) -> list[float | None]:
    """Return numbers for JSON, None for NaN."""
    return [None if math.isnan(value) else value for value in values.tolist()]
