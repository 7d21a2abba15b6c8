"""How far a training is: the table ``progress.csv``, one row an epoch, and its line for people."""

import csv
import sys
import time
from pathlib import Path

from segflow.files.cases import write_rows

COLUMNS = [
    "epoch",  # from 0
    "train_loss",
    "val_loss",
    "score",  # what the best checkpoint is chosen by, over the patches of validation
    "score_average",  # its moving average
    "score_name",
    "learning_rate",
    "seconds",
]
# Columns as they were called when there was one score only.
FORMER = {"pseudo_dice": "score", "ema_pseudo_dice": "score_average"}
FORMER_NAME = "pseudo Dice"
# Columns of a training with a head, after which come ``recall_CLASS`` of each class.
CLASS_COLUMNS = ["class_loss", "val_class_loss", "entropy"]
PACE_SECONDS = 10.0

Row = dict[str, str]


def read_progress(path: Path) -> list[Row]:
    """Read the rows of a training, whatever version wrote them; none without a table.

    A row that is cut short, as a crash leaves it, is left out.
    """
    try:
        with path.open(newline="") as file:
            found = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    rows = [
        {"score_name": FORMER_NAME} | {FORMER.get(name, name): value for name, value in row.items()}
        for row in found
        if None not in row and None not in row.values()
    ]
    return [{name: row[name] for name in (*COLUMNS, *_further(row))} for row in rows]


def _further(row: Row) -> list[str]:
    """Return the columns of a training with a head that a row has."""
    return [name for name in row if name in CLASS_COLUMNS or name.startswith("recall_")]


def write_progress(path: Path, rows: list[Row]) -> None:
    """Write the rows of a training, atomically."""
    write_rows(path, rows, [*COLUMNS, *_further(rows[-1] if rows else {})])


def enter_epoch(path: Path, values: dict[str, float | str]) -> None:
    """Add an epoch to a table; those that a checkpoint has taken back are removed."""
    rows = [row for row in read_progress(path) if int(row["epoch"]) < values["epoch"]]
    new = {k: value if isinstance(value, str) else f"{value:.6g}" for k, value in values.items()}
    write_progress(path, [*rows, new])


def describe_epoch(name: str, n_epochs: int, values: dict[str, float | str]) -> str:
    """Return a line about an epoch and the time that is left.

    Parameters
    ----------
    name : str
        Of the training.
    n_epochs : int
        Epochs of the whole training.
    values : dict
        See `COLUMNS`.
    """
    remaining = (n_epochs - values["epoch"] - 1) * values["seconds"]
    return (
        f"{name}: epoch {values['epoch'] + 1}/{n_epochs}  "
        f"loss {values['train_loss']:.3f}/{values['val_loss']:.3f}  "
        f"{values['score_name']} {values['score']:.3f} (average {values['score_average']:.3f})  "
        f"{values['seconds']:.1f} s, {_duration(remaining)} left"
    )


class Pace:
    """Says once how long something takes, as soon as this can be told.

    Parameters
    ----------
    what : str
        What takes so long.
    n_steps : int
        Steps that it has. The first one, which warms up, does not count if there are others.
    """

    def __init__(self, what: str, n_steps: int):
        self.what = what
        self.n_steps = n_steps
        self.n_done = 0
        self.begin = time.monotonic()
        self.warm = self.begin
        self.is_said = False

    def step(self) -> None:
        """Note that a step is done; say the pace when enough time has passed."""
        now = time.monotonic()
        self.n_done += 1
        if self.n_done == 1:
            self.warm = now
        if self.is_said or now - self.begin < PACE_SECONDS:
            return
        counted = self.n_done - 1
        each = (now - self.warm) / counted if counted else now - self.begin
        print(f"{self.what} takes about {_duration(each * self.n_steps)}", file=sys.stderr)
        self.is_said = True


def _duration(seconds: float) -> str:
    """Return a length of time as people write it."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
