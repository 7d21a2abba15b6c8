"""What classifiers say of cases: probabilities of classes, averaged over folds and members."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segflow.files.cases import Case, read_rows, write_rows
from segflow.files.content import Damaged
from segflow.files.words import enumerate_some

ABOUT = ["split", "fold", "case", "class"]
SPLITS = ("val", "test")
DECIMALS = 12  # beyond which rounding of sums would break ties, in one class and not in another
SUM_TOLERANCE = 1e-3  # of the sum of probabilities: what rounding to three decimals takes from it
Table = tuple[Path, str, int | str, float]  # probabilities of one fold, its member, fold and weight


@dataclass(frozen=True)
class Classified:
    """What a classifier says of the cases of one split.

    Parameters
    ----------
    cases : list of str
        Names, sorted.
    folds : list of str
        Fold whose network a validation case is predicted by; empty of test cases.
    truth : ndarray of int
        Place of the class of each case, -1 where it is not known.
    probabilities : ndarray of float
        Of shape (cases, classes).
    """

    cases: list[str]
    folds: list[str]
    truth: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.cases)

    def known(self) -> "Classified":
        """Return the cases whose class is known."""
        kept = np.flatnonzero(self.truth >= 0)
        return Classified(
            [self.cases[place] for place in kept],
            [self.folds[place] for place in kept],
            self.truth[kept],
            self.probabilities[kept],
        )


def columns(classes: list[str]) -> list[str]:
    """Return the names of the columns of probabilities, one for each class."""
    return [f"p_{name}" for name in classes]


def write_fold(path: Path, probabilities: dict[str, np.ndarray], classes: list[str]) -> None:
    """Write the probabilities, of shape (classes,), of each case that one fold predicts."""
    rows = [{"case": case, **_row(probabilities[case], classes)} for case in sorted(probabilities)]
    write_rows(path, rows, ["case", *columns(classes)])


def read_fold(path: Path, classes: list[str]) -> dict[str, np.ndarray]:
    """Read the probabilities, of shape (classes,), of each case that one fold predicts.

    Raises
    ------
    Damaged
        If the table has other columns, a case twice, or what are no probabilities with the sum 1.
    """
    found: dict[str, np.ndarray] = {}
    for row in read_rows(path, ["case", *columns(classes)]):
        if row["case"] in found:
            raise Damaged(f"{path}: case {row['case']!r} is listed twice", path)
        found[row["case"]] = _probabilities(row, classes, path)
    return found


def average_members(
    tables: Iterable[Table], classes: list[str], expected: dict[int | str, list[str]]
) -> dict[str, np.ndarray]:
    """Average the probabilities of folds, and then of members.

    Parameters
    ----------
    tables : iterable of (Path, str, int or str, float)
        Table of each network, its member, its fold, and the weight of the member.
    classes : list of str
        Names of the classes.
    expected : dict of int or str to list of str
        The cases that each fold is to predict: of validation cases those that it was not trained
        on, of test cases all.

    Returns
    -------
    dict of str to ndarray of float
        For each case the weighted mean over members of the mean over their folds, with the sum 1.

    Raises
    ------
    Damaged
        See `read_fold`.
    ValueError
        If a table lacks an expected case, or has another one; or if a weight is not positive.
    """
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    weights: dict[str, float] = {}
    for path, member, fold, weight in tables:
        if not 0 < weight < math.inf:
            raise ValueError(f"{path}: the weight of {member} must be positive, found {weight}")
        weights[member] = weight
        predicted, wanted = read_fold(path, classes), set(expected[fold])
        if missing := wanted - predicted.keys():
            raise ValueError(
                f"{path}: {member}, fold {fold}, has no probabilities of {enumerate_some(missing)}"
            )
        if extra := predicted.keys() - wanted:
            raise ValueError(
                f"{path}: {member}, fold {fold}, has probabilities of {enumerate_some(extra)}, "
                "which it is not to predict"
            )
        for case, probabilities in predicted.items():
            found.setdefault(case, {}).setdefault(member, []).append(probabilities)
    return {case: weigh(members, weights) for case, members in sorted(found.items())}


def weigh(members: dict[str, list[np.ndarray]], weights: dict[str, float]) -> np.ndarray:
    """Return the weighted mean over members of the mean over their folds, with the sum 1.

    Parameters
    ----------
    members : dict of str to list of ndarray of float
        Probabilities of shape (classes,) of each fold of each member.
    weights : dict of str to float
        Weight of each member.
    """
    shares = [weights[member] * np.mean(own, axis=0) for member, own in sorted(members.items())]
    total = np.sum(shares, axis=0)
    return total / total.sum()


def write_classification(
    path: Path,
    probabilities: dict[str, dict[str, np.ndarray]],
    fold_of: dict[str, int],
    cases: Iterable[Case],
    classes: list[str],
) -> None:
    """Write what a classifier says of all cases.

    Parameters
    ----------
    path : Path
        ``classification.csv``.
    probabilities : dict of str to dict of str to ndarray of float
        For each split the probabilities of each case.
    fold_of : dict of str to int
        Fold that validates each validation case.
    cases : iterable of Case
        All cases, with their classes.
    classes : list of str
        Names of the classes.
    """
    label_of = {case.case: case.class_label for case in cases}
    rows = [
        {
            "split": split,
            "fold": fold_of[case] if split == "val" else "",
            "case": case,
            "class": label_of[case],
            **_row(probabilities[split][case], classes),
        }
        for split in SPLITS
        for case in sorted(probabilities.get(split, {}))
    ]
    write_rows(path, rows, [*ABOUT, *columns(classes)])


def read_classification(path: Path, classes: list[str]) -> dict[str, Classified]:
    """Read what a classifier says of the cases of each split that it predicts.

    Raises
    ------
    Damaged
        If the table has other columns, an unknown split or class, a validation case without a
        fold or a test case with one, a case twice, or what are no probabilities with the sum 1.
    """
    rows = read_rows(path, [*ABOUT, *columns(classes)])
    seen: set[str] = set()
    for row in rows:
        where = f"{path}: case {row['case']!r}"
        if row["case"] in seen:
            raise Damaged(f"{where} is listed twice", path)
        seen.add(row["case"])
        if row["split"] not in SPLITS:
            raise Damaged(f"{where}: split is {row['split']!r}; allowed are val and test", path)
        if row["fold"].isdecimal() != (row["split"] == "val") or (row["split"] == "test") != (
            row["fold"] == ""
        ):
            raise Damaged(
                f"{where}: fold is {row['fold']!r}; a validation case has a number, a test case "
                "none",
                path,
            )
        if row["class"] not in ("", *classes):
            allowed = ", ".join(classes)
            raise Damaged(f"{where}: class is {row['class']!r}; allowed are {allowed}", path)
    found = {}
    for split in SPLITS:
        own = sorted((row for row in rows if row["split"] == split), key=lambda row: row["case"])
        if own:
            found[split] = Classified(
                [row["case"] for row in own],
                [row["fold"] for row in own],
                np.array([classes.index(r["class"]) if r["class"] else -1 for r in own]),
                np.stack([_probabilities(row, classes, path) for row in own]),
            )
    return found


def read_classifiers(
    tables: dict[str, Path], classes: list[str]
) -> dict[str, dict[str, Classified]]:
    """Read, for each split, the cases of known class as all its classifiers see them.

    Parameters
    ----------
    tables : dict of str to Path
        ``classification.csv`` of each classifier.
    classes : list of str
        Names of the classes.

    Returns
    -------
    dict of str to dict of str to Classified
        By split and classifier; splits without a case of known class are left out.

    Raises
    ------
    ValueError
        If classifiers do not have the same cases and classes of a split.
    """
    found: dict[str, dict[str, Classified]] = {split: {} for split in SPLITS}
    for name, path in tables.items():
        for split, classified in read_classification(path, classes).items():
            if len(known := classified.known()):
                found[split][name] = known
    for split, classifiers in found.items():
        names = list(classifiers)
        for name in names[1:]:
            first, other = (
                dict(zip(classifiers[one].cases, classifiers[one].truth, strict=True))
                for one in (names[0], name)
            )
            if lacking := set(first.items()) ^ set(other.items()):
                raise ValueError(
                    f"classifiers {names[0]!r} and {name!r} are not paired: {split} case "
                    f"{min(case for case, _ in lacking)!r} is in only one of them, or with "
                    "another class"
                )
    return {split: classifiers for split, classifiers in found.items() if classifiers}


def _row(probabilities: np.ndarray, classes: list[str]) -> dict[str, float]:
    return dict(zip(columns(classes), map(float, probabilities), strict=True))


def _probabilities(row: dict[str, str], classes: list[str], path: Path) -> np.ndarray:
    """Return the probabilities of a row, of shape (classes,), scaled to the sum 1."""
    try:
        values = np.array([float(row[name]) for name in columns(classes)])
    except ValueError:
        values = np.full(len(classes), np.nan)
    if not ((values >= 0) & (values <= 1)).all() or abs(values.sum() - 1) > SUM_TOLERANCE:
        given = ", ".join(row[name] or "nothing" for name in columns(classes))
        raise Damaged(
            f"{path}: case {row['case']!r}: {given} are no probabilities of "
            f"{', '.join(classes)}: from 0 to 1, with the sum 1",
            path,
        )
    return np.round(values / values.sum(), DECIMALS)
