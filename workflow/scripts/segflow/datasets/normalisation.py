"""Normalised brains of a data set's cases, kept by content, and what became of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from segflow.datasets.reading import Report, Target, read_channels
from segflow.datasets.sources import Problem, SourceCase
from segflow.files.content import content_key, file_sha256, replacing
from segflow.files.ledger import Ledger
from segflow.images.brains import PROCEDURE, Brain, check_head, draw_sheet, normalise_brain
from segflow.images.nifti import SUFFIX, read_image, read_labels, write_image
from segflow.images.raw_files import Volume
from segflow.jobs.workers import map_cases

PLACES = [f"pose_{row}{column}" for row in range(3) for column in range(4)]
COLUMNS = ("case", "score", "flagged", "content", *PLACES)
MAKING = ("spacing_mm", "margin_mm", "low_percent", "high_percent")  # options that change voxels
FAILED = "look at its contact sheet; exclude it, or state reading.brain.least_score"


@dataclass(frozen=True)
class Normalised:
    """Image of shape (1, z, y, x) and mask of shape (z, y, x) in template space, and its score."""

    volume: Volume
    mask: np.ndarray
    score: float


def brain_key(digests: Iterable[str], reading: dict) -> str:
    """Return a key of a normalised brain: of its files' SHA-256 and of how it is made."""
    options = {key: reading["brain"][key] for key in sorted(reading["brain"]) if key in MAKING}
    rest = {key: value for key, value in sorted(reading.items()) if key != "brain"}
    return content_key(PROCEDURE, list(digests), options, rest)


def check_cases(
    sources: list[SourceCase], target: Target, workers: int
) -> tuple[dict[str, str], dict[Path, str], list[Problem]]:
    """Read the images of all cases, but those whose brains are finished.

    This is done before the first brain is normalised, for that takes long.

    Parameters
    ----------
    sources : list of SourceCase
        The cases.
    target : Target
        Under which rules they are read, and where their brains are kept.
    workers : int
        Number of processes.

    Returns
    -------
    keys : dict of str to str
        Key of the brain of each case.
    sha256 : dict of Path to str
        Hash of each raw file.
    problems : list of Problem
        What cannot be read.
    """
    keys, sha256, problems = {}, {}, []
    work = partial(_check, target=target)
    for source, (key, hashes, found) in map_cases(work, sources, workers, "read"):
        keys[source.case] = key
        sha256 |= hashes
        problems += found
    return keys, sha256, sorted(problems, key=lambda problem: (problem.case, problem.file))


def normalise_cases(
    sources: list[SourceCase], keys: dict[str, str], target: Target, workers: int
) -> tuple[list[dict], list[Problem]]:
    """Normalise the brains of cases; what is finished is left as it is.

    Parameters
    ----------
    sources : list of SourceCase
        The cases.
    keys : dict of str to str
        See `check_cases`.
    target : Target
        Under which rules they are read, and where image, mask and contact sheet are kept.
    workers : int
        Number of processes.

    Returns
    -------
    rows : list of dict
        ``COLUMNS`` of each case that could be normalised, sorted.
    problems : list of Problem
        What is wrong with those that could not.
    """
    ledger = Ledger(target.brains)
    known = {source.case: source for source in sources}
    wanted = {case: keys[case] for case in sorted(known)}
    ledger.prune(wanted)
    waiting = [known[case] for case in ledger.waiting(wanted)]
    print(f"normalise: {len(known) - len(waiting)} of {len(known)} are finished", flush=True)
    problems = []
    work = partial(_normalise, target=target)
    for source, found in map_cases(work, waiting, workers, "normalise"):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            files, facts = found
            ledger.enter(source.case, wanted[source.case], files, **facts)
    least = target.reading["brain"]["least_score"]
    rows = []
    for case, key in wanted.items():
        if (facts := ledger.find(case, key)) is not None:
            flagged = "yes" if facts["score"] < least else ""
            rows.append({"case": case, "flagged": flagged, "content": key} | facts)
    return rows, problems


def read_normalised(
    source: SourceCase, key: str, target: Target, volume: Volume, report: Report
) -> Normalised | None:
    """Return the normalised brain of a case, kept under its key or made now.

    None, and a problem of `report`, if it cannot be made, or its registration failed.
    """
    options = target.reading["brain"]
    kept = None
    if target.brains is not None:
        kept = Ledger(target.brains).find(source.case, key)
    if kept is not None:
        array, grid = read_image(target.brains / f"{source.case}{SUFFIX}")
        mask, _ = read_labels(target.brains / f"{source.case}_mask{SUFFIX}")
        found = Normalised(Volume(array, grid), mask, kept["score"])
    else:
        try:
            brain = normalise_brain(volume.array[0], volume.grid, options)
        except ValueError as error:
            _report_failure(source, target, report, str(error))
            return None
        found = Normalised(Volume(brain.image[None], brain.grid), brain.mask, brain.score)
    if found.score < options["least_score"]:
        text = (
            f"its registration failed: correlation {found.score:.2f} with the template, at least "
            f"{options['least_score']:g} is needed"
        )
        _report_failure(source, target, report, text)
        return None
    return found


def _report_failure(source: SourceCase, target: Target, report: Report, text: str) -> None:
    """Report a failed registration, as an error or as a case that is left out."""
    if target.reading["brain"]["failed"] == "leave_out":
        report.add("note", source.images[0], text, f"left out; {FAILED}")
    else:
        report.add("error", source.images[0], text, FAILED)


def _check(source: SourceCase, target: Target) -> tuple[str, dict[Path, str], list[Problem]]:
    """Return the key of a case's brain, the hashes of its files, and what is wrong with them."""
    report = Report(source, target)
    try:
        sha256 = {path: file_sha256(path) for path in source.image_files}
    except OSError as error:
        report.error(source.images[0], ValueError(f"cannot be read ({error.strerror})"))
        return "", {}, report.problems
    key = brain_key(sha256.values(), target.reading)
    if Ledger(target.brains).find(source.case, key) is not None:
        return key, sha256, []
    if (volume := read_channels(source, target, report)) is not None:
        try:
            check_head(volume.array[0], volume.grid)
        except ValueError as error:
            report.error(source.images[0], error)
    return key, sha256, [problem for problem in report.problems if problem.severity == "error"]


def _normalise(source: SourceCase, target: Target) -> tuple[list[Path], dict] | Problem:
    """Write image, mask and contact sheet of a case; return them with the facts, or a problem."""
    report = Report(source, target)
    volume = read_channels(source, target, report)
    try:
        brain = normalise_brain(volume.array[0], volume.grid, target.reading["brain"])
    except ValueError as error:
        _report_failure(source, target, report, str(error))
        return report.problems[-1]
    files = [target.brains / f"{source.case}{end}" for end in (SUFFIX, f"_mask{SUFFIX}", ".png")]
    write_image(files[0], brain.image, brain.grid)
    write_image(files[1], brain.mask, brain.grid)
    with replacing(files[2]) as temporary:
        Image.fromarray(draw_sheet(brain)).save(temporary, format="png")
    return files, _facts(brain)


def _facts(brain: Brain) -> dict[str, float]:
    pose = [round(float(value), 4) for value in brain.pose[:3].flat]
    return {"score": round(brain.score, 4), **dict(zip(PLACES, pose, strict=True))}
