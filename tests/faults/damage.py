"""Files of an experiment that a power cut, a full disk or a person damaged."""

import os
import time
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


def run_ahead(path: Path) -> None:
    """Leave a file from tomorrow."""
    tomorrow = time.time() + 86400
    os.utime(path, (tomorrow, tomorrow))


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
JSON = "not valid JSON"
HASH = "expected SHA-256"
RAW, PREPROCESSED = f"nnUNet_raw/{DATASET}", f"nnUNet_preprocessed/{DATASET}"
FOLD = f"nnUNet_results/{DATASET}/*/fold_0"
OWN = "hippocampus"  # the data set's folder of tables
CONVERT, PREPROCESS, TRAIN = ("convert",), ("preprocess", "plan"), ("train",)
PREDICT, ENSEMBLE = ("--until", "predict_fold"), ("--until", "ensemble_predictions")
SEARCH, EVALUATE = ("--until", "search_postprocessing"), ("--until", "evaluate_predictor")
DAMAGES = [
    Damage("converted label map", remove, CONVERT, f"{RAW}/labelsTr/*.gz", CASE),
    Damage("table of cases", empty, CONVERT, f"{OWN}/cases/train.csv", TABLE),
    Damage("converted image", cut, CONVERT, f"{RAW}/imagesTr/*.gz", CASE),
    Damage("preprocessed case", remove, PREPROCESS, f"{PREPROCESSED}/*fullres/*.pkl", CASE),
    Damage("preprocessed cases", empty, PREPROCESS, f"{OWN}/preprocessed/*/train.csv", TABLE),
    Damage("preprocessed case", cut, PREPROCESS, f"{PREPROCESSED}/*fullres/*.b2nd", CASE),
    Damage("clock", run_ahead, TRAIN, f"{OWN}/splits.json", ""),
    Damage("checkpoint", cut, TRAIN, f"{FOLD}/checkpoint_final.pth", HASH),
    Damage("checkpoint", remove, TRAIN, f"{FOLD}/checkpoint_final.pth", HASH),
    Damage("manifest of a training", empty, TRAIN, f"{OWN}/*/fold_0/training.json", JSON),
    Damage("checkpoint", flip, TRAIN, f"{FOLD}/checkpoint_final.pth", HASH),
    Damage("probabilities", cut, PREDICT, f"{OWN}/*/probabilities/fold_0_val/*.b2nd", CASE),
    Damage("predictions", empty, ENSEMBLE, f"{OWN}/*/predictions/test/raw/*.csv", TABLE),
    Damage("predicted label map", cut, ENSEMBLE, f"{OWN}/*/predictions/val/raw/*.gz", CASE),
    Damage("choice of post-processing", cut, SEARCH, f"{OWN}/*/postprocessing.json", JSON),
    Damage("metrics", cut, EVALUATE, f"{OWN}/*/metrics.csv", "end within a row"),
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
