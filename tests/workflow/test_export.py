"""A finished predictor leaves the project, and segments elsewhere as it does here."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from segflow.files.content import read_json

pytestmark = [pytest.mark.slow, pytest.mark.long]
WEIGHTS = [1, 3]


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """A finished experiment with weights and post-processing, and its predictors as zips."""
    project = finished.copy(tmp_path_factory.mktemp("export") / "project")
    members = ["tiny_2d", "tiny_3d"]
    project.configure(
        ensembles={"both": {"members": members, "weights": WEIGHTS}},
        postprocessing={"adopt": "in_sample"},
    )
    project.snakemake("export")
    return project


def zip_of(project, predictor="both") -> Path:
    return project.results / "hippocampus" / predictor / "predictor.zip"


def label_map(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def segment(project, output: str, **wanted) -> list[Path]:
    """Segment the test images and return the label maps."""
    project.configure(new_images={"folder": "raw/imagesTs", "output": output, **wanted})
    try:
        project.snakemake("predict")
        assert project.planned("predict") == set()
    finally:
        project.edit("config/config.yaml", lambda config: config.pop("new_images"))
    return sorted((project.folder / output).glob("*.nii.gz"))


def test_the_zip_segments_as_the_run_does(exported):
    assert read_json(exported.results / "hippocampus/both/postprocessing.json")["steps"]
    own = segment(exported, "out_run", dataset="hippocampus", predictor="both")
    found = segment(exported, "out_zip", archive=str(zip_of(exported)))
    assert [path.name for path in own] == [path.name for path in found]
    for one, other in zip(own, found, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert label_map(one).any()
    tables = [
        pd.read_csv(exported.folder / name / "volumes.csv") for name in ("out_run", "out_zip")
    ]
    pd.testing.assert_frame_equal(*tables)


def test_the_zip_says_what_it_is_made_of_and_nothing_of_cases_or_places(exported):
    with zipfile.ZipFile(zip_of(exported)) as archive:
        texts = {
            Path(name).name: archive.read(name).decode()
            for name in archive.namelist()
            if not name.endswith(".pth")
        }
        everything = b"".join(archive.read(name) for name in archive.namelist())
    card = texts["MODEL_CARD.md"]
    summary = pd.read_csv(exported.results / "hippocampus/summary.csv")
    row = summary.query(
        "predictor == 'both' and split == 'val' and stage == 'postprocessed' and fold == 'all' "
        "and label == 'all' and metric == 'dice'"
    ).iloc[0]
    interval = f"{row['ci_low']:.3g} to {row['ci_high']:.3g}"
    assert f"| cross-validation | all | dice | 8 | {row['mean']:.3g} | {interval} |" in card
    assert "CC-BY-SA-4.0" in texts["LICENCE.txt"]
    assert "* spacing (mm): x 1 to 1, y 1 to 1, z 1 to 1" in card
    assert "hippocampus_0" not in everything.decode(errors="replace")
    assert str(exported.folder) not in everything.decode(errors="replace")


def test_an_equal_predictor_gives_an_equal_zip(exported):
    before = zip_of(exported).read_bytes()
    exported.snakemake("export", "--forcerun", "export_predictor")
    assert zip_of(exported).read_bytes() == before


def test_a_zip_that_was_tampered_with_is_refused(exported):
    damaged = exported.folder / "damaged.zip"
    with zipfile.ZipFile(zip_of(exported)) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("tiny_3d__3d_fullres/plans.json"):
                content += b" "
            target.writestr(name, content)
    new = {"folder": "raw/imagesTs", "output": "out", "archive": str(damaged)}
    exported.configure(new_images=new)
    text = exported.snakemake("predict", check=False)
    exported.edit("config/config.yaml", lambda config: config.pop("new_images"))
    assert "tiny_3d__3d_fullres/plans.json: expected SHA-256" in text


def test_nnunet_installs_and_uses_a_model_of_the_zip_by_its_own_commands(exported, tmp_path):
    """In an environment that knows nothing of this project."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        environment[name] = str(tmp_path / name)
        (tmp_path / name).mkdir()
    images = tmp_path / "images"
    images.mkdir()
    for path in (exported.raw / "imagesTs").glob("*.nii.gz"):
        shutil.copy(path, images / f"{path.name.removesuffix('.nii.gz')}_0000.nii.gz")
    programs = Path(sys.executable).parent
    predict = ["nnUNetv2_predict", "-d", "4", "-p", "tiny_3d", "-c", "3d_fullres", "-f", "0", "1"]
    predict += ["-i", images, "-o", tmp_path / "peer", "-device", "cpu", "-npp", "1", "-nps", "1"]
    for command in (["nnUNetv2_install_pretrained_model_from_zip", zip_of(exported)], predict):
        run = subprocess.run(
            [programs / command[0], *command[1:]],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
    # One model of the zip, whose folds' logits are averaged, as nnU-Net does.
    own = segment(exported, "out_one", archive=str(zip_of(exported)), configuration="3d_fullres")
    for path in own:
        # The probabilities of a hardly trained network are close to each other everywhere, so
        # that their rounding shows.
        assert (label_map(path) == label_map(tmp_path / "peer" / path.name)).mean() > 0.99


def test_networks_give_the_same_logits_in_onnx(exported):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    exported.snakemake("onnx", "--config", "select={folds: [0]}")
    for model, configuration in (("tiny_2d", "2d"), ("tiny_3d", "3d_fullres")):
        path = exported.results / f"hippocampus/{model}/fold_0/network.onnx"
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        folder = exported.folder / "unpacked"
        with zipfile.ZipFile(zip_of(exported, model)) as archive:
            archive.extractall(folder)
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        name = f"Dataset004_hippocampus/nnUNetTrainer__{model}__{configuration}"
        predictor.initialize_from_trained_model_folder(
            str(folder / name), (0,), "checkpoint_final.pth"
        )
        predictor.network.load_state_dict(predictor.list_of_parameters[0])
        predictor.network.eval()
        patch = predictor.configuration_manager.patch_size
        patches = torch.randn(3, 1, *patch)
        (found,) = session.run(["logits"], {"image": patches.numpy()})
        with torch.no_grad():
            expected = predictor.network(patches).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
