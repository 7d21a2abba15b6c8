"""Files of an experiment that a power cut, a full disk or a person damaged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.experiment import differences, final_state, finish
from project import Project

DATASET = "Dataset004_hippocampus"


def cut(path: Path) -> None:
    """Leave the first two thirds of a file."""
    path.write_bytes(path.read_bytes()[: 2 * path.stat().st_size // 3])


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    """Leave a file of no bytes."""
    path.write_bytes(b"")


def remove(path: Path) -> None:
    """Remove a file."""
    path.unlink()


@dataclass(frozen=True)
class Damage:
    """Damage to one file of an experiment that has come to a stage.

    Parameters
    ----------
    what : str
        The file, for people.
    harm : callable
        Does the damage.
    stage : tuple of str
        What Snakemake is asked to do before.
    pattern : str
        The file under the results; the first of several.
    said : str
        What the next start must say; empty if it finds nothing to complain of.
    """

    what: str
    harm: Callable[[Path], None]
    stage: tuple[str, ...]
    pattern: str
    said: str


CASE = "is lost, cut short or replaced"
TABLE = "expected columns"
DAMAGES = [
    Damage("converted image", cut, ("convert",), f"nnUNet_raw/{DATASET}/imagesTr/*.gz", CASE),
    Damage(
        "converted label map", remove, ("convert",), f"nnUNet_raw/{DATASET}/labelsTr/*.gz", CASE
    ),
    Damage("table of cases", empty, ("convert",), "hippocampus/cases/train.csv", TABLE),
    Damage(
        "preprocessed case",
        cut,
        ("preprocess", "plan"),
        "nnUNet_preprocessed/*/*fullres/*.b2nd",
        CASE,
    ),
    Damage(
        "preprocessed case",
        remove,
        ("preprocess", "plan"),
        "nnUNet_preprocessed/*/*fullres/*.pkl",
        CASE,
    ),
    Damage(
        "table of preprocessed cases",
        empty,
        ("preprocess", "plan"),
        "hippocampus/preprocessed/*fullres/train.csv",
        TABLE,
    ),
    Damage(
        "checkpoint",
        cut,
        ("train",),
        "nnUNet_results/*/*/fold_0/checkpoint_final.pth",
        "expected SHA-256",
    ),
    Damage(
        "checkpoint",
        flip,
        ("train",),
        "nnUNet_results/*/*/fold_1/checkpoint_final.pth",
        "expected SHA-256",
    ),
    Damage(
        "checkpoint",
        remove,
        ("train",),
        "nnUNet_results/*/*/fold_0/checkpoint_final.pth",
        "expected SHA-256",
    ),
    Damage(
        "manifest of a training",
        empty,
        ("train",),
        "hippocampus/*/fold_0/training.json",
        "not valid JSON",
    ),
    Damage(
        "probabilities",
        cut,
        ("--until", "predict_fold"),
        "hippocampus/*/probabilities/fold_0_val/*.b2nd",
        CASE,
    ),
    Damage(
        "predicted label map",
        cut,
        ("--until", "ensemble_predictions"),
        "hippocampus/*/predictions/val/raw/*.gz",
        CASE,
    ),
    Damage(
        "table of predictions",
        empty,
        ("--until", "ensemble_predictions"),
        "hippocampus/*/predictions/test/raw/predictions.csv",
        TABLE,
    ),
    Damage(
        "choice of post-processing",
        cut,
        ("--until", "search_postprocessing"),
        "hippocampus/*/postprocessing.json",
        "not valid JSON",
    ),
    Damage(
        "metrics",
        cut,
        ("--until", "evaluate_predictor"),
        "hippocampus/*/metrics.csv",
        "ends within a row",
    ),
]


def damage_everywhere(
    project: Project, folder: Path, expected: dict[str, object], chosen: list[Damage] = DAMAGES
) -> Iterator[tuple[Damage, bool, str]]:
    """Damage copies of an experiment on its way, and finish each by plain reruns.

    Parameters
    ----------
    project : Project
        An experiment that has not run yet. It runs on, stage by stage.
    folder : Path
        Folder for the copies.
    expected : dict
        The final state of an undisturbed run.
    chosen : list of Damage
        In the order of their stages.

    Yields
    ------
    tuple of (Damage, bool, str)
        The damage, whether it was noticed and the end is that of an undisturbed run, and a note.
    """
    reached = None
    for number, damage in enumerate(chosen):
        if damage.stage != reached:
            project.snakemake(*damage.stage)
            reached = damage.stage
        copy = project.copy(folder / str(number))
        path = sorted(copy.results.glob(damage.pattern))[0]
        damage.harm(path)
        try:
            said = finish(copy, 3)
        except AssertionError as error:
            yield damage, False, f"does not end: {str(error)[-500:]}"
            continue
        found = differences(final_state(copy), expected)
        if damage.said not in said:
            yield damage, False, f"was not noticed: {said[-500:]}"
        else:
            yield damage, not found, ", ".join(found[:5])
