"""Who the subjects of each part and class are: age, sex and scores, and whether they differ."""

from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from scipy.stats import chi2_contingency, kruskal

from segflow.datasets.folds import Fold
from segflow.files.cases import Case

NUMBERS = ("age", "mmse", "cdr")
SEXES = ("F", "M")
COLUMNS = ["fold", "part", "class", "cases", "subjects", *SEXES, "sex unknown"]
COLUMNS += [f"{name} {what}" for name in NUMBERS for what in ("mean", "sd", "n")]
BETWEEN_CLASSES, BETWEEN_PARTS = "p between classes", "p between parts"


def describe_cohort(
    cases: Iterable[Case], folds: Sequence[Fold], classes: Sequence[str]
) -> list[dict]:
    """Describe the subjects of each class in training and validation of each fold, and in test.

    Numbers and tests count each subject of a part once, with its first case there by name, for
    visits of one subject are no independent observations. Differences between classes, and between
    parts, are tested by Kruskal and Wallis (age, scores) and by chi-squared (sex); nothing is
    corrected, for the tests warn and prove nothing.

    Parameters
    ----------
    cases : iterable of Case
        All cases.
    folds : sequence of dict
        See `segflow.datasets.folds.make_folds`.
    classes : sequence of str
        The classes, in their order.

    Returns
    -------
    list of dict
        Rows of ``COLUMNS``. Those of tests have the p values in the columns ``F`` (of sex) and
        ``NAME mean``; empty where there is nothing to compare.
    """
    known = {case.case: case for case in sorted(cases, key=lambda case: case.case)}
    test = [case for case in known.values() if case.split == "test"]
    groups = [
        (str(number), {part: [known[name] for name in sorted(fold[part])] for part in fold})
        for number, fold in enumerate(folds)
    ]
    training = [case for case in known.values() if case.split != "test"]
    if test:
        groups.append(("", {"all training": training, "test": test}))
    rows = []
    for number, parts in groups:
        for part, members in parts.items():
            by_class = {name: [c for c in members if c.class_label == name] for name in classes}
            for name, own in [*by_class.items(), ("all", members)]:
                rows.append(_describe(number, part, name, own))
            rows.append(_compare(number, part, BETWEEN_CLASSES, by_class.values()))
        for name in [*classes, "all"]:
            sides = [
                [case for case in members if name in ("all", case.class_label)]
                for members in parts.values()
            ]
            rows.append(_compare(number, BETWEEN_PARTS, name, sides))
    return rows


def _describe(fold: str, part: str, class_label: str, cases: list[Case]) -> dict:
    first = _subjects(cases)
    sexes = [case.covariates.get("sex", "") for case in first]
    row = _blank(fold, part, class_label) | {"cases": len(cases), "subjects": len(first)}
    row |= {sex: sexes.count(sex) for sex in SEXES}
    row["sex unknown"] = len(first) - sum(row[sex] for sex in SEXES)
    for name in NUMBERS:
        values = _numbers(first, name)
        row[f"{name} n"] = len(values)
        if values:
            row[f"{name} mean"] = f"{mean(values):.2f}"
        if len(values) > 1:
            row[f"{name} sd"] = f"{stdev(values):.2f}"
    return row


def _compare(fold: str, part: str, class_label: str, groups: Iterable[list[Case]]) -> dict:
    firsts = [_subjects(cases) for cases in groups]
    row = _blank(fold, part, class_label)
    counts = [
        [sum(case.covariates.get("sex") == sex for case in first) for sex in SEXES]
        for first in firsts
    ]
    counts = [count for count in counts if any(count)]
    if len(counts) > 1 and all(map(any, zip(*counts, strict=True))):
        row["F"] = f"{chi2_contingency(counts).pvalue:.3g}"
    for name in NUMBERS:
        values = [found for first in firsts if (found := _numbers(first, name))]
        if len(values) > 1 and len({value for found in values for value in found}) > 1:
            row[f"{name} mean"] = f"{kruskal(*values).pvalue:.3g}"
    return row


def _blank(fold: str, part: str, class_label: str) -> dict:
    return dict.fromkeys(COLUMNS, "") | {"fold": fold, "part": part, "class": class_label}


def _subjects(cases: list[Case]) -> list[Case]:
    """Return the first case of each patient."""
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(case.patient, case)
    return list(first.values())


def _numbers(cases: list[Case], name: str) -> list[float]:
    return [float(case.covariates[name]) for case in cases if case.covariates.get(name)]
