"""From a made cohort in BIDS to classes that volumes of regions tell."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from made_cohort import make_cohort, pose_of, template_head
from project import TINY, make_project
from segflow.images.nifti import read_image

pytestmark = [pytest.mark.slow, pytest.mark.long]
TOLD = ["regions", "class_prior"]
TARGETS = [f"results/adni/{name}/classification.csv" for name in TOLD]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A project whose data set is a made cohort, converted and told by regions."""
    project = make_project(tmp_path_factory.mktemp("cohort") / "project", models={})
    truth = make_cohort(project.folder / "cohort", each=4, spacing_mm=3)

    def small(dataset):
        dataset["reading"]["brain"]["spacing_mm"] = 3
        dataset["held_out"] = 0.26

    project.edit("config/datasets/adni.yaml", small)
    project.configure(
        datasets=["adni"],
        raw_folders={"adni": "cohort"},
        feature_classifiers={"regions": {"method": "logistic_regression", "features": "regions"}},
    )
    project.snakemake("convert", "split", *TARGETS)
    return project, {row["case"]: row for row in truth}


def test_heads_come_to_the_template_from_their_poses(cohort):
    project, truth = cohort
    points = template_head().brain_points
    points = np.vstack([points.T, np.ones(len(points))])
    found = pd.read_csv(project.results / "adni/brains.csv").set_index("case")
    assert found["flagged"].isna().all()
    errors = []
    for case, row in found.iterrows():
        assert (project.results / f"adni/brains/{case}.png").exists()
        difference = pose_of(row) - pose_of(truth[case])
        errors.append(np.linalg.norm((difference @ points)[:3], axis=0).mean())
    assert np.mean(errors) < 1.5
    assert max(errors) < 3


def test_subjects_stay_together_and_first_visits_are_evaluated(cohort):
    project, _ = cohort
    cases = pd.read_csv(project.results / "adni/cases.csv").set_index("case")
    test = cases[cases["split"] == "test"]
    assert len(test) >= 3
    assert set(test["visit"]) == {"baseline"}
    assert not set(test["patient"]) & set(cases[cases["split"] == "train"]["patient"])
    for fold in json.loads((project.results / "adni/splits.json").read_text()):
        assert set(cases.loc[fold["val"], "visit"]) == {"baseline"}
        assert not {*cases.loc[fold["train"], "patient"]} & {*cases.loc[fold["val"], "patient"]}
        assert "follow-up" in set(cases.loc[fold["train"], "visit"])


def test_regions_tell_classes_from_the_brains_alone(cohort):
    project, _ = cohort
    table = pd.read_csv(project.results / "adni/regions/classification.csv")
    np.testing.assert_allclose(table[["p_CN", "p_MCI", "p_AD"]].sum(axis=1), 1)
    assert set(table["split"]) == {"val", "test"}


def test_a_second_run_and_touched_files_do_nothing(cohort):
    project, _ = cohort
    for path in (project.folder / "cohort").rglob("*_T1w.nii.gz"):
        path.touch()
    assert project.planned("convert", "split", *TARGETS) == set()


def test_a_table_of_the_cohort_is_printed(cohort):
    project, _ = cohort
    with (project.results / "adni/cohort.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = {row["part"] for row in rows}
    assert parts == {"train", "val", "all training", "test", "p between parts"}
    printed = (project.folder / "logs/adni/describe_cohort.log").read_text()
    assert "p between classes" in printed


def test_a_network_tells_brains_apart_with_their_ages_and_new_scans_without(cohort):
    project, _ = cohort
    model = {
        **TINY,
        "title": "Tiny CNN of brains",
        "configuration": "3d_fullres",
        "network": {"name": "ad_cnn", "options": {"widening": 1}},
        "classifier": {"windows": "centre"},
        "overrides": {"batch_size": 2, "patch_size": [64, 64, 64]},
    }
    (project.folder / "config/models/tiny_cnn.yaml").write_text(yaml.safe_dump(model))
    project.configure(
        models=["tiny_cnn"],
        n_folds=2,
        feature_classifiers={},
        saliency={"cases_per_class": 1, "steps": 2, "block_mm": 180},  # eight blocks of a patch
    )
    project.snakemake()
    table = pd.read_csv(project.results / "adni/tiny_cnn/classification.csv")
    np.testing.assert_allclose(table[["p_CN", "p_MCI", "p_AD"]].sum(axis=1), 1, atol=1e-5)
    explained = pd.read_csv(project.results / "adni/tiny_cnn/saliency.csv")
    assert explained["class"].is_unique
    assert len(explained) > 0
    maps = [*(project.results / "adni/tiny_cnn/saliency").glob("*.nii.gz")]
    assert len(maps) == 2 * len(explained)
    shape = tuple(map(int, pd.read_csv(project.results / "adni/cases.csv")["shape"][0].split()))
    assert read_image(maps[0])[0].shape[1:] == shape
    assert (project.results / "adni/tiny_cnn/saliency.png").exists()
    page = (project.results / "report.html").read_text()
    assert "what it looks at" in page
    assert "Cross-validation: by sex" in page
    assert "Classification of medical images: results" in page
    assert project.planned() == set()

    scans = project.folder / "scans"
    scans.mkdir()
    (scan, *_) = sorted((project.folder / "cohort").rglob("*_T1w.nii.gz"))
    shutil.copy(scan, scans / "new.nii.gz")
    (scans / "noise.nii.gz").write_bytes(b"no image")
    new = {"folder": "scans", "output": "out", "dataset": "adni", "predictor": "tiny_cnn"}
    project.configure(new_images={**new, "faulty": "go_on"})
    text = project.snakemake("predict", check=False)
    assert "1 of 2 images classified: 1 problem" in text
    told = pd.read_csv(project.folder / "out/classes.csv")
    assert list(told["case"]) == ["new"]
    assert told[["p_CN", "p_MCI", "p_AD"]].sum(axis=1).item() == pytest.approx(1, abs=1e-5)
