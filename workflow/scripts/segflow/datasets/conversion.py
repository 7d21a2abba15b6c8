"""Conversion of a published data set to nnU-Net's raw layout, with a check of every file."""

from collections import Counter
from functools import partial
from pathlib import Path

from segflow.datasets.case_conversion import convert_case
from segflow.datasets.dataset_json import AS_STORED
from segflow.datasets.problems import failed_cases
from segflow.datasets.reading import Target
from segflow.datasets.sources import Problem, SourceCase
from segflow.files.cases import Case
from segflow.files.labels import Labels, foreground, foreground_values, ignored_value
from segflow.files.ledger import Ledger
from segflow.jobs.workers import map_cases

FEW, FEW_SHARE = 5, 0.05  # training cases with a label: fewer are worth a note


def target_of(dataset: dict, raw: Path, folder: Path, brains: Path | None) -> Target:
    """Return where and under which rules the cases of a data set are converted.

    Parameters
    ----------
    dataset : dict
        Description of the data set.
    raw, folder, brains : Path
        See `segflow.datasets.reading.Target`.
    """
    labels = dataset.get("labels", {})
    return Target(
        raw=raw,
        folder=folder,
        n_channels=len(dataset["channels"]),
        labels=frozenset({0, *foreground_values(labels), ignored_value(labels) or 0}),
        reading=dataset["reading"],
        brains=brains,
    )


def convert_cases(
    sources: list[SourceCase], target: Target, workers: int
) -> tuple[list[Case], list[Problem], dict[Path, str]]:
    """Check and convert cases.

    A case whose raw files did not change since it was converted is left as it is.

    Parameters
    ----------
    sources : list of SourceCase
        The cases.
    target : Target
        Where to and under which rules.
    workers : int
        Number of processes.

    Returns
    -------
    cases : list of Case
        The converted cases.
    problems : list of Problem
        What was found; cases with an error are not among `cases`.
    sha256 : dict of Path to str
        Hash of each raw file.
    """
    cases, problems, sha256 = [], [], {}
    for _, result in map_cases(partial(convert_case, target=target), sources, workers, "convert"):
        case, found, hashes = result
        problems += found
        sha256 |= hashes
        if case:
            cases.append(case)
    cases.sort(key=lambda case: case.case)
    failed = failed_cases(problems)
    problems.sort(key=lambda problem: (problem.case, problem.file, problem.problem))
    return [case for case in cases if case.case not in failed], problems, sha256


def remove_other_cases(sources: list[SourceCase], part: str, target: Target) -> None:
    """Remove what earlier conversions of a part left of cases that are no longer in it.

    Parameters
    ----------
    sources : list of SourceCase
        The cases of the part.
    part : {'train', 'test'}
        The part.
    target : Target
        Where they are converted to.
    """
    images, labels = (Ledger(folder) for folder in target.folders(part))
    images.prune(source.case for source in sources)
    made = "brain" in target.reading
    labels.prune(source.case for source in sources if made or source.labels is not None)


def missing_labels(cases: list[Case], labels: Labels) -> list[Problem]:
    """Report labels that no training case holds, and those that few hold.

    Parameters
    ----------
    cases : list of Case
        The training cases; those without a reference do not count.
    labels : mapping of str to int or list of int
        Value of each label, and values of each region.
    """
    held = [case.label_volumes_mm3 for case in cases if case.label]
    problems = []
    for name, values in foreground(labels).items():
        count = sum(any(value in found for value in values) for found in held)
        if not count:
            text = f"label {name!r} ({', '.join(map(str, values))}) is in no training case"
            action = "mend the label maps, say which file is a mask of it, or declare it no more"
            problems.append(Problem("", "", "error", text, action))
        elif count < max(FEW, FEW_SHARE * len(held)):
            text = f"label {name!r} is in {count} of {len(held)} training cases"
            problems.append(Problem("", "", "note", text, "kept"))
    return problems


def note_orientations(cases: list[Case], rule: str) -> list[Problem]:
    """Note that images are stored in several orientations.

    Parameters
    ----------
    cases : list of Case
        The cases of one part.
    rule : str
        Orientation that they are brought to, or ``stored``.
    """
    found = Counter(case.orientation for case in cases if case.orientation)
    if len(found) < 2:
        return []
    text = f"images are stored in {len(found)} orientations: " + ", ".join(
        f"{count} {name}" for name, count in sorted(found.items())
    )
    action = f"networks see all of them as {rule}"
    if rule == AS_STORED:
        action = "kept; reading.orientation: RAS brings them to one"
    return [Problem("", "", "note", text, action)]
