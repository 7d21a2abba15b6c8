from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import draft_dataset
import layouts
import user_layouts
from dicom_files import write_series
from segflow.datasets.converters.table import find_cases
from segflow.datasets.drafts import draft
from segflow.images.nifti import Grid, write_image
from segflow.run.schemas import check

DATA = Path(__file__).parents[4] / "shared/data"
GRID = Grid((2, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))


def write(folder, *names, values=(0, 1)):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.zeros((2, 4, 4), np.int16)
        array.flat[: len(values)] = values
        if name.endswith(".png"):
            Image.fromarray(array[0].astype(np.uint8) * 255).save(path)
        else:
            write_image(path, array, GRID)
    return folder


def rows(folder):
    """Return what a draft says of each case, after the converter has accepted its table."""
    datasets = folder.parent / "datasets"
    datasets.mkdir()
    draft_dataset.main([str(folder), "mine"], datasets)
    described = check(yaml.safe_load((datasets / "mine.yaml").read_text()), "dataset", "mine.yaml")
    catalogue = find_cases(folder)
    assert catalogue.problems == []
    return {case.case: case for case in catalogue.cases}, described


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


def test_folders_of_images_and_masks(raw):
    write(raw, "images/a_1.nii.gz", "images/a_2.nii.gz", "masks/a_1.nii.gz", "masks/a_2.nii.gz")
    cases, described = rows(raw)
    assert sorted(cases) == ["a_1", "a_2"]
    assert names(cases["a_1"].labels, raw) == ["masks/a_1.nii.gz"]
    assert described["labels"] == {"background": 0, "label_1": 1}


def test_equal_file_names_in_a_folder_a_patient(raw):
    for patient in ("p1", "p2", "p3"):
        write(raw, f"{patient}/image.nii.gz", f"{patient}/segmentation.nii.gz")
    cases, _ = rows(raw)
    assert sorted(cases) == ["p1", "p2", "p3"]
    assert names(cases["p2"].images, raw) == ["p2/image.nii.gz"]
    assert names(cases["p2"].labels, raw) == ["p2/segmentation.nii.gz"]


def test_visits_of_a_patient_stay_together(raw):
    for visit in ("p1/v1", "p1/v2", "p2/v1"):
        write(raw, f"{visit}/scan.nii.gz", f"{visit}/mask.nii.gz")
    cases, _ = rows(raw)
    assert {name: case.patient for name, case in cases.items()} == {
        "p1_v1": "p1",
        "p1_v2": "p1",
        "p2_v1": "p2",
    }


def test_masks_beside_images_in_folders_of_parts(raw):
    for part in ("train", "val", "test"):
        write(raw, f"{part}/x{part}7.png", f"{part}/x{part}7_mask.png")
    cases, described = rows(raw)
    assert {name: case.split for name, case in cases.items()} == {
        "xtest7": "test",
        "xtrain7": "train",
        "xval7": "val",
    }
    assert described["reading"]["label_threshold"] == 127


def test_modalities_are_channels_in_one_order(raw):
    for patient in ("p1", "p2"):
        write(raw, *(f"{patient}/{patient}_{kind}.nii.gz" for kind in ("t2", "flair", "t1", "seg")))
    cases, described = rows(raw)
    assert described["channels"] == ["flair", "t1", "t2"]
    assert names(cases["p1"].images, raw) == [
        f"p1/p1_{kind}.nii.gz" for kind in ("flair", "t1", "t2")
    ]
    assert names(cases["p1"].labels, raw) == ["p1/p1_seg.nii.gz"]


def test_folders_of_many_cases_are_classes(raw):
    for kind in ("benign", "malignant"):
        for number in range(5):
            write(raw, f"{kind}/{kind} ({number}).png", f"{kind}/{kind} ({number})_mask.png")
    write(raw, "benign/benign (0)_mask_1.png")
    cases, described = rows(raw)
    assert described["classes"] == ["benign", "malignant"]
    assert len(cases) == 10
    assert len(cases["benign_0"].labels) == 2
    assert cases["malignant_3"].class_label == "malignant"


@pytest.mark.parametrize(
    ("make", "n_cases", "converter"),
    [
        (layouts.make_kits19, None, "table"),
        (layouts.make_btcv, None, "table"),
        (user_layouts.make_nnunet, None, "nnunet"),
    ],
)
def test_layouts_of_published_sets(raw, make, n_cases, converter):
    make(raw)
    found = draft(raw)
    assert found.converter == converter
    if converter == "table":
        with_reference = [row for row in found.rows if row["label"]]
        assert len(with_reference) >= 4
        assert len({row["image"] for row in found.rows}) == len(found.rows)
        assert not any("without an image" in text for text in found.unclear)


@pytest.mark.skipif(not DATA.is_dir(), reason="the samples are not here")
def test_samples_as_they_were_downloaded():
    assert draft(DATA / "Task04_Hippocampus").converter == "msd"
    ultrasound = draft(DATA / "Dataset_BUSI_with_GT")
    assert len(ultrasound.rows) == 220
    assert all(row["label"] for row in ultrasound.rows)
    assert ultrasound.classes == ["benign", "malignant", "normal"]
    brain = draft(DATA / "BraTS2021")
    assert [row["case"] for row in brain.rows] == ["BraTS2021_90001", "BraTS2021_90002"]
    assert brain.channels == ["flair", "t1", "t1ce", "t2"]
    assert all(row["image"].count("|") == 3 and row["label"] for row in brain.rows)
    assert any("values 1, 2, 4 of labels" in text for text in brain.unclear)


@pytest.mark.parametrize("name", ["IM{:04d}", "1.2.840.10008.{}", "slice{}.DCM"])
def test_dicom_folders_are_found_whatever_their_files_are_called(raw, name):
    for patient in ("p1", "p2"):
        folder = raw / patient / "CT"
        for number, file in enumerate(write_series(folder, np.zeros((3, 4, 4), np.int16))):
            file.rename(folder / name.format(number))
        (folder / "DICOMDIR").write_bytes(b"no image")
        (folder / "notes").write_text("no image, either")
        write(raw, f"{patient}/mask.nii.gz")
    found = draft(raw)
    assert [(row["image"], row["label"]) for row in found.rows] == [
        ("p1/CT", "p1/mask.nii.gz"),
        ("p2/CT", "p2/mask.nii.gz"),
    ]


def test_what_is_unclear_is_said(raw):
    write(raw, "a.nii.gz", "b.nii.gz", "a_mask.nii.gz", "c_mask.nii.gz", values=(0, 1, 3))
    text = " | ".join(draft(raw).unclear)
    for said in (
        "1 reference without an image: c_mask.nii.gz",
        "1 case without a reference: b",
        "no patient is known",
        "no test cases",
        "values 1, 3 of labels are not 1, 2, 3",
    ):
        assert said in text


def test_nothing_is_overwritten_and_nothing_found_is_one_line(raw, tmp_path):
    datasets = tmp_path / "datasets"
    datasets.mkdir()
    raw.mkdir()
    with pytest.raises(SystemExit, match="no image was found"):
        draft_dataset.main([str(raw), "mine"], datasets)
    write(raw, "a.nii.gz")
    (raw / "cases.csv").write_text("mine\n")
    with pytest.raises(SystemExit, match="is there already"):
        draft_dataset.main([str(raw), "mine"], datasets)
    assert (raw / "cases.csv").read_text() == "mine\n"
    with pytest.raises(SystemExit, match="NAME=My Set: use small letters"):
        draft_dataset.main([str(raw), "My Set"], datasets)
