"""How fast a trained fold predicts its validation cases, and how well, in several ways."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from segflow.evaluation.metrics import joint_histogram, overlap
from segflow.files.content import content_key
from segflow.files.labels import Labels, blank_ignored, foreground, foreground_values
from segflow.files.ledger import Ledger
from segflow.images.nifti import SUFFIX, read_grid, read_labels, write_image
from segflow.jobs.devices import forget_peak, peak_megabytes
from segflow.models.prediction import export_case, read_previous, what_is_seen
from segflow.models.prediction_settings import REFERENCE
from segflow.models.preprocessing import load_preprocessed
from segflow.models.sliding_windows import Box, predict_logits
from segflow.predictors.ensembling import label_map_of

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

PROCEDURE = 1  # move it when seconds or label maps would come out differently


@dataclass(frozen=True)
class Trial:
    """Cases that a fold predicts, and where what is needed lies.

    Parameters
    ----------
    cases : list of str
        Names of the cases.
    preprocessed : Path
        Folder of the preprocessed cases.
    previous : Path or None
        Folder of the previous model's segmentations, for a cascade or a region of interest.
    references : Path
        Folder of the reference label maps.
    labels : dict of str to int or list of int
        Labels and regions that are measured.
    regions_class_order : list of int or None
        Label that each region paints; None for classes.
    threads : int
        Threads to use.
    """

    cases: list[str]
    preprocessed: Path
    previous: Path | None
    references: Path
    labels: Labels
    regions_class_order: list[int] | None
    threads: int


def try_settings(
    load: Callable[[str], "nnUNetPredictor"],
    keys: dict[str, dict[str, str]],
    trial: Trial,
    device: str,
    folder: Path,
) -> list[dict[str, Any]]:
    """Predict cases with every setting; what was measured before is kept.

    Parameters
    ----------
    load : callable
        Loads the predictor of a setting.
    keys : dict of str to dict of str to str
        For each setting the keys of the predictions of the cases; `REFERENCE` is among them.
    trial : Trial
        The cases.
    device : str
        Name of what computes: times of another one are measured anew.
    folder : Path
        Folder of what is measured, and of the label maps of the reference.

    Returns
    -------
    list of dict
        For each setting and case ``seconds``, from the preprocessed image to the label map,
        ``peak_mb``, ``dice``, the mean over labels, and ``equal``, the share of voxels that have
        the label which the reference setting gives them.
    """
    ledger = Ledger(folder)
    wanted = {
        f"{setting}__{case}": content_key(
            PROCEDURE, key, keys[REFERENCE][case], device, trial.labels, trial.threads
        )
        for setting, cases in keys.items()
        for case, key in cases.items()
    }
    ledger.prune(wanted)
    for setting in sorted(keys, key=lambda name: name != REFERENCE):
        entries = {case: f"{setting}__{case}" for case in trial.cases}
        waiting = [c for c, entry in entries.items() if ledger.find(entry, wanted[entry]) is None]
        done = len(entries) - len(waiting)
        _say(setting, done, len(entries))
        if not waiting:
            continue
        predictor = load(setting)
        _warm_up(predictor, trial, waiting[0])
        for number, case in enumerate(waiting, done + 1):
            label_map, facts = _measure(predictor, trial, case, folder / "trial.b2nd")
            path = folder / f"{case}{SUFFIX}"
            if setting == REFERENCE:
                write_image(path, label_map, read_grid(trial.references / path.name))
            usual = read_labels(path)[0]
            facts["equal"] = float((usual == label_map).mean())
            kept = [path] if setting == REFERENCE else []
            ledger.enter(entries[case], wanted[entries[case]], kept, **facts)
            _say(setting, number, len(entries), facts["seconds"])
    (folder / "trial.b2nd").unlink(missing_ok=True)
    return [
        {"setting": setting, "case": case, "device": device}
        | ledger.find(f"{setting}__{case}", wanted[f"{setting}__{case}"])
        for setting in keys
        for case in trial.cases
    ]


def _say(setting: str, done: int, count: int, seconds: float | None = None) -> None:
    took = "" if seconds is None else f", the last in {seconds:.3g} s"
    print(f"{setting}: {done} of {count} cases are measured{took}", flush=True)


def _seen(
    predictor: "nnUNetPredictor", trial: Trial, case: str
) -> tuple[np.ndarray, Box | None, dict]:
    """Return what a network gets of a case, where it looks, and nnU-Net's properties of it."""
    data, properties = load_preprocessed(trial.preprocessed, case)
    segmentation = None if trial.previous is None else read_previous(trial.previous, case)
    return *what_is_seen(predictor, data, segmentation), properties


def _warm_up(predictor: "nnUNetPredictor", trial: Trial, case: str) -> None:
    """Let a network see a corner of a case, so that none pays for what happens once."""
    data, _, _ = _seen(predictor, trial, case)
    patch = predictor.configuration_manager.patch_size
    corner = [slice(0, 1)] * (3 - len(patch)) + [slice(0, size) for size in patch]
    predict_logits(predictor, data[(slice(None), *corner)])


def _measure(
    predictor: "nnUNetPredictor", trial: Trial, case: str, path: Path
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the label map of a case, and what it took."""
    settings = predictor.plans_manager.plans["segflow"]["prediction"]
    forget_peak(predictor.device.type)
    begin = time.perf_counter()
    data, box, properties = _seen(predictor, trial, case)
    logits = predict_logits(predictor, data, settings["windows"], box)
    if logits.device.type == "cuda":
        torch.cuda.synchronize(logits.device)
    export_case(predictor, logits, properties, path, trial.threads)
    label_map = label_map_of([path], [1.0], trial.regions_class_order)
    seconds = time.perf_counter() - begin
    truth, _ = read_labels(trial.references / f"{case}{SUFFIX}")
    return label_map, {
        "seconds": seconds,
        "peak_mb": peak_megabytes(predictor.device.type),
        "dice": mean_dice(trial.labels, truth, label_map),
    }


def mean_dice(labels: Labels, truth: np.ndarray, guess: np.ndarray) -> float:
    """Return the mean Dice over labels and regions; a structure that is in neither map counts 1.

    Parameters
    ----------
    labels : dict of str to int or list of int
        Labels and regions.
    truth, guess : ndarray of int
        Label maps of shape (z, y, x).
    """
    truth, guess = truth.copy(), guess.copy()
    n_ignored = blank_ignored(labels, truth, guess)
    histogram = joint_histogram(truth, guess, max(foreground_values(labels)) + 1)
    histogram[0, 0] -= n_ignored
    found = [overlap(histogram, members, 1.0)["dice"] for members in foreground(labels).values()]
    return float(np.mean(np.nan_to_num(found, nan=1.0)))
