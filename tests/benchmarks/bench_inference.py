"""Prediction beside `nnUNetv2_predict` with the same weights, and the export of large cases."""

import os
import shutil
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from bench_workflow import DATASET, peer
from costs import PROGRAMS, Cost, alone, medians, row
from large_case import LARGE, read_case
from project import ROOT, make_project

N_FOLDS, N_CASES = 5, 10
EPOCHS = 12
N_ROUNDS = 3
FEATURES = (8, 32)  # of the first layer: those of the demonstration, and nnU-Net's own
SETTINGS = {
    "nnU-Net's settings": "{}",
    "not mirrored, steps of 0.75": '{"mirroring": false, "step_size": 0.75}',
}
CLASSES = (3, 16)  # a CT of one organ with its lesion, and of fifteen organs


def bench_inference(folder: Path) -> list[dict]:
    """Segment ten new cases with five folds: with nnU-Net's settings, and with faster ones."""
    return [row for features in FEATURES for row in _predict(folder / str(features), features)]


def _predict(folder: Path, features: int) -> list[dict]:
    """Return the rows of a network with so many features."""
    from segflow.images.nifti import read_labels
    from segflow.predictors.inference_study import mean_dice

    model = yaml.safe_load((ROOT / "config/models/unet_3d_quick.yaml").read_text())
    model["training"] |= {"epochs": EPOCHS, "augmentation": "nnunet"}  # mirrored, too
    model["overrides"]["base_features"] = features
    project = make_project(folder / "ours", {"bench_3d": model}, 40, N_CASES, N_FOLDS)
    project.configure(select={"folds": [0]})
    project.snakemake("train")
    theirs = peer(folder / "peer")
    name = "SegflowTrainer__bench_3d__3d_fullres"
    trained = folder / "peer/nnUNet_results" / DATASET / name
    shutil.copytree(project.results / "nnUNet_results" / DATASET / name, trained)
    alone("bench_inference.make_folds", trained)
    archive = folder / "model.zip"
    with zipfile.ZipFile(archive, "w") as packed:  # as nnUNetv2_export_model_to_zip lays it out
        for path in (*trained.glob("*.json"), *trained.glob("fold_*/checkpoint_final.pth")):
            packed.write(path, Path(DATASET, path.relative_to(trained.parent)))
    images = project.results / "nnUNet_raw" / DATASET / "imagesTs"

    def predict_theirs() -> Cost:
        cost = Cost(environment=theirs.environment)
        shutil.rmtree(folder / "theirs", ignore_errors=True)
        options = ["-i", images, "-o", folder / "theirs", "-d", "4", "-tr", "SegflowTrainer"]
        options += ["-p", "bench_3d", "-c", "3d_fullres", "-device", "cpu"]
        options += ["-f", *map(str, range(N_FOLDS))]
        cost.run(folder, PROGRAMS / "nnUNetv2_predict", *options)
        return cost

    def predict_ours(setting: str) -> Cost:
        cost = Cost()
        cost.environment["PYTHONPATH"] = str(ROOT / "workflow/scripts")
        shutil.rmtree(folder / setting, ignore_errors=True)
        options = ["--archive", archive, "--images", images, "--device", "cpu"]
        options += ["--threads", os.cpu_count(), "--memory-mb", "16000", "--go-on"]
        options += ["--prediction", SETTINGS[setting], "--output", folder / setting]
        cost.run(folder, sys.executable, "-m", "segment_with_archive", *options)
        return cost

    references = project.results / "nnUNet_raw" / DATASET / "labelsTs"
    labels = {"background": 0, "anterior": 1, "posterior": 2}

    def read(of: Path) -> list[np.ndarray]:
        return [read_labels(of / path.name)[0] for path in sorted(references.glob("*.nii.gz"))]

    def dice(maps: list[np.ndarray]) -> float:
        pairs = zip(read(references), maps, strict=True)
        return float(np.mean([mean_dice(labels, truth, guess) for truth, guess in pairs]))

    *mine, cost = medians(
        N_ROUNDS, *(partial(predict_ours, setting) for setting in SETTINGS), predict_theirs
    )
    rows = []
    usual = read(folder / "theirs")
    for setting, own in zip(SETTINGS, mine, strict=True):
        maps = read(folder / setting)
        equal = np.mean([(a == b).mean() for a, b in zip(maps, usual, strict=True)])
        lost = 100 * (dice(usual) - dice(maps))
        work = (
            f"{N_CASES} new cases, {N_FOLDS} folds, {features} features, {setting}: {equal:.4%} of "
            f"the voxels equal, {lost:.2f} of {100 * dice(usual):.1f} Dice points lost"
        )
        rows.append(row(work, "nnUNetv2_predict", own, cost))
    return rows


def make_folds(folder: str) -> None:
    """Make five folds of one, with weights that differ a little, mirrored in prediction."""
    import torch

    name = "checkpoint_final.pth"
    first = torch.load(Path(folder, "fold_0", name), weights_only=False)
    for fold in range(N_FOLDS):
        generator = torch.Generator().manual_seed(fold)
        changed = dict(first)
        changed["network_weights"] = {
            key: value * (1 + 0.01 * torch.randn(value.shape, generator=generator))
            if value.is_floating_point()
            else value
            for key, value in first["network_weights"].items()
        }
        changed["inference_allowed_mirroring_axes"] = (0, 1, 2)
        target = Path(folder, f"fold_{fold}")
        target.mkdir(exist_ok=True)
        torch.save(changed, target / name)


def bench_export(folder: Path) -> list[dict]:
    """Bring logits of a large case to a label map on its own grid."""
    folder.mkdir(parents=True)
    rows = []
    for n_classes in CLASSES:
        alone("large_case.write_logits", folder, n_classes)
        mine = alone("bench_inference.export_ours", folder, n_classes)
        theirs = alone("bench_inference.export_theirs", folder, n_classes)
        maps = [np.load(folder / f"{side}.npy", mmap_mode="r") for side in ("ours", "theirs")]
        equal = float(np.mean([(a == b).mean() for a, b in zip(*maps, strict=True)]))
        seconds = [float((folder / f"{side}.txt").read_text()) for side in ("ours", "theirs")]
        mine.seconds, theirs.seconds = seconds
        shape = " x ".join(map(str, LARGE[::-1]))
        work = f"export of {shape} voxels, {n_classes} classes: {equal:.4%} of the voxels equal"
        rows.append(row(work, "nnU-Net's export, which stores no probabilities", mine, theirs))
    return rows


def export_ours(folder: str, n_classes: str) -> None:
    """Export as the workflow does: stored probabilities, then the label map."""
    import torch

    from segflow.models.prediction import export_case
    from segflow.predictors.ensembling import label_map_of

    predictor, properties, logits = read_case(Path(folder), int(n_classes))
    torch.set_num_threads(os.cpu_count())
    start = time.perf_counter()
    path = Path(folder, "case.b2nd")
    export_case(predictor, torch.from_numpy(logits), properties, path, os.cpu_count())
    label_map = label_map_of([path], [1.0], None)
    Path(folder, "ours.txt").write_text(str(time.perf_counter() - start))
    np.save(Path(folder, "ours.npy"), label_map)


def export_theirs(folder: str, n_classes: str) -> None:
    """Export as nnU-Net does when it need not store probabilities."""
    import torch
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )

    predictor, properties, logits = read_case(Path(folder), int(n_classes))
    start = time.perf_counter()
    label_map = convert_predicted_logits_to_segmentation_with_correct_shape(
        torch.from_numpy(logits),
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
        num_threads_torch=os.cpu_count(),
    )
    Path(folder, "theirs.txt").write_text(str(time.perf_counter() - start))
    np.save(Path(folder, "theirs.npy"), label_map)
