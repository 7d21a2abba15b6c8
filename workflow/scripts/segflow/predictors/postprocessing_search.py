"""A search for post-processing steps, scored from tables of components.

The search follows nnU-Net's order: first all foreground together, then each label or region,
always starting from what was adopted before. Holes are filled before anything is removed.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from segflow.evaluation.bootstrap import mean_intervals
from segflow.images.sizes import at_most
from segflow.predictors.pooled_cases import Cohort, Scores
from segflow.predictors.steps import (
    FILLS,
    REMOVALS,
    Step,
    fillable_holes,
    find_components,
    removed_components,
    run_steps,
)
from segflow.predictors.thresholds import pick_volumes

N_DROP, N_FILL = 16, 12  # thresholds that are tried at a time
N_PARTS = 5  # for cross-fitting, where there is one fold only


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
        the adopted ones, all of these or none; ``not_adopted``: why none; ``trials``: what each
        candidate was worth when its turn came; ``gain``: the change of the objective,
        ``in_sample`` (chosen and measured on the same cases, hence too good), ``cross_fitted``
        (each fold measured with what the other folds would choose; None if there is one group
        only), its 95 % interval ``ci`` (None with fewer than five groups), and the Dice of each
        label before and after; ``parts``: what would be chosen for each held-out part.

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
    objection = _objection(what, gain, _harms(what.objective, before, held_out))
    return {
        **_asked(what, cohort.scopes),
        "n_cases": n_cases,
        "n_groups": int(group_of.max(initial=-1)) + 1,
        "steps": [] if objection else written,
        "proposed": written,
        "not_adopted": objection if written else "",
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
        "not_adopted": "",
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


def _objection(what: Search, gain: dict, harms: bool) -> str:
    """Say why proposed steps are not adopted; nothing if they are."""
    if what.adopt == "in_sample":
        return ""
    if gain["cross_fitted"] is None:
        return "one group of cases cannot be cross-fitted"
    if gain["cross_fitted"] <= 0:
        return "the cross-fitted gain is not positive"
    if what.adopt == "cross_fitted":
        return ""
    if gain["ci"] is None:
        return "the cross-fitted gain of so few groups of cases has no interval"
    if gain["ci"][0] <= 0:
        return "the interval of the cross-fitted gain holds 0"
    return "the cross-fitted mean Dice of a label falls" if harms else ""


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
