"""Prediction of the validation or test cases of one trained fold, in one process."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from segflow.images.orientation import reorient
from segflow.images.probabilities import save_probabilities
from segflow.models.classes import case_probabilities
from segflow.models.classifiers import tell_case
from segflow.models.heads import WithHead
from segflow.models.nnunet import lean_imports, uncompiled
from segflow.models.preprocessing import (
    NNUNET_ORIENTATION,
    load_preprocessed,
    stored_orientation,
)
from segflow.models.progress import Pace
from segflow.models.trust import check_architecture, load_checkpoint

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

PROCEDURE = 2  # move it when predictions would come out differently


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
        use_mirroring=settings["mirroring"],
        device=device,
        allow_tqdm=False,
    )
    with knowing_trainer(predict_from_raw_data):
        predictor.initialize_from_trained_model_folder(str(folder), tuple(trainings), name)
    _use_precision(predictor.network, settings["precision"], device)
    return predictor


def _use_precision(network: torch.nn.Module, precision: str, device: torch.device) -> None:
    """Let a network compute in another precision than nnU-Net's choice.

    nnU-Net predicts in float16 on CUDA and in float32 elsewhere (``auto``).
    """
    if precision == "auto":
        return
    forward = network.forward

    def forward_in_precision(image: torch.Tensor) -> torch.Tensor:
        enabled = precision == "bfloat16"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
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


def to_probabilities(
    predictor: "nnUNetPredictor", logits: torch.Tensor, properties: dict, threads: int
) -> np.ndarray:
    """Bring the logits of a preprocessed case to probabilities on the case's own grid.

    Parameters
    ----------
    predictor : nnUNetPredictor
        The predictor that made the logits.
    logits : Tensor
        Of shape (class or region, z, y, x), in the axis order of the plans.
    properties : dict
        nnU-Net's properties of the case.
    threads : int
        Threads to use.

    Returns
    -------
    ndarray of float32
        Of shape (class or region, z, y, x), in the order of the case's file.
    """
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )

    _, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
        return_probabilities=True,
        num_threads_torch=threads,
    )
    stored = stored_orientation(properties)
    if stored is None:
        return probabilities
    return np.ascontiguousarray(reorient(probabilities, NNUNET_ORIENTATION, stored))


def add_previous_stage(
    data: np.ndarray, segmentation: np.ndarray, predictor: "nnUNetPredictor"
) -> np.ndarray:
    """Stack the previous stage's segmentation, one channel a label, below the image."""
    from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

    labels = predictor.label_manager.foreground_labels
    return np.vstack([data, convert_labelmap_to_one_hot(segmentation, labels, data.dtype)])


@contextmanager
def _exporting(device: torch.device, threads: int) -> Iterator:
    """Give a function that exports a case: at once on the CPU, behind the GPU's back otherwise.

    No more cases wait for their export than there are threads, so memory stays bounded.
    """
    if device.type == "cpu":
        yield lambda function, *arguments: function(*arguments)
        return
    waiting: deque[Future] = deque()
    workers = max(1, threads // 2)
    with ThreadPoolExecutor(workers) as pool:

        def export(function, *arguments):
            waiting.append(pool.submit(function, *arguments))
            while len(waiting) > workers:
                waiting.popleft().result()

        yield export
        while waiting:
            waiting.popleft().result()


@contextmanager
def first_said(predictor: "nnUNetPredictor", data: np.ndarray, n_cases: int) -> Iterator[None]:
    """Say how long the case takes that the block predicts, if it takes long."""
    patch = predictor.configuration_manager.patch_size
    spatial = data.shape[1:]
    # In 2D each slice is a window of its own; small images are padded to the patch.
    padded = (*spatial[: -len(patch)], *map(max, spatial[-len(patch) :], patch))
    n_windows = len(predictor._internal_get_sliding_window_slicers(padded))
    axes = predictor.allowed_mirroring_axes if predictor.use_mirroring else ()
    n_steps = n_windows * 2 ** len(axes or ()) * len(predictor.list_of_parameters)
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
    classifier = predictor.plans_manager.plans["segflow"].get("classifier")

    def export(logits: torch.Tensor, properties: dict, case: str, classes: list[float]) -> None:
        files = [target / f"{case}.b2nd"]
        probabilities = to_probabilities(predictor, logits, properties, threads)
        save_probabilities(files[0], probabilities, not predictor.label_manager.has_regions)
        if classes:
            files.append(class_file(target, case))
            write_json(files[1], classes)
        ledger.enter(case, keys[case], files)

    with _exporting(predictor.device, threads) as submit:
        for case in tqdm(waiting, desc="predict", unit="case", mininterval=5):
            data, properties = load_preprocessed(preprocessed, case)
            segmentation = None if previous is None else _read_previous(previous, case)
            if classifier is not None:
                seen = None if segmentation is None else np.isin(segmentation, classifier["values"])
                centre = classifier["windows"] == "centre"
                path = class_file(target, case)
                age = (ages or {}).get(case, np.nan)
                write_json(path, tell_case(predictor, data, seen, centre, age))
                ledger.enter(case, keys[case], [path])
                continue
            if segmentation is not None:
                data = add_previous_stage(data, segmentation, predictor)
            said = (
                first_said(predictor, data, len(waiting)) if case == waiting[0] else nullcontext()
            )
            with said, _collecting(predictor.network) as collected:
                logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
            classes = case_probabilities(collected) if collected else []
            submit(export, logits.cpu(), properties, case, classes)


def _read_previous(folder: Path, case: str) -> np.ndarray:
    """Return the previous model's label map of a case, of shape (z, y, x)."""
    return blosc2.open(str(folder / f"{case}.b2nd"), mode="r", dparams={"nthreads": 1})[:]


def class_file(folder: Path, case: str) -> Path:
    """Return the file of a case's class probabilities, beside those of its voxels."""
    return folder / f"{case}_classes.json"


def _collecting(network: torch.nn.Module) -> AbstractContextManager[list]:
    """Collect what the head of a network says of each window, if it has one."""
    return network.collecting() if isinstance(network, WithHead) else nullcontext([])
