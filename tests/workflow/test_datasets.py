"""Data sets of other layouts than the Decathlon's, from raw files to metrics."""

import csv
import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

from inbreast import make_inbreast
from layouts import LAYOUTS, SAMPLES, copy_busi
from project import MODELS, make_project

pytestmark = [pytest.mark.slow, pytest.mark.long]
# Two go to the end, without figures and report, which cost minutes and are tested elsewhere.
EVALUATED = ("brats2021", "inbreast")
TARGETS = ("convert", *(f"results/{name}/tiny_2d/metrics.csv" for name in EVALUATED))
BUSI = {"benign": 10, "malignant": 10, "normal": 6}


def crop_brats(folder: Path) -> None:
    """Crop the real patients around the tumour, or draw some where the sample is missing."""
    sample = SAMPLES / "BraTS2021"
    if not sample.is_dir():
        LAYOUTS["brats2021"](folder)
        return
    for patient in sorted(sample.iterdir()):
        (folder / patient.name).mkdir(parents=True)
        seg = np.asanyarray(nibabel.load(patient / f"{patient.name}_seg.nii.gz").dataobj)
        centre = [int(axis.mean()) for axis in np.nonzero(seg)]
        sizes = zip(centre, (32, 32, 10), strict=True)
        box = tuple(slice(max(0, middle - size), middle + size) for middle, size in sizes)
        for path in patient.iterdir():
            image = nibabel.load(path)
            nibabel.save(image.slicer[box], folder / patient.name / path.name)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("datasets"), {"tiny_2d": MODELS["tiny_2d"]})
    makers = {
        "busi": lambda folder: copy_busi(folder, BUSI),
        "brats2021": crop_brats,
        "kits23": LAYOUTS["kits23"],
        "inbreast": lambda folder: make_inbreast(folder, n_patients=6),
    }
    for name, make in makers.items():
        (project.folder / "raws" / name).mkdir(parents=True)
        make(project.folder / "raws" / name)
    project.edit("config/datasets/busi.yaml", lambda data: data.update(held_out=0.3))
    mammography = {"iterations": 6, "margin_px": 5}  # of images that are a tenth in size
    project.edit(
        "config/datasets/inbreast.yaml",
        lambda data: data.update(
            held_out=0.3, reading={"contours": ["Mass"], "mammography": mammography}
        ),
    )
    raws = {name: f"raws/{name}" for name in makers}
    project.configure(datasets=list(makers), raw_folders=raws, folds=[0])
    project.snakemake(*TARGETS)
    return project


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("brats2021", {"whole_tumour", "tumour_core", "enhancing_tumour"}),
        ("inbreast", {"mass"}),
    ],
)
def test_raw_files_become_metrics_of_every_label_or_region(ran, name, labels):
    results = ran.results / name
    rows = read(results / "tiny_2d" / "metrics.csv")
    assert {row["label"] for row in rows} == labels
    cases = read(results / "cases.csv")
    evaluated = {*json.loads((results / "splits.json").read_text())[0]["val"]}
    evaluated |= {case["case"] for case in cases if case["split"] == "test" and case["label"]}
    assert {row["case"] for row in rows} == evaluated
    values = [float(row["dice"]) for row in rows if row["dice"]]
    assert values
    assert all(0 <= value <= 1 and math.isfinite(value) for value in values)


def test_no_patient_and_no_near_duplicate_is_on_both_sides(ran):
    for name in ("busi", "inbreast"):
        cases = read(ran.results / name / "cases.csv")
        parts = [{c["group"] for c in cases if c["split"] == part} for part in ("train", "test")]
        assert parts[0]
        assert parts[1]
        assert not parts[0] & parts[1]


def test_near_duplicates_and_the_preparation_of_mammograms_can_be_looked_at(ran):
    for name in (
        "busi/near_duplicates.csv",
        "busi/near_duplicates.png",
        "inbreast/preparation.png",
    ):
        assert (ran.results / name).stat().st_size > 0


def test_a_second_run_does_nothing(ran):
    assert ran.planned(*TARGETS) <= {"convert"}


def test_one_changed_image_converts_one_case(ran, tmp_path):
    project = ran.copy(tmp_path / "copy")
    image = sorted((project.folder / "raws" / "kits23").rglob("imaging.nii.gz"))[0]
    loaded = nibabel.load(image)
    changed = np.asanyarray(loaded.dataobj).copy()
    changed[0, 0, 0] += 1
    nibabel.save(nibabel.Nifti1Image(changed, loaded.affine, loaded.header), image)
    folder = project.results / "nnUNet_raw" / "Dataset019_kits23" / "imagesTr"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}
    project.snakemake("convert")
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}
    assert len([name for name in after if after[name] != before[name]]) == 1
