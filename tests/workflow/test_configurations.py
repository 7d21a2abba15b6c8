"""Dry runs: every shipped configuration, and every mistake in one."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from project import ROOT

MODELS = sorted(path.stem for path in (ROOT / "config/models").glob("*.yaml"))


@pytest.mark.parametrize("model", MODELS)
def test_dry_run_of_every_model(fresh, model):
    def with_what_heads_need(dataset):
        labels = {"background": 0, "anterior": 1, "lesion": 2}
        dataset.update(channels=["MRI"], labels=labels, classes=["a", "b"])

    fresh.edit("config/datasets/hippocampus.yaml", with_what_heads_need)
    fresh.configure(models=[model], ensembles={})
    assert "train_fold" in fresh.planned()


def test_dry_run_of_the_demonstration():
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run", "--forceall"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"train_fold +6\n", run.stdout + run.stderr)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_fold": 2}, "'n_fold' was unexpected"),
        ({"datasets": ["hippo"]}, "datasets: unknown name 'hippo'; known: adni, "),
        ({"models": ["unet"], "ensembles": {}}, "models: unknown name 'unet'"),
        ({"folds": [2]}, "folds: fold 2 does not exist; n_folds is 2: 0 to 1"),
        ({"select": {"folds": [5]}}, "select.folds: fold 5 does not exist"),
        ({"select": {"models": ["unet"]}}, "select.models: unknown name 'unet'"),
        ({"device": "gpu"}, "device: 'gpu' is not one of"),
        ({"seed": -1}, "seed: -1 is less than the minimum of 0"),
    ],
)
def test_mistakes_are_refused_at_start(fresh, changes, message):
    fresh.configure(**changes)
    assert message in fresh.snakemake("--dry-run", check=False)


def test_a_misspelt_key_of_a_model_is_refused_at_start(fresh):
    fresh.edit("config/models/tiny_2d.yaml", lambda model: model["training"].update(epoch=3))
    text = fresh.snakemake("--dry-run", check=False)
    assert "config/models/tiny_2d.yaml: training: " in text
    assert "'epoch' was unexpected" in text


def test_a_given_configuration_stands_alone(fresh, tmp_path):
    config = yaml.safe_load((fresh.folder / "config/config.yaml").read_text())
    config |= {"models": ["tiny_3d"]}
    del config["ensembles"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    text = fresh.snakemake("--dry-run", "--configfile", str(tmp_path / "mine.yaml"))
    assert "tiny_2d" not in text


def test_a_selection_chooses_targets(fresh):
    text = fresh.snakemake(
        "--dry-run", "train", "--config", "select={models: [tiny_3d], folds: [1]}"
    )
    assert re.search(r"train_fold +1\n", text)
    # An ensemble is over all folds and models, whatever is selected.
    text = fresh.snakemake(
        "--dry-run", "predict", "--config", "select={models: [both], folds: [1]}"
    )
    assert re.search(r"train_fold +4\n", text)


@pytest.mark.slow
def test_given_folds_are_taken_and_checked(fresh):
    names = [f"hippocampus_{number}" for number in ("001", "003", "004", "006", "007", "008")]
    names += ["hippocampus_011", "hippocampus_014"]
    folds = [{"train": names[:4], "val": names[4:]}, {"train": names[4:], "val": names[:4]}]
    path = fresh.folder / "mine.json"
    path.write_text(json.dumps(folds))
    fresh.configure(splits={"hippocampus": "mine.json"})
    fresh.snakemake("split")
    assert json.loads((fresh.results / "hippocampus/splits.json").read_text()) == folds
    folds[1]["train"].append(names[0])
    path.write_text(json.dumps(folds))
    text = fresh.snakemake("split", check=False)
    assert "mine.json: fold 1 has groups on both sides: hippocampus_001" in text


def test_a_missing_raw_folder_is_one_clear_error(fresh):
    shutil.rmtree(fresh.raw)
    text = fresh.snakemake("convert", check=False)
    assert f"{fresh.raw}: no such folder; put the data set there, or name its place" in text
