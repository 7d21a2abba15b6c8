"""nnU-Net beside us, and predictions timed; each function runs in a process of its own."""

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiment import CONFIGURATION, DATASET, NNUNET_NAME, PREPROCESSED
from large_case import LARGE, make_logits, make_predictor
from segflow.files.content import read_json
from segflow.models.nnunet import use_folders
from segflow.models.prediction import export_case, load_predictor, predict_fold
from segflow.models.preprocessing import load_preprocessed
from segflow.predictors.ensembling import label_map_of

N_CLASSES = 3  # of the large case: nnU-Net takes half a minute
ROUNDS = 3  # of which the first warms up


def train(model: str, device: str) -> None:
    """Train fold 0 with nnU-Net's own trainer, as long as the plans say."""
    use_folders(Path("results"))
    from nnunetv2.run.run_training import get_trainer_from_args

    trainer = get_trainer_from_args(
        NNUNET_NAME, CONFIGURATION, 0, "nnUNetTrainer", model, device=torch.device(device)
    )
    plans = read_json(Path("results", DATASET, model, "plans.json"))
    training, seed = plans["segflow"]["training"], plans["segflow"]["seed"]
    trainer.num_epochs = training["epochs"]
    trainer.num_iterations_per_epoch = training["iterations_per_epoch"]
    trainer.num_val_iterations_per_epoch = training["validation_iterations_per_epoch"]
    torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
    torch.backends.cudnn.benchmark = device == "cuda"  # as nnUNetv2_train sets it
    trainer.run_training()


def predict(model: str, device: str) -> None:
    """Print the seconds a case that our prediction and nnU-Net's predictor take."""
    use_folders(Path("results"))
    found = Path("results", DATASET)
    plans = read_json(found / model / "plans.json")
    cases = read_json(found / "splits.json")[0]["val"]
    trained = Path(f"results/nnUNet_results/{NNUNET_NAME}/SegflowTrainer__{model}__{CONFIGURATION}")
    trainings = {0: found / model / "fold_0/training.json"}
    predictor = load_predictor(trained, trainings, plans, torch.device(device))
    data = Path("results/nnUNet_preprocessed", NNUNET_NAME, PREPROCESSED)
    threads = os.cpu_count()
    target = Path("results/timed")

    def ours() -> None:
        shutil.rmtree(target, ignore_errors=True)  # or there would be nothing left to predict
        predict_fold(lambda: predictor, dict.fromkeys(cases, "a"), data, None, target, threads)

    def theirs() -> None:
        for case in cases:
            image, properties = load_preprocessed(data, case)
            logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(image)).cpu()
            nnunet_export(predictor, logits, properties, threads)

    rounds = [(_seconds(ours), _seconds(theirs)) for _ in range(ROUNDS)]
    print(*(min(times) / len(cases) for times in zip(*rounds[1:], strict=True)))


def export(device: str, *shape: str) -> None:
    """Print the seconds that the export of a large case takes us and nnU-Net, and what is equal."""
    voxels = tuple(map(int, shape)) or LARGE
    predictor, properties = make_predictor(N_CLASSES, voxels)
    logits = torch.from_numpy(make_logits(N_CLASSES, voxels)).to(device)
    threads, path, found = os.cpu_count(), Path("results/exported.b2nd"), {}

    def ours() -> None:
        export_case(predictor, logits, properties, path, threads)
        found["ours"] = label_map_of([path], [1.0], None)

    def theirs() -> None:
        found["theirs"] = nnunet_export(predictor, logits.cpu(), properties, threads)[0]

    _seconds(ours)  # warms up
    print(_seconds(ours), _seconds(theirs), (found["ours"] == found["theirs"]).mean())


def nnunet_export(
    predictor: Any, logits: torch.Tensor, properties: dict, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return label map and probabilities as nnU-Net exports them."""
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )

    managers = (
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
    )
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, *managers, properties, return_probabilities=True, num_threads_torch=threads
    )


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
