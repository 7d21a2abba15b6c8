"""Cross-validation folds that never tear a patient or group apart."""

import warnings

import numpy as np

from segflow.files.cases import Case

Fold = dict[str, list[str]]


def make_folds(cases: list[Case], n_folds: int, seed: int) -> list[Fold]:
    """Divide cases into folds by group, balanced by class label.

    Parameters
    ----------
    cases : list of Case
        The training cases.
    n_folds : int
        Number of folds, from 2 to the number of groups.
    seed : int
        Seed of the shuffle. The folds depend on the set of cases and on the seed, not on the
        order of `cases`.

    Returns
    -------
    list of dict
        For each fold the sorted case names under ``train`` and ``val``: the layout of nnU-Net's
        ``splits_final.json``.

    Raises
    ------
    ValueError
        If there are fewer groups than folds, or a class has fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # takes two seconds

    cases = sorted(cases, key=lambda case: case.case)
    names = np.array([case.case for case in cases])
    groups = np.array([case.group for case in cases])
    strata = np.array([case.class_label for case in cases])
    n_groups = len(set(groups))
    if not 2 <= n_folds <= n_groups:
        raise ValueError(f"n_folds must be between 2 and the {n_groups} groups, got {n_folds}")
    for stratum in sorted(set(strata.tolist())):
        n_members = len(set(groups[strata == stratum]))
        if n_members < n_folds:
            raise ValueError(
                f"n_folds is {n_folds}, but class {stratum!r} has only {n_members} groups: "
                "a fold would lack it"
            )
    folder = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        divided = list(folder.split(names, strata, groups))
    return [
        {"train": sorted(names[train].tolist()), "val": sorted(names[val].tolist())}
        for train, val in divided
    ]


def published_folds(cases: list[Case]) -> list[Fold]:
    """Return the one fold that the published training and validation cases make.

    Parameters
    ----------
    cases : list of Case
        The training cases.

    Returns
    -------
    list of dict
        One fold, see `make_folds`; none if no case is published for validation.
    """
    val = sorted(case.case for case in cases if case.published_split == "val")
    train = sorted(case.case for case in cases if case.published_split != "val")
    return [{"train": train, "val": val}] if val else []


def check_folds(
    folds: list[Fold], cases: list[Case], n_folds: int, where: str, leaky: bool = False
) -> None:
    """Refuse folds that leak, repeat or forget cases.

    Parameters
    ----------
    folds : list of dict
        See `make_folds`.
    cases : list of Case
        The training cases.
    n_folds : int
        Number of folds that the run asks for.
    where : str
        Name of the file, for the messages.
    leaky : bool
        Whether groups may lie on both sides, as in a published split that was asked for.

    Raises
    ------
    ValueError
        With every problem in one message.
    """
    group_of = {case.case: case.group for case in cases}
    problems = []
    if len(folds) != n_folds:
        problems.append(f"{len(folds)} folds, but n_folds is {n_folds}")
    validated: dict[str, int] = {}
    for number, fold in enumerate(folds):
        if set(fold) != {"train", "val"} or not fold["train"] or not fold["val"]:
            problems.append(f"fold {number} needs cases under 'train' and under 'val'")
            continue
        unknown = sorted({*fold["train"], *fold["val"]} - set(group_of))
        if unknown:
            problems.append(f"fold {number} names unknown cases: {', '.join(unknown[:5])}")
            continue
        for side in ("train", "val"):
            if len(set(fold[side])) != len(fold[side]):
                problems.append(f"fold {number} names a case twice under {side!r}")
        torn = {group_of[name] for name in fold["train"]} & {group_of[name] for name in fold["val"]}
        if torn and not leaky:
            problems.append(
                f"fold {number} has groups on both sides: {', '.join(sorted(torn)[:5])}"
            )
        for name in fold["val"]:
            if validated.setdefault(name, number) != number:
                problems.append(
                    f"case {name!r} is validated in folds {validated[name]} and {number}"
                )
    # A single fold has its validation cases, the way published splits have them.
    forgotten = sorted(set(group_of) - set(validated)) if n_folds > 1 else []
    if forgotten and not problems:
        problems.append(f"cases that no fold validates: {', '.join(forgotten[:5])}")
    if problems:
        raise ValueError(f"{where}: " + "; ".join(problems))
