"""The miniature experiment: what it leaves, and how its results are used."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch

from project import N_TEST, N_TRAINING, ROOT

pytestmark = pytest.mark.slow
DATA = "Dataset004_hippocampus"


def label_map(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_a_second_run_does_nothing(finished):
    assert finished.planned() == set()


def test_tables(finished):
    folder = finished.results / "hippocampus"
    cases = pd.read_csv(folder / "cases.csv")
    assert cases["split"].value_counts().to_dict() == {"train": N_TRAINING, "test": N_TEST}
    metrics = pd.read_csv(folder / "both/metrics.csv")
    n_rows = (N_TRAINING + N_TEST) * 2 * 2  # cases x stages x labels
    assert len(metrics) == n_rows
    assert set(metrics["fold"]) == {"0", "1", "all"}
    dice, iou = metrics["dice"], metrics["iou"]
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))
    summary = pd.read_csv(folder / "summary.csv")
    assert set(summary["predictor"]) == {"tiny_2d", "tiny_3d", "both"}
    assert {"n", "mean", "sd", "median", "min", "max"} <= set(summary.columns)


def test_every_promised_file_exists(finished):
    folder = finished.results / "hippocampus"
    names = ["splits.json", "problems.csv", "summary.md", "summary.tex", "metrics.png"]
    for name in [*names, "both/postprocessing.json", "tiny_2d/training.png", "both/cases_val.png"]:
        assert (folder / name).stat().st_size > 0, name
    for split, count in (("val", N_TRAINING), ("test", N_TEST)):
        for stage in ("raw", "postprocessed"):
            found = list((folder / "both/predictions" / split / stage).glob("*.nii.gz"))
            assert len(found) == count
    page = (finished.results / "report.html").read_text()
    assert "<title>Segmentation of medical images: results</title>" in page
    assert (finished.results / "workflow_report.html").exists()


def test_provenance_names_no_person_or_place(finished):
    record = json.loads((finished.results / "run.json").read_text())
    assert record["seed"] == 12345
    assert record["versions"]["nnunetv2"]
    assert len(record["trainings"]) == 4
    assert all(len(value) == 64 for value in record["sha256"].values())
    text = json.dumps(record)
    assert str(Path.home()) + "/" not in text
    assert os.uname().nodename not in record["machine"].values()


def test_logs_hold_no_error(finished):
    for path in (finished.folder / "logs").rglob("*.log"):
        assert "Traceback" not in path.read_text(), path


def test_a_label_map_is_the_mean_of_its_members(finished):
    """Recompute one ensemble from the stored probabilities with plain NumPy."""
    import blosc2

    folder = finished.results / "hippocampus"
    case = pd.read_csv(folder / "both/predictions/test/raw/predictions.csv")["case"][0]
    stored = [
        blosc2.open(str(folder / model / f"probabilities/fold_{fold}_test" / f"{case}.b2nd"))[:]
        for model in ("tiny_2d", "tiny_3d")
        for fold in (0, 1)
    ]
    foreground = np.mean(stored, axis=0) / 4095
    mean = np.concatenate([1 - foreground.sum(0, keepdims=True), foreground])
    found = label_map(folder / f"both/predictions/test/raw/{case}.nii.gz")
    chosen = np.take_along_axis(mean, found[None].astype(int), 0)[0]
    np.testing.assert_allclose(chosen, mean.max(0), rtol=0, atol=1e-6)


def export(project, archive):
    """Pack a model of a finished run as nnU-Net's command packs its own."""
    (trained,) = (project.results / "nnUNet_results").glob("*/*tiny_3d__3d_fullres")
    model = "Dataset004_hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres"
    unpacked = archive.parent / model
    for path in sorted(trained.glob("fold_*/checkpoint_final.pth")):
        checkpoint = torch.load(path, weights_only=False) | {"trainer_name": "nnUNetTrainer"}
        # One fold is surer of itself: a mean of probabilities is no mean of logits.
        for name, weights in checkpoint["network_weights"].items():
            if "seg_layers" in name and path.parent.name == "fold_1":
                weights *= 4
        target = unpacked / path.parent.name / path.name
        target.parent.mkdir(parents=True)
        torch.save(checkpoint, target)
    for name in ("plans.json", "dataset.json"):
        shutil.copy2(trained / name, unpacked)
    shutil.make_archive(archive.with_suffix(""), "zip", archive.parent, model)
    return unpacked


def test_a_model_from_elsewhere_segments_as_nnunet_does(project, tmp_path):
    model = export(project, tmp_path / "model.zip")
    new = {"folder": "raw/imagesTs", "output": "segmented", "archive": str(tmp_path / "model.zip")}
    project.configure(new_images=new)
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((project.raw / "imagesTs").glob("*.nii.gz")):
        shutil.copy2(path, images / f"{path.name.split('.')[0]}_0000.nii.gz")
    peer = [Path(sys.executable).parent / "nnUNetv2_predict_from_modelfolder", "-device", "cpu"]
    peer += ["-i", images, "-o", tmp_path / "peer", "-m", model, "-f", "0", "1"]
    subprocess.run(peer, check=True, capture_output=True)
    project.snakemake("predict")
    segmented = sorted((project.folder / "segmented").glob("*.nii.gz"))
    assert len(segmented) == N_TEST
    for path in segmented:
        equal = label_map(path) == label_map(tmp_path / "peer" / path.name)
        assert equal.mean() > 0.999
    assert project.planned("predict") == set()


def test_new_images_are_segmented_like_test_cases(project):
    """The same images give the same label maps, through another door."""
    project.configure(
        new_images={
            "folder": "raw/imagesTs",
            "output": "segmented",
            "dataset": "hippocampus",
            "predictor": "both",
        }
    )
    project.snakemake("predict")
    folder = project.results / "hippocampus/both/predictions/test/postprocessed"
    names = sorted(path.name for path in folder.glob("*.nii.gz"))
    assert len(names) == N_TEST
    for name in names:
        np.testing.assert_array_equal(
            label_map(folder / name), label_map(project.folder / "segmented" / name)
        )
    assert not (project.folder / "segmented/.work").exists()
    assert project.planned("predict") == set()


def test_a_folder_of_images_may_grow_and_hold_damaged_ones_and_its_segmentations(project):
    scans, source = project.folder / "scans", sorted((project.raw / "imagesTs").glob("*.nii.gz"))
    scans.mkdir()
    shutil.copy(source[0], scans / "first.nii.gz")
    (scans / "torn.nii.gz").write_bytes(source[0].read_bytes()[:2000])
    new = {"folder": "scans", "output": "scans/out", "dataset": "hippocampus", "predictor": "both"}
    project.configure(new_images=new)
    output = scans / "out"
    text = project.snakemake("predict", check=False)
    assert "0 of 2 images segmented: 1 problem\n  torn.nii.gz: " in text
    assert not list(output.glob("*.nii.gz"))

    project.configure(new_images={**new, "faulty": "go_on"})
    text = project.snakemake("predict", check=False)
    assert "1 of 2 images segmented: 1 problem\n  torn.nii.gz: " in text
    assert list(pd.read_csv(output / "problems.csv")["case"]) == ["torn"]
    segmented = output / "first.nii.gz"
    written = segmented.stat().st_mtime_ns

    shutil.copy(source[0], scans / "same.nii.gz")
    shutil.copy(source[1], scans / "torn.nii.gz")
    project.snakemake("predict")
    assert segmented.stat().st_mtime_ns == written
    log = (project.folder / "logs/segment_images.log").read_text()
    assert "predict: 1 of 3 images are segmented" in log
    assert (label_map(output / "same.nii.gz") == label_map(segmented)).all()
    assert list(pd.read_csv(output / "segmentations.csv")["case"]) == ["first", "same", "torn"]
    assert pd.read_csv(output / "problems.csv").empty
    assert project.planned("predict") == set()

    (scans / "same.nii.gz").unlink()
    project.snakemake("predict")
    assert sorted(path.name for path in output.glob("*.nii.gz")) == ["first.nii.gz", "torn.nii.gz"]
    assert segmented.stat().st_mtime_ns == written


def test_segmentations_never_replace_the_images(project):
    new = {"folder": "raw/imagesTs", "output": "raw/imagesTs/", "dataset": "hippocampus"}
    project.configure(new_images={**new, "predictor": "both"})
    text = project.snakemake("predict", check=False)
    assert "new_images.output: raw/imagesTs/ is the folder of the images" in text


def nnunet_environment(project) -> dict[str, str]:
    folders = {
        name: str(project.results / name)
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    }
    trainers = ROOT / "workflow/scripts/segflow/models/trainers"
    workers = {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1"}
    return {**os.environ, **folders, **workers, "nnUNet_extTrainer": str(trainers)}


def nnunet(project, command: str, *options: str) -> None:
    program = Path(sys.executable).parent / command
    run = subprocess.run(
        [program, *options],
        env=nnunet_environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_nnunet_predicts_from_the_results_folder(project, tmp_path):
    images = project.results / "nnUNet_raw" / DATA / "imagesTs"
    options = ["-d", "4", "-p", "tiny_3d", "-tr", "SegflowTrainer", "-c", "3d_fullres"]
    options += ["-f", "0", "--disable_tta", "-device", "cpu", "-npp", "1", "-nps", "1"]
    nnunet(project, "nnUNetv2_predict", "-i", str(images), "-o", str(tmp_path / "out"), *options)
    names = sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz"))
    assert len(names) == N_TEST


def test_nnunet_trains_with_the_plans_of_a_model(project):
    """A finished training is taken up by nnU-Net's own command, which validates it."""
    options = ["4", "3d_fullres", "0", "-tr", "SegflowTrainer", "-p", "tiny_3d"]
    nnunet(project, "nnUNetv2_train", *options, "--c", "-device", "cpu")
    folder = project.results / "nnUNet_results" / DATA / "SegflowTrainer__tiny_3d__3d_fullres"
    nnunet_maps = folder / "fold_0/validation"
    ours = project.results / "hippocampus/tiny_3d/predictions/val/raw"
    for path in nnunet_maps.glob("*.nii.gz"):
        # The probabilities of a hardly trained network are close to each other everywhere, so
        # that their rounding shows.
        assert (label_map(path) == label_map(ours / path.name)).mean() > 0.99
