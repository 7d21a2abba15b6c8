"""Comparison of many label maps with their references; finished ones are kept."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from segflow.evaluation.one_case import Settings, evaluate_case
from segflow.files.code import module_key
from segflow.files.content import content_key, file_sha256, read_json, write_json
from segflow.images.nifti import describe_difference, read_grid
from segflow.jobs.workers import finish_cases


@dataclass(frozen=True)
class Comparison:
    """A reference, a prediction, and the columns that tell them from others in a table."""

    reference: Path
    prediction: Path
    about: dict[str, str | int]


def check_comparisons(comparisons: Iterable[Comparison]) -> None:
    """Refuse missing files and grids that differ, from headers alone.

    Raises
    ------
    FileNotFoundError
        If a reference or prediction is missing.
    ValueError
        If a file cannot be read, or reference and prediction lie on different grids.
    """
    for one in comparisons:
        for what, path in (("reference", one.reference), ("prediction", one.prediction)):
            if not path.exists():
                raise FileNotFoundError(f"{path}: the {what} of this case is missing")
        difference, _ = describe_difference(read_grid(one.reference), read_grid(one.prediction))
        if difference:
            raise ValueError(
                f"{one.prediction}: differs from its reference {one.reference} in {difference}"
            )


def evaluate_cases(
    comparisons: Iterable[Comparison], settings: Settings, folder: Path, workers: int
) -> tuple[list[dict], list[dict]]:
    """Evaluate many label maps; see `evaluate_case`. Finished cases are kept.

    Label maps of the same content, as post-processing leaves many, are evaluated once.

    Parameters
    ----------
    comparisons : iterable of Comparison
        What to compare.
    settings : Settings
        What is measured.
    folder : Path
        Where the results of each case are kept, named by the content that they were made from.
    workers : int
        Number of processes.

    Returns
    -------
    metrics : list of dict
        One row for each comparison and label, in the order of the comparisons.
    lesions : list of dict
        One row for each comparison and lesion.
    """
    comparisons = list(comparisons)
    check_comparisons(comparisons)
    references = {one.reference for one in comparisons}
    hashes = {path: file_sha256(path) for path in references}
    made_from = [module_key("evaluation.one_case"), asdict(settings)]
    keys = [
        content_key(made_from, hashes[one.reference], file_sha256(one.prediction))
        for one in comparisons
    ]
    items = {key: one for key, one in zip(keys, comparisons, strict=True)}
    work = partial(_evaluate, settings=settings, folder=folder)
    finish_cases(folder, {key: key for key in items}, items, work, workers, "evaluate")
    metrics, lesions = [], []
    for key, one in zip(keys, comparisons, strict=True):
        found = read_json(folder / f"{key}.json")
        metrics += [{**one.about, "label": label, **row} for label, row in found["metrics"].items()]
        lesions += [{**one.about, **row} for row in found["lesions"]]
    return metrics, lesions


def _evaluate(item: tuple[str, Comparison], settings: Settings, folder: Path) -> list[Path]:
    key, one = item
    metrics, lesions = evaluate_case(one.reference, one.prediction, settings)
    path = folder / f"{key}.json"
    write_json(path, {"metrics": metrics, "lesions": lesions})
    return [path]
