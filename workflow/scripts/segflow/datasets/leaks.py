"""Images, patients and groups that a split must not have on both sides."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from segflow.datasets.parts import ASKED_FOR
from segflow.datasets.sources import Problem
from segflow.files.cases import Case

if TYPE_CHECKING:
    from segflow.datasets.near_duplicates import Pair


def find_copies(cases: Iterable[Case], published: bool) -> list[Problem]:
    """Report images whose voxels are those of another case, whatever their files look like.

    Parameters
    ----------
    cases : iterable of Case
        The cases of one part.
    published : bool
        Whether a published split was asked for, whose leaks are kept.

    Returns
    -------
    list of Problem
        An ``error`` for each case with the image of another group, a ``leak`` in its place if
        the published split has them on both sides, and a ``note`` of copies within a group or
        a published part. Images that share only some of their channels are noted, too.
    """
    problems = []
    for case, other, whole in _pairs(sorted(cases, key=lambda case: case.case)):
        same_group = case.group == other.group
        if not whole:
            if not same_group:
                text = f"shares a channel with case {other.case!r} of another group"
                problems.append(Problem(case.case, case.images, "note", text, "kept"))
            continue
        severity, action = "error", "exclude one, or give both one patient or group"
        if same_group:
            severity, action = "note", "kept in one group"
        elif published and case.published_split == other.published_split:
            severity, action = "note", f"kept in {case.published_split}"
        elif published:
            severity, action = "leak", ASKED_FOR
        text = f"the same image as case {other.case!r}"
        problems.append(Problem(case.case, case.images, severity, text, action))
    return problems


def contradictions(cases: Iterable[Case], pairs: Iterable["Pair"]) -> list[Problem]:
    """Note pictures that are nearly the same but have two classes, and equal ones with two masks.

    Parameters
    ----------
    cases : iterable of Case
        The cases of one part.
    pairs : iterable of Pair
        The near-duplicates.
    """
    known = {case.case: case for case in cases}
    problems = []
    for pair in pairs:
        if pair.contradicts and pair.case in known:
            text = (
                f"nearly the same picture as case {pair.other!r}, but of class {pair.case_class!r} "
                f"and not {pair.other_class!r}"
            )
            problems.append(Problem(pair.case, known[pair.case].images, "note", text, "kept"))
    for case, other, whole in _pairs(sorted(known.values(), key=lambda case: case.case)):
        if whole and case.label and other.label and case.label_voxels != other.label_voxels:
            text = f"the same image as case {other.case!r}, but another label"
            problems.append(Problem(case.case, case.label, "note", text, "kept"))
    return problems


def leaking_images(training: Iterable[Case], test: Iterable[Case]) -> list[Problem]:
    """Report test cases that show, wholly or in a channel, what another group's training case does.

    Groups on both sides of a published split are known before any image is read.
    """
    known = {case.case for case in training}
    problems = []
    for case, other, whole in _pairs([*training, *test]):
        if case.case in known or other.case not in known or case.group == other.group:
            continue
        what = "the image" if whole else "a channel of the image"
        text = f"test case {case.case!r} has {what} of training case {other.case!r}"
        problems.append(
            Problem(case.case, case.images, "leak", text, ASKED_FOR if whole else "kept")
        )
    return problems


def check_test_cases(training: list[Case], test: list[Case]) -> None:
    """Refuse test cases that training could have seen.

    Raises
    ------
    ValueError
        If a case name, the voxels of an image, a patient or a group is on both sides.
    """
    problems = []
    for name in ("case", "image", "patient", "group"):
        first = {_value(case, name): case.case for case in training}
        for case in test:
            value = _value(case, name)
            if value and value in first:
                other = first[value]
                problems.append(f"test case {case.case!r} has the {name} of {other!r}")
    if problems:
        more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise ValueError("test cases leak into training: " + "; ".join(problems[:10]) + more)


def _value(case: Case, name: str) -> str | frozenset[str]:
    return _channels(case) if name == "image" else getattr(case, name)


def _channels(case: Case) -> frozenset[str]:
    """Return the keys of the channels of a case that hold more than one value."""
    return frozenset(case.voxels.split(";")) - {""}


def _pairs(cases: Iterable[Case]) -> Iterable[tuple[Case, Case, bool]]:
    """Yield each case with the first one that shares voxels, and whether all channels do."""
    first: dict[str, Case] = {}
    wholes: dict[frozenset[str], Case] = {}
    for case in cases:
        keys = _channels(case)
        if not keys:
            continue
        if keys in wholes:
            yield case, wholes[keys], True
        elif shared := sorted(keys & first.keys()):
            yield case, first[shared[0]], False
        wholes.setdefault(keys, case)
        for key in keys:
            first.setdefault(key, case)
