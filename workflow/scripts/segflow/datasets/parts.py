"""Which cases are trained on and which are held out as test cases."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from segflow.datasets.sources import (
    Problem,
    SourceCase,
    find_cases,
    folder_state,
    state_of_sources,
)
from segflow.files.words import enumerate_some

ASKED_FOR = "kept, because the published split was asked for"
MARGIN = 1e-9  # of shares of groups: 0.1 of 30 is 3
NAMED = 10  # cases that a message names on each side
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class PartRule:
    """How the cases of a data set are divided.

    Parameters
    ----------
    held_out : float
        Share of the groups to hold out as test cases where the set has no published test cases,
        from 0 (none) to 0.5, rounded to whole groups.
    published : bool
        Whether the published split is asked for by name, with its leaks.
    random_split : mapping of str to float, or None
        A published split that is a rule: the shares ``val`` and ``test`` of the cases are drawn
        case by case with the seed ``seed``. Where the published split is not asked for, only its
        leaks are reported.
    later_visits : bool
        Whether later visits of patients who are held out are test cases, too.
    seed : int
        Seed of what is held out.

    Raises
    ------
    ValueError
        If a share is out of range.
    """

    held_out: float = 0.0
    published: bool = False
    random_split: Mapping[str, float] | None = None
    later_visits: bool = False
    seed: int

    def __post_init__(self) -> None:
        """Refuse shares that are out of range."""
        if not 0 <= self.held_out <= 0.5:
            raise ValueError(f"held_out must be between 0 and 0.5, got {self.held_out}")
        if self.random_split is not None:
            val, test = self.random_split["val"], self.random_split["test"]
            if val < 0 or test < 0 or val + test >= 1:
                raise ValueError(
                    "random_split needs shares that are not negative and leave something to train "
                    f"on, got {val} (val) and {test} (test)"
                )


def assign_parts(
    cases: Iterable[SourceCase], groups: Mapping[str, str], rule: PartRule
) -> tuple[list[SourceCase], list[Problem]]:
    """Divide cases into parts so that no group is torn apart, unless the published split does.

    A published test split is kept, but groups that are also in training or validation are moved
    to training: the test cases are a subset of the published ones. Without published test cases,
    groups are held out, balanced by class. If the published split is asked for, it is kept as it
    is.

    Parameters
    ----------
    cases : iterable of SourceCase
        All cases of the data set.
    groups : mapping of str to str
        Group of near-duplicates of each case (see
        `segflow.datasets.near_duplicates.group_pairs`); it may be empty.
    rule : PartRule
        How to divide.

    Returns
    -------
    cases : list of SourceCase
        Sorted by name, with `split` and `group`. ``val`` occurs only in a published split that
        was asked for. A group is what patients, the groups of the converter and near-duplicates
        join; it is named after the first of its patients, or of the converter's groups. All
        cases are there but the later visits of patients who are held out.
    problems : list of Problem
        Leaks of the published split, and what was left out.

    Raises
    ------
    ValueError
        If there are too few groups, or too few of a class, to hold out that share, or if the
        published split is asked for where there is none.
    """
    cases = _with_groups(sorted(cases, key=lambda case: case.case), groups)
    if rule.published:
        cases = _published(cases, rule)
        return cases, _leaks(cases, ASKED_FOR)
    leaks = _leaks(
        [case if case.split == "test" else replace(case, split="train") for case in cases],
        "its test images were moved to training",
    )
    training = {case.group for case in cases if case.split != "test"}
    if any(case.split == "test" for case in cases):
        return [
            replace(case, split="train" if case.group in training else "test") for case in cases
        ], leaks
    if rule.random_split is not None:
        leaks = _leaks(_published(cases, rule), "groups are kept together instead")
    cases = [replace(case, split="train") for case in cases]
    cases, notes = _hold_out(cases, rule) if rule.held_out else (cases, [])
    return cases, leaks + notes


def cases_of_part(dataset: dict, raw: Path, rule: dict, part: str) -> list[SourceCase]:
    """Return the cases that the content of a part depends on.

    These are all cases of the data set where the division needs them all: if cases are held out
    or drawn, or grouped by their content.

    Parameters
    ----------
    dataset : dict
        Description of the data set.
    raw : Path
        Its raw folder.
    rule : dict
        Parameters of `PartRule`.
    part : {'train', 'test', 'all'}
        The part; ``all`` for the whole data set.

    Raises
    ------
    FileNotFoundError, ValueError
        See `segflow.datasets.sources.find_cases` and `assign_parts`.
    """
    cases = find_cases(dataset, raw).cases
    by_content = "near_duplicates" in dataset
    if part == "all" or rule["held_out"] or rule["random_split"] or by_content:
        return cases
    assigned, _ = assign_parts(cases, {}, PartRule(**rule))
    return [case for case in assigned if (case.split == "test") == (part == "test")]


def state_of_part(dataset: dict, raw: Path, rule: dict, part: str, record: Path) -> str:
    """Return a key of the raw files of one part, or all, of a data set.

    Where its cases cannot be told, any change counts: the job says what is wrong.

    Parameters
    ----------
    dataset, raw, rule, part
        See `cases_of_part`.
    record : Path
        What the last conversion recorded of its sources; see `segflow.datasets.sources`.
    """
    try:
        cases = cases_of_part(dataset, raw, rule, part)
    except (FileNotFoundError, ValueError):
        return folder_state(raw, record)
    return state_of_sources(raw, cases, record)


def _with_groups(cases: list[SourceCase], groups: Mapping[str, str]) -> list[SourceCase]:
    """Return the cases with the groups that must not be torn apart."""
    names = {case.case: case.group or case.patient for case in cases}
    if not groups and not any(case.group for case in cases):
        return [replace(case, group=names[case.case]) for case in cases]
    from segflow.datasets.near_duplicates import connect  # takes half a second

    first: dict[tuple[str, str], str] = {}
    links = []
    for case in cases:
        # Patients, groups and near-duplicates may have the same names, and mean different cases.
        keys = [("patient", case.patient), ("group", names[case.case])]
        if case.case in groups:
            keys.append(("near-duplicates", groups[case.case]))
        links += [(first.setdefault(key, case.case), case.case) for key in keys]
    component = connect(names, links)
    members: dict[str, list[str]] = {}
    for case in cases:
        members.setdefault(component[case.case], []).append(names[case.case])
    return [replace(case, group=min(members[component[case.case]])) for case in cases]


def _published(cases: list[SourceCase], rule: PartRule) -> list[SourceCase]:
    """Return the sorted cases with the published split, which may have to be drawn."""
    if rule.random_split is None:
        if all(case.split == "train" for case in cases):
            raise ValueError(
                "the published split was asked for, but there is none: all cases are for training"
            )
        return cases
    import numpy as np

    n_test, n_val = (round(rule.random_split[part] * len(cases)) for part in ("test", "val"))
    order = np.random.default_rng(int(rule.random_split["seed"])).permutation(len(cases)).tolist()
    test, val = set(order[:n_test]), set(order[n_test : n_test + n_val])
    return [
        replace(case, split="test" if i in test else "val" if i in val else "train")
        for i, case in enumerate(cases)
    ]


def _leaks(cases: list[SourceCase], action: str) -> list[Problem]:
    """Return a problem for each group that is in more than one split."""
    by_group: dict[str, list[SourceCase]] = {}
    for case in cases:
        by_group.setdefault(case.group, []).append(case)
    problems = []
    for group, members in sorted(by_group.items()):
        sides = {split: [case.case for case in members if case.split == split] for split in SPLITS}
        found = [
            f"in {split} ({enumerate_some(names, NAMED)})"
            for split, names in sides.items()
            if names
        ]
        if len(found) > 1:
            patients = {case.patient for case in members}
            who = f"group {group} of {len(patients)} patients"
            if len(patients) == 1:
                who = f"patient {members[0].patient}"
            text = f"published split: {who} is {' and '.join(found)}"
            problems.append(Problem(members[0].case, "", "leak", text, action))
    return problems


def _hold_out(cases: list[SourceCase], rule: PartRule) -> tuple[list[SourceCase], list[Problem]]:
    """Return the sorted cases, some groups of which became test cases.

    Each class gives its share, a group at least, rounded so that all together give theirs. Later
    visits never serve as test cases, so they have no say in which groups are held out.
    """
    classes: dict[str, set[str]] = {}
    for case in cases:
        if not case.follow_up:
            classes.setdefault(case.group, set()).add(case.class_label)
    counts = Counter(label for labels in classes.values() for label in labels) or {"": 0}
    n_needed = round(1 / rule.held_out)
    for label, n_groups in sorted(counts.items()):
        if n_groups < n_needed:
            of_class = f" of class {label!r}" if label else ""
            raise ValueError(
                f"held_out is {rule.held_out}, which needs {n_needed} groups{of_class}, "
                f"found {n_groups}"
            )
    strata: dict[tuple[str, ...], list[str]] = {}
    for group, labels in sorted(classes.items()):
        strata.setdefault(tuple(sorted(labels)), []).append(group)
    shares = {stratum: rule.held_out * len(groups) + MARGIN for stratum, groups in strata.items()}
    n_chosen = {
        stratum: max(int(share), len(strata[stratum]) >= n_needed)
        for stratum, share in shares.items()
    }
    n_more = int(rule.held_out * len(classes) + MARGIN + 0.5) - sum(n_chosen.values())
    nearest = sorted(shares, key=lambda stratum: n_chosen[stratum] - shares[stratum])
    for stratum in nearest[: max(n_more, 0)]:
        n_chosen[stratum] += 1
    draw = random.Random(rule.seed)
    held_out: set[str] = set()
    for stratum, groups in strata.items():
        held_out.update(draw.sample(groups, n_chosen[stratum]))
    kept = [
        case
        for case in cases
        if rule.later_visits or not (case.follow_up and case.group in held_out)
    ]
    problems = []
    if len(kept) < len(cases):
        text = f"{len(cases) - len(kept)} later visits of patients who are held out"
        action = "left out: later visits never serve as test cases"
        problems.append(Problem("", "", "note", text, action))
    parts = [replace(case, split="test" if case.group in held_out else "train") for case in kept]
    return parts, problems
