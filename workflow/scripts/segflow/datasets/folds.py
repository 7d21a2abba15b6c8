"""Cross-validation folds that never tear a patient or group apart."""

from collections import Counter, defaultdict
from statistics import median

from segflow.datasets.stratification import divide
from segflow.files.cases import Case
from segflow.files.labels import Labels, foreground
from segflow.files.words import counted

Fold = dict[str, list[str]]
N_SIZES = 3  # small, medium and large


def make_folds(cases: list[Case], n_folds: int, seed: int) -> list[Fold]:
    """Divide cases into folds by group, balanced by class, and by presence and size of each label.

    Each label's volumes are divided into thirds; see `segflow.datasets.stratification`.

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
    cases = sorted(cases, key=lambda case: case.case)
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.group].append(case)
    if not 2 <= n_folds <= len(groups):
        raise ValueError(
            f"n_folds is {n_folds} for {counted(len(groups), 'group')}; allowed are 2 to as many "
            "as there are groups"
        )
    classes = Counter(
        label for group in groups.values() for label in {c.class_label for c in group}
    )
    for label, n_members in sorted(classes.items()):
        if n_members < n_folds:
            raise ValueError(
                f"n_folds is {n_folds}, but class {label!r} has only {n_members} groups: "
                "a fold would lack it"
            )
    tags = _tags(cases)
    units = [Counter(tag for case in group for tag in tags[case.case]) for group in groups.values()]
    sizes = [len(group) for group in groups.values()]
    fold_of = dict(zip(groups, divide(units, sizes, [1 / n_folds] * n_folds, seed), strict=True))
    return [
        {
            "train": [case.case for case in cases if fold_of[case.group] != number],
            "val": [case.case for case in cases if fold_of[case.group] == number],
        }
        for number in range(n_folds)
    ]


def baseline_only(folds: list[Fold], cases: list[Case]) -> list[Fold]:
    """Return folds that validate first visits only; later ones of these patients are in neither.

    Parameters
    ----------
    folds : list of dict
        See `make_folds`.
    cases : list of Case
        The training cases, whose covariate ``visit`` says which are later ones.
    """
    later = {case.case for case in cases if is_later_visit(case)}
    return [
        {"train": fold["train"], "val": [name for name in fold["val"] if name not in later]}
        for fold in folds
    ]


def is_later_visit(case: Case) -> bool:
    """Say whether a case is a later visit of its patient."""
    return case.covariates.get("visit") == "follow-up"


def _tags(cases: list[Case]) -> dict[str, list[str]]:
    """Return what each case has that folds are balanced by."""
    tags = {case.case: [f"class {case.class_label}"] for case in cases}
    holders = defaultdict(list)
    for case in cases:
        for value, volume_mm3 in case.label_volumes_mm3.items():
            holders[value].append((volume_mm3, case.case))
    for value, found in holders.items():
        for rank, (_, name) in enumerate(sorted(found)):
            size = rank * N_SIZES // len(found)
            tags[name] += [f"label {value}", f"label {value} of size {size}"]
    return tags


def describe_folds(folds: list[Fold], cases: list[Case], labels: Labels) -> list[dict[str, str]]:
    """Say what each fold holds.

    Parameters
    ----------
    folds : list of dict
        See `make_folds`.
    cases : list of Case
        The training cases.
    labels : mapping of str to int or list of int
        Value of each label, and values of each region.

    Returns
    -------
    list of dict
        For training and validation of each fold: number of cases and groups, of cases of each
        class and with each label, the median volume of each label where it is there (mm3), and
        what is there in the data set but not in this part.
    """
    known = {case.case: case for case in cases}
    classes = sorted({case.class_label for case in cases} - {""})
    values = foreground(labels)
    held = {case.case: case.label_volumes_mm3 for case in cases}

    def volumes_mm3(names: list[str], label: str) -> list[float]:
        found = [sum(held[name].get(value, 0.0) for value in values[label]) for name in names]
        return [volume for volume in found if volume]

    rows = []
    for number, fold in enumerate(folds):
        for part in ("train", "val"):
            inside = [known[name] for name in fold[part]]
            in_class = {label: sum(c.class_label == label for c in inside) for label in classes}
            found = {label: volumes_mm3(fold[part], label) for label in values}
            lacking = [f"class {label}" for label, count in in_class.items() if not count]
            lacking += [
                label for label in values if not found[label] and volumes_mm3([*known], label)
            ]
            row = {"fold": str(number), "part": part, "cases": str(len(inside))}
            row["groups"] = str(len({case.group for case in inside}))
            row |= {f"class {label}": str(count) for label, count in in_class.items()}
            for label, volumes in found.items():
                row[f"cases with {label}"] = str(len(volumes))
                row[f"median mm3 of {label}"] = f"{median(volumes):.6g}" if volumes else ""
            rows.append(row | {"lacks": ", ".join(lacking)})
    return rows


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
    folds: list[Fold],
    cases: list[Case],
    n_folds: int,
    where: str,
    leaky: bool = False,
    baseline: bool = False,
) -> None:
    """Refuse folds that leak, repeat or forget cases, or have nothing to learn.

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
    baseline : bool
        Whether later visits are not validated.

    Raises
    ------
    ValueError
        With every problem in one message.
    """
    group_of = {case.case: case.group for case in cases}
    problems = []
    if len(folds) != n_folds:
        problems.append(f"{counted(len(folds), 'fold')}, but n_folds is {n_folds}")
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
        known = {case.case: case for case in cases}
        labelled = [known[name].label_voxels.split() for name in fold["train"]]
        if any(labelled) and not any(int(count) for counts in labelled for count in counts):
            problems.append(f"fold {number} has no foreground in any training case")
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
    needed = {case.case for case in cases if not (baseline and is_later_visit(case))}
    forgotten = sorted(needed - set(validated)) if n_folds > 1 else []
    if forgotten and not problems:
        problems.append(f"cases that no fold validates: {', '.join(forgotten[:5])}")
    if problems:
        raise ValueError(f"{where}: " + "; ".join(problems))
