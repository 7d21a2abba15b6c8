"""Prediction of the validation or test cases of one trained fold, in one process."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import blosc2
import numpy as np
import torch
from tqdm import tqdm

from segflow.files.content import (
    Damaged,
    content_key,
    file_sha256,
    read_own_json,
    write_json,
)
from segflow.files.ledger import Ledger
from segflow.files.words import counted
from segflow.images.probabilities import save_levels
from segflow.models.classes import case_probabilities
from segflow.models.classifiers import tell_case
from segflow.models.export import read_levels, resampled_elsewhere, way_back
from segflow.models.heads import WithHead
from segflow.models.nnunet import lean_imports, uncompiled
from segflow.models.prediction_settings import CASCADE
from segflow.models.preprocessing import load_preprocessed
from segflow.models.progress import Pace
from segflow.models.sliding_windows import (
    Box,
    body_mask,
    box_around,
    mirrored_axes,
    padded,
    predict_logits,
    sliding_windows,
)
from segflow.models.trust import check_architecture, load_checkpoint

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

PROCEDURE = 3  # move it when predictions would come out differently


def load_predictor(
    folder: Path, trainings: dict[int | str, Path], plans: dict, device: torch.device
) -> "nnUNetPredictor":
    """Load trained folds of a model, of which nnU-Net then averages the logits.

    Parameters
    ----------
    folder : Path
        nnU-Net's folder of the trained model.
    trainings : dict of int or str to Path
        Manifest of the training of each fold to load.
    plans : dict
        Plans of the model.
    device : torch.device
        Where to predict.

    Raises
    ------
    Damaged
        If a checkpoint is missing or is not the one that training left.
    ValueError
        If a checkpoint or the plans could run code; see `segflow.models.trust`.
    """
    # Imported here: it takes longer than to see that all cases are finished.
    with lean_imports(), uncompiled():
        from nnunetv2.inference import predict_from_raw_data

        from segflow.models.trainer_search import knowing_trainer

    settings = plans["segflow"]["prediction"]
    name = f"checkpoint_{settings['checkpoint']}.pth"
    for fold, manifest in trainings.items():
        path = folder / f"fold_{fold}" / name
        expected = read_own_json(manifest)["checkpoints"][settings["checkpoint"]]
        found = file_sha256(path) if path.exists() else "nothing"
        if found != expected:
            raise Damaged(
                f"{path}: expected SHA-256 {expected[:12]} of the finished training, found "
                f"{found[:12]}",
                path,
                manifest,
            )
        load_checkpoint(path)
    # nnU-Net loads the checkpoints once more, and trusts them and the plans.
    check_architecture(read_own_json(folder / "plans.json"), folder / "plans.json")
    predictor = predict_from_raw_data.nnUNetPredictor(
        tile_step_size=settings["step_size"],
        use_mirroring=bool(settings["mirroring"]),
        device=device,
        allow_tqdm=False,
    )
    with knowing_trainer(predict_from_raw_data):
        predictor.initialize_from_trained_model_folder(str(folder), tuple(trainings), name)
    # The folder's plans say how it was trained; these, how it predicts.
    predictor.plans_manager.plans["segflow"] = plans["segflow"]
    if isinstance(axes := settings["mirroring"], list):
        predictor.allowed_mirroring_axes = _allowed_axes(predictor, axes, folder)
    if settings["channels_last"]:
        flat = len(predictor.configuration_manager.patch_size) == 2
        layout = torch.channels_last if flat else torch.channels_last_3d
        predictor.network.to(memory_format=layout)
    _use_precision(predictor.network, settings["precision"], device)
    if settings["compile"]:
        predictor.network.compile()
    return predictor


def _allowed_axes(predictor: "nnUNetPredictor", axes: list[int], folder: Path) -> tuple[int, ...]:
    """Return the axes to mirror that were asked for.

    Raises
    ------
    ValueError
        If the network has not seen images mirrored along an axis.
    """
    learned = predictor.allowed_mirroring_axes or ()
    if strange := sorted(set(axes) - set(learned)):
        raise ValueError(
            f"{folder.name}: prediction.mirroring: axes {strange} were not mirrored in training; "
            f"allowed are {sorted(learned)}"
        )
    return tuple(sorted(axes))


def _use_precision(network: torch.nn.Module, precision: str, device: torch.device) -> None:
    """Let a network compute in another precision than nnU-Net's choice.

    nnU-Net predicts in float16 on CUDA and in float32 elsewhere (``auto``). ``tf32`` is float32
    whose products a GPU rounds to 10 bits; elsewhere both are the same.
    """
    if precision == "auto":
        return
    forward = network.forward
    narrow = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision)

    def forward_in_precision(image: torch.Tensor) -> torch.Tensor:
        rounds = torch.backends.cudnn.flags(allow_tf32=precision == "tf32")
        with rounds, torch.autocast(device.type, dtype=narrow, enabled=narrow is not None):
            return forward(image).float()

    network.forward = forward_in_precision


def prediction_keys(
    plans: dict,
    manifests: list[dict],
    preprocessed: dict[str, str],
    previous: dict[str, str],
    ages: dict[str, float] | None = None,
) -> dict[str, str]:
    """Return a key of everything that the prediction of each case is made from.

    Parameters
    ----------
    plans : dict
        Plans of the model.
    manifests : list of dict
        Manifests of the trainings of the folds that predict together.
    preprocessed, previous : dict of str to str
        Keys of the preprocessed cases and, for a cascade, of their previous segmentations.
    ages : dict of str to float, optional
        Ages of the cases, for a network that uses them.
    """
    settings = plans["segflow"]["prediction"]
    checkpoints = [manifest["checkpoints"][settings["checkpoint"]] for manifest in manifests]
    return {
        case: content_key(
            PROCEDURE, *checkpoints, settings, key, previous.get(case), *_age_of(case, ages)
        )
        for case, key in preprocessed.items()
    }


def _age_of(case: str, ages: dict[str, float] | None) -> list[float | None]:
    """Return the age of a case, if ages are used."""
    return [] if ages is None else [ages.get(case)]


def add_previous_stage(
    data: np.ndarray, segmentation: np.ndarray, predictor: "nnUNetPredictor"
) -> np.ndarray:
    """Stack the previous stage's segmentation, one channel a label, below the image."""
    from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

    labels = predictor.label_manager.foreground_labels
    return np.vstack([data, convert_labelmap_to_one_hot(segmentation, labels, data.dtype)])


@contextmanager
def _exporting(device: torch.device) -> Iterator:
    """Give a function that exports a case: at once on the CPU, behind the GPU's back otherwise.

    No more than one case waits while one is exported, so memory stays bounded.
    """
    if device.type == "cpu":
        yield lambda function, *arguments: function(*arguments)
        return
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(1) as pool:

        def export(function, *arguments):
            waiting.append(pool.submit(function, *arguments))
            while len(waiting) > 1:
                waiting.popleft().result()

        yield export
        while waiting:
            waiting.popleft().result()


def _loaded_ahead(folder: Path, cases: list[str]) -> Iterator[tuple[str, np.ndarray, dict]]:
    """Give each case with its preprocessed image and properties; the next one is read meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        ahead = deque([pool.submit(load_preprocessed, folder, cases[0])] if cases else [])
        for case, following in zip_longest(cases, cases[1:]):
            data, properties = ahead.popleft().result()
            if following is not None:
                ahead.append(pool.submit(load_preprocessed, folder, following))
            yield case, data, properties


@contextmanager
def _own_stream(device: torch.device) -> Iterator[None]:
    """Let the block use a GPU beside what others compute on it."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        yield
    stream.synchronize()


@torch.inference_mode()
def export_case(
    predictor: "nnUNetPredictor", logits: torch.Tensor, properties: dict, path: Path, threads: int
) -> None:
    """Write the probabilities of a case on its own grid; see `segflow.models.export`.

    Parameters
    ----------
    predictor : nnUNetPredictor
        The predictor that made the logits.
    logits : Tensor of float16
        Of shape (class or region, z, y, x), along the axes of the plans.
    properties : dict
        nnU-Net's properties of the case.
    path : Path
        File to write, of suffix ``.b2nd``.
    threads : int
        Threads to use.
    """
    regions = predictor.label_manager.has_regions
    way = way_back(predictor, properties)
    logits = resampled_elsewhere(predictor, logits, properties)
    shape = (len(logits) - (not regions), *way.shape)
    with _own_stream(logits.device):
        try:
            read = partial(read_levels, logits, way, regions)
            save_levels(path, shape, read, not regions, threads)
        except torch.OutOfMemoryError:
            read = partial(read_levels, logits.cpu(), way, regions)
            save_levels(path, shape, read, not regions, threads)


@contextmanager
def first_said(
    predictor: "nnUNetPredictor", data: np.ndarray, n_cases: int, at_a_time: int = 1
) -> Iterator[None]:
    """Say how long the case takes that the block predicts, if it takes long.

    Of windows the network sees `at_a_time`.
    """
    patch = tuple(predictor.configuration_manager.patch_size)
    # In 2D each slice is a window of its own; small images are padded to the patch.
    n_windows = len(sliding_windows(predictor, padded(torch.from_numpy(data), patch).shape[1:]))
    n_passes = math.ceil(n_windows / at_a_time) * len([*mirrored_axes(predictor)])
    n_steps = n_passes * len(predictor.list_of_parameters)
    pace = Pace(f"predict: the first of {counted(n_cases, 'case')}", n_steps)
    hook = predictor.network.register_forward_hook(lambda *_: pace.step())
    try:
        yield
    finally:
        hook.remove()


def predict_fold(
    load: Callable[[], "nnUNetPredictor"],
    keys: dict[str, str],
    preprocessed: Path,
    previous: Path | None,
    target: Path,
    threads: int,
    ages: dict[str, float] | None = None,
) -> None:
    """Predict cases and store their probabilities; finished cases are skipped.

    Of networks that tell classes and segment nothing, these are the probabilities of classes alone.

    Parameters
    ----------
    load : callable
        Loads the predictor; it is called if there is anything to predict.
    keys : dict of str to str
        Key of each prediction; see `prediction_keys`.
    preprocessed : Path
        Folder of the preprocessed cases.
    previous : Path or None
        Folder of the previous model's segmentations, for a cascade or a classifier of crops.
    target : Path
        Folder of the probabilities.
    threads : int
        Threads to use.
    ages : dict of str to float, optional
        Ages of the cases, for a network that uses them.
    """
    ledger = Ledger(target)
    ledger.prune(keys)
    waiting = ledger.waiting(keys)
    print(f"predict: {len(keys) - len(waiting)} of {len(keys)} cases are finished", flush=True)
    if not waiting:
        return
    predictor = load()
    planned = predictor.plans_manager.plans["segflow"]
    classifier, settings = planned.get("classifier"), planned["prediction"]

    def export(logits: torch.Tensor, properties: dict, case: str, classes: list[float]) -> None:
        files = [target / f"{case}.b2nd"]
        export_case(predictor, logits, properties, files[0], threads)
        if classes:
            files.append(class_file(target, case))
            write_json(files[1], classes)
        ledger.enter(case, keys[case], files)

    first = waiting[0]
    with _exporting(predictor.device) as submit:
        loaded = _loaded_ahead(preprocessed, waiting)
        for case, data, properties in tqdm(
            loaded, "predict", len(waiting), unit="case", mininterval=5
        ):
            segmentation = None if previous is None else read_previous(previous, case)
            if classifier is not None:
                seen = None if segmentation is None else np.isin(segmentation, classifier["values"])
                centre = classifier["windows"] == "centre"
                path = class_file(target, case)
                age = (ages or {}).get(case, np.nan)
                write_json(path, tell_case(predictor, data, seen, centre, age))
                ledger.enter(case, keys[case], [path])
                continue
            data, box = what_is_seen(predictor, data, segmentation)
            looked_at = data if box is None else data[(slice(None), *box)]
            said = (
                first_said(predictor, looked_at, len(waiting), settings["windows"])
                if case == first
                else nullcontext()
            )
            with said, _collecting(predictor.network) as collected, naming(case):
                logits = predict_logits(predictor, data, settings["windows"], box)
            classes = case_probabilities(collected) if collected else []
            if logits.device.type == "cuda":
                torch.cuda.synchronize(logits.device)  # it is exported beside the next case
            submit(export, logits, properties, case, classes)


def what_is_seen(
    predictor: "nnUNetPredictor", data: np.ndarray, segmentation: np.ndarray | None
) -> tuple[np.ndarray, Box | None]:
    """Return the channels that a network gets of a case, and the part that it looks at.

    Parameters
    ----------
    predictor : nnUNetPredictor
        The predictor.
    data : ndarray of float32
        The preprocessed case, of shape (channel, z, y, x).
    segmentation : ndarray of int or None
        What the previous model says of it, of shape (z, y, x), if there is one.
    """
    planned = predictor.plans_manager.plans["segflow"]
    box = region_of_interest(predictor, planned["prediction"], data, segmentation)
    if planned["configuration"] == CASCADE:
        data = add_previous_stage(data, segmentation, predictor)
    return data, box


def region_of_interest(
    predictor: "nnUNetPredictor",
    settings: dict,
    data: np.ndarray,
    segmentation: np.ndarray | None,
) -> Box | None:
    """Return the part of a case that a network looks at, along z, y, x; None for all of it.

    Parameters
    ----------
    predictor : nnUNetPredictor
        The predictor.
    settings : dict
        The key ``prediction`` of its plans.
    data : ndarray of float32
        The preprocessed case, of shape (channel, z, y, x).
    segmentation : ndarray of int or None
        What the previous model says of it, of shape (z, y, x). Where it sees nothing, the network
        looks at everything.
    """
    if settings["region"] == "whole":
        return None
    mask = body_mask(data[0]) if settings["region"] == "body" else segmentation > 0
    patch = predictor.configuration_manager.patch_size
    spacing = predictor.configuration_manager.spacing
    margin = [math.ceil(settings["margin_mm"] / mm) for mm in spacing]
    if len(patch) == 2:  # of slices of any thickness
        return box_around(mask, (0, *margin), (1, *patch))
    return box_around(mask, tuple(margin), tuple(patch))


@contextmanager
def naming(case: str) -> Iterator[None]:
    """Let errors of the block name the case."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{case}: {error}") from error


def read_previous(folder: Path, case: str) -> np.ndarray:
    """Return the previous model's label map of a case, of shape (z, y, x)."""
    return blosc2.open(str(folder / f"{case}.b2nd"), mode="r", dparams={"nthreads": 1})[:]


def class_file(folder: Path, case: str) -> Path:
    """Return the file of a case's class probabilities, beside those of its voxels."""
    return folder / f"{case}_classes.json"


def _collecting(network: torch.nn.Module) -> AbstractContextManager[list]:
    """Collect what the head of a network says of each window, if it has one."""
    return network.collecting() if isinstance(network, WithHead) else nullcontext([])
