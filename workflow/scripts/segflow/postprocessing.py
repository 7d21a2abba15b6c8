"""Connected-component post-processing: a search on cross-validation predictions, and its use.

The search follows nnU-Net: first all foreground together, then each label or region, always
starting from what was adopted before. A step is adopted if it raises the mean Dice and makes no
label worse.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cc3d
import numpy as np

from segflow.content import content_key
from segflow.images import SUFFIX, read_labels, write_image
from segflow.labels import Labels, foreground, foreground_values
from segflow.ledger import finish_cases
from segflow.metrics import joint_histogram, overlap
from segflow.workers import map_cases


@dataclass(frozen=True)
class Step:
    """One post-processing step: keep the largest component of some labels taken together.

    Parameters
    ----------
    name : str
        ``foreground``, or the name of the label or region.
    labels : tuple of int
        The labels whose union is looked at.
    """

    name: str
    labels: tuple[int, ...]
    operation: str = "keep_largest_component"


def candidate_steps(labels: Labels) -> list[Step]:
    """Return the steps that the search tries, in its order.

    Parameters
    ----------
    labels : dict
        Labels and regions of the data set.
    """
    everything = tuple(foreground_values(labels))
    steps = [Step(name, tuple(members)) for name, members in foreground(labels).items()]
    return [
        Step("foreground", everything),
        *(step for step in steps if set(step.labels) != set(everything)),
    ]


def apply_step(label_map: np.ndarray, step: Step) -> np.ndarray:
    """Remove all but the largest component of a step's labels.

    Components are connected through faces, edges and corners (26 neighbours; 8 in 2D). Equally
    large components are all kept, as nnU-Net does.

    Parameters
    ----------
    label_map : ndarray of int
        Of shape (z, y, x); it is not changed.
    step : Step
        What to do.

    Returns
    -------
    ndarray of int
        The label map with the smaller components set to background.
    """
    mask = np.isin(label_map, step.labels)
    # cc3d 4.1 fails on dense masks of odd size; a margin of background makes them even.
    padded = np.pad(mask, [(0, 1)] * mask.ndim)
    components, count = cc3d.connected_components(padded, connectivity=26, return_N=True)
    if count <= 1:
        return label_map
    components = components[tuple(slice(0, size) for size in mask.shape)]
    sizes = np.bincount(components.ravel())[1:]
    small = np.concatenate([[False], sizes < sizes.max()])
    return np.where(small[components], 0, label_map).astype(label_map.dtype)


def apply_steps(label_map: np.ndarray, steps: Iterable[Step]) -> np.ndarray:
    """Apply steps one after the other; see `apply_step`."""
    for step in steps:
        label_map = apply_step(label_map, step)
    return label_map


class Scores:
    """Dice of every validation case after any chain of steps, computed when first asked for.

    Parameters
    ----------
    references, predictions : dict of str to Path
        Label maps of the validation cases.
    labels : dict
        Labels and regions of the data set.
    workers : int
        Number of processes.
    """

    def __init__(
        self,
        references: dict[str, Path],
        predictions: dict[str, Path],
        labels: Labels,
        workers: int,
    ):
        self.cases = sorted(predictions)
        self.references, self.predictions = references, predictions
        self.steps = candidate_steps(labels)
        self.workers = workers
        self.score = partial(_score_case, labels=labels)
        self.known: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, chain: tuple[int, ...]) -> np.ndarray:
        """Return the Dice after a chain of candidates, of shape (case, label)."""
        if chain not in self.known:
            work = partial(self.score, steps=[self.steps[number] for number in chain])
            what = " + ".join(self.steps[number].name for number in chain) or "unchanged"
            files = [(self.references[case], self.predictions[case]) for case in self.cases]
            found = dict(map_cases(work, files, self.workers, what))
            self.known[chain] = np.array([found[pair] for pair in files])
        return self.known[chain]

    def means(self, chain: tuple[int, ...], chosen: np.ndarray) -> np.ndarray:
        """Return the mean Dice of each label over the chosen cases where it is defined."""
        scores = self(chain)[chosen]
        defined = ~np.isnan(scores)
        return np.where(defined, scores, 0).sum(0) / np.maximum(defined.sum(0), 1)


def search(scores: Scores, folds: dict[str, int]) -> dict:
    """Choose the steps that help, and estimate what they gain.

    Parameters
    ----------
    scores : Scores
        The validation cases and what each chain of steps makes of them.
    folds : dict of str to int
        Fold in which each case was validated.

    Returns
    -------
    dict
        ``searched``: the candidates; ``steps``: the adopted ones, in order; ``trials``: what each
        was worth; ``gain``: the change of the mean Dice, ``in_sample`` (chosen and measured on the
        same cases, hence too good) and ``cross_fitted`` (each fold measured with what the other
        folds would choose; None if there is one fold only).
    """
    everything = np.ones(len(scores.cases), bool)
    chain, trials = _choose(scores, everything)
    fold_of = np.array([folds[case] for case in scores.cases])
    gains, weights = [], []
    for fold in sorted(set(fold_of)) if len(set(fold_of)) > 1 else []:
        held_out = fold_of == fold
        others, _ = _choose(scores, ~held_out)
        gains.append((scores.means(others, held_out) - scores.means((), held_out)).mean())
        weights.append(held_out.sum())
    gain = (scores.means(chain, everything) - scores.means((), everything)).mean()
    return {
        "metric": "mean Dice over labels and validation cases",
        "searched": [asdict(step) for step in scores.steps],
        "steps": [asdict(scores.steps[number]) for number in chain],
        "trials": trials,
        "n_cases": len(scores.cases),
        "gain": {
            "in_sample": float(gain),
            "cross_fitted": float(np.average(gains, weights=weights)) if gains else None,
        },
    }


def _choose(scores: Scores, chosen: np.ndarray) -> tuple[tuple[int, ...], list[dict]]:
    """Go through the candidates once and adopt what raises the mean and lowers no label."""
    chain: tuple[int, ...] = ()
    trials = []
    for number, step in enumerate(scores.steps):
        change = scores.means((*chain, number), chosen) - scores.means(chain, chosen)
        adopted = bool(change.mean() > 0 and (change >= 0).all())
        trials.append({"step": step.name, "change_of_dice": change.tolist(), "adopted": adopted})
        if adopted:
            chain = (*chain, number)
    return chain, trials


def _score_case(files: tuple[Path, Path], labels: Labels, steps: list[Step]) -> list[float]:
    """Return the Dice of each label of a case after some steps."""
    (reference, _), (prediction, _) = map(read_labels, files)
    n_values = foreground_values(labels)[-1] + 1
    histogram = joint_histogram(reference, apply_steps(prediction, steps), n_values)
    return [overlap(histogram, values, 1.0)["dice"] for values in foreground(labels).values()]


def postprocess_cases(
    sources: dict[str, str], source: Path, target: Path, choice: dict, workers: int
) -> dict[str, str]:
    """Apply the adopted steps to label maps; finished cases are kept.

    Parameters
    ----------
    sources : dict of str to str
        The key of each label map before.
    source, target : Path
        Folders of the label maps before and after.
    choice : dict
        What `search` returned.
    workers : int
        Number of processes.

    Returns
    -------
    dict of str to str
        The key of each label map after.
    """
    keys = {case: content_key(key, choice["steps"]) for case, key in sources.items()}
    work = partial(_postprocess_case, source=source, target=target, steps=read_steps(choice))
    finish_cases(target, keys, dict.fromkeys(keys), work, workers, "postprocess")
    return keys


def read_steps(choice: dict) -> list[Step]:
    """Return the adopted steps of what `search` returned, also after a way through JSON."""
    return [Step(**{**step, "labels": tuple(step["labels"])}) for step in choice["steps"]]


def _postprocess_case(
    item: tuple[str, None], source: Path, target: Path, steps: list[Step]
) -> list[Path]:
    path = target / f"{item[0]}{SUFFIX}"
    label_map, grid = read_labels(source / path.name)
    write_image(path, apply_steps(label_map, steps), grid)
    return [path]
