"""Files of an experiment that a power cut, a full disk or a person damaged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.experiment import Start
from project import Project

DATASET = "Dataset004_hippocampus"


def cut(path: Path) -> None:
    """Leave the first two thirds of a file."""
    _replace(path, path.read_bytes()[: 2 * path.stat().st_size // 3])


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    _replace(path, bytes(content))


def empty(path: Path) -> None:
    """Leave a file of no bytes."""
    _replace(path, b"")


def _replace(path: Path, content: bytes) -> None:
    """Give a name to other content; the file may be a published one with a second name."""
    path.unlink()
    path.write_bytes(content)


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
    stage, further : tuple of str
        What Snakemake is asked to do before, and after.
    pattern : str
        The file under the results; the first of several.
    said : str
        What Snakemake must say after.
    """

    what: str
    harm: Callable[[Path], None]
    stage: tuple[str, ...]
    further: tuple[str, ...]
    pattern: str
    said: str


CASE = "is lost, cut short or replaced"
TABLE = "expected columns"
JSON = "not valid JSON"
HASH = "expected SHA-256"
RAW, PREPROCESSED = f"nnUNet_raw/{DATASET}", f"nnUNet_preprocessed/{DATASET}"
CHECKPOINT = f"nnUNet_results/{DATASET}/*/fold_0/checkpoint_final.pth"
OWN = "hippocampus"  # the data set's folder of tables
CONVERTED = ("convert", f"results/{OWN}/cases/train.csv"), ("preprocess", "plan")
PREPARED = ("preprocess", "plan"), ("train",)
TRAINED = ("train",), ("--until", "predict_fold")
PREDICTED = ("--until", "predict_fold"), ("--until", "ensemble_predictions")
ENSEMBLED = ("--until", "ensemble_predictions"), ("--until", "evaluate_predictor")
SEARCHED = ("--until", "search_postprocessing"), ("--until", "evaluate_predictor")
EVALUATED = ("--until", "evaluate_predictor"), ()
DAMAGES = [
    Damage("converted label map", remove, *CONVERTED, f"{RAW}/labelsTr/*.gz", CASE),
    Damage("table of cases", empty, *CONVERTED, f"{OWN}/cases/train.csv", TABLE),
    Damage("converted image", cut, *CONVERTED, f"{RAW}/imagesTr/*.gz", CASE),
    Damage("preprocessed case", remove, *PREPARED, f"{PREPROCESSED}/*fullres/*.pkl", CASE),
    Damage("preprocessed cases", empty, *PREPARED, f"{OWN}/preprocessed/*/train.csv", TABLE),
    Damage("preprocessed case", cut, *PREPARED, f"{PREPROCESSED}/*fullres/*.b2nd", CASE),
    Damage("checkpoint", cut, *TRAINED, CHECKPOINT, HASH),
    Damage("checkpoint", remove, *TRAINED, CHECKPOINT, HASH),
    Damage("manifest of a training", empty, *TRAINED, f"{OWN}/*/fold_0/training.json", JSON),
    Damage("checkpoint", flip, *TRAINED, CHECKPOINT, HASH),
    Damage("probabilities", cut, *PREDICTED, f"{OWN}/*/probabilities/fold_0_val/*.b2nd", CASE),
    Damage("predictions", empty, *ENSEMBLED, f"{OWN}/*/predictions/test/raw/*.csv", TABLE),
    Damage("predicted label map", cut, *ENSEMBLED, f"{OWN}/*/predictions/val/raw/*.gz", CASE),
    Damage("choice of post-processing", cut, *SEARCHED, f"{OWN}/*/postprocessing.json", JSON),
    Damage("metrics", cut, *EVALUATED, f"{OWN}/*/metrics.csv", "end within a row"),
]


def damage_in_turn(project: Project) -> Iterator[tuple[Damage, str]]:
    """Run an experiment stage by stage and damage it on its way, each file when it is next used.

    Yields
    ------
    tuple of (Damage, str)
        The damage, and what went otherwise than it should; empty if it was noticed.
    """
    for damage in DAMAGES:
        project.snakemake(*damage.stage)
        damage.harm(sorted(project.results.glob(damage.pattern))[0])
        start = Start(project, damage.further)
        if start.wait():
            yield damage, "was not noticed"
        elif damage.said in start.text:
            yield damage, ""
        else:
            yield damage, f"ended otherwise: {start.text[-1000:]}"
