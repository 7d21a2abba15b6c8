import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from conversion import RULE, describe
from convert_adni_to_bids import main as convert_adni_to_bids
from convert_dataset import main as convert_dataset
from normalise_brain import main as normalise_brain
from segflow.datasets import normalisation
from segflow.files.cases import read_cases
from segflow.images.brains import Brain
from segflow.images.nifti import Grid, read_image, read_labels

SIZE, SPACING_MM = 30, 4.0
GRID = Grid((6, 6, 6), (20.0,) * 3, (0.0,) * 3, (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
SUBJECTS = {"A": "CN", "B": "MCI", "C": "AD"}


def subject(name):
    return f"sub-ADNI002S000{name}"


def anat(raw, name, month):
    return raw / subject(name) / f"ses-M{month:03d}" / "anat"


def image_of(raw, name, month=0):
    return anat(raw, name, month) / f"{subject(name)}_ses-M{month:03d}_T1w.nii.gz"


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([SPACING_MM] * 3 + [1])), path)


def write_sessions(raw, name, diagnosis, age="70"):
    rows = [f"ses-M{month:03d}\t{age}\t{diagnosis}\t28\t0" for month in (0, 12)]
    path = raw / subject(name) / f"{subject(name)}_sessions.tsv"
    path.write_text("\n".join(["session_id\tage\tdiagnosis\tMMSE\tcdr_global", *rows]) + "\n")


@pytest.fixture
def raw(tmp_path):
    """Three subjects with two visits each."""
    random = np.random.default_rng(1)
    folder = tmp_path / "raw"
    for name, diagnosis in SUBJECTS.items():
        for month in (0, 12):
            values = random.integers(0, 900, (SIZE,) * 3).astype(np.int16)
            save(image_of(folder, name, month), values)
        write_sessions(folder, name, diagnosis)
    rows = [f"{subject(name)}\tF" for name in SUBJECTS]
    (folder / "participants.tsv").write_text("\n".join(["participant_id\tsex", *rows]) + "\n")
    return folder


@pytest.fixture
def made(monkeypatch):
    """Put a quick stand-in in place of the normalisation, and list what it is called with."""
    calls = []

    def stand_in(array, grid, options):
        calls.append(float(array.mean()))
        image = np.full(GRID.shape, 0.5, np.float32)
        image[0] = len(calls) / 100
        mask = np.zeros(GRID.shape, np.uint8)
        mask[1:5] = 1
        score = 0.1 if array.max() < 100 else 0.7
        return Brain(image, mask, GRID, np.eye(4), score)

    monkeypatch.setattr(normalisation, "normalise_brain", stand_in)
    monkeypatch.setattr(normalisation, "draw_sheet", lambda brain: np.zeros((4, 4, 3), np.uint8))
    return calls


def normalise(raw, folder, **changes):
    results = folder / "results"
    results.mkdir(exist_ok=True)
    normalise_brain(
        raw=raw,
        dataset=describe("adni", **changes),
        rule=RULE,
        state="state",
        folder=results / "brains",
        workers=1,
        table=results / "brains.csv",
        sources=results / "brains_sources.json",
        problems=results / "problems.csv",
    )
    with (results / "brains.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def convert(raw, folder, **changes):
    results = folder / "results"
    convert_dataset(
        raw=raw,
        dataset=describe("adni", **changes),
        rule=RULE,
        pairs=None,
        part="train",
        state="state",
        folder=results / "converted",
        workers=1,
        cases=results / "train.csv",
        problems=results / "problems.csv",
        sources=results / "train_sources.json",
        brains=results / "brains",
    )
    return read_cases(results / "train.csv"), (results / "problems.csv").read_text()


def test_a_case_is_normalised_once_and_again_when_its_image_changes(raw, tmp_path, made):
    rows = normalise(raw, tmp_path)
    assert [row["case"] for row in rows] == sorted(row["case"] for row in rows)
    assert len(rows) == len(made) == 6
    image_of(raw, "A").touch()
    assert normalise(raw, tmp_path) == rows
    assert len(made) == 6
    save(image_of(raw, "A"), np.arange(SIZE**3, dtype=np.int16).reshape((SIZE,) * 3))
    changed = [row["content"] for row in normalise(raw, tmp_path)]
    assert len(made) == 7
    assert [one == row["content"] for one, row in zip(changed, rows, strict=True)].count(False) == 1


def test_conversion_takes_the_brain_and_its_mask_as_reference(raw, tmp_path, made):
    normalise(raw, tmp_path)
    cases, _ = convert(raw, tmp_path)
    assert len(made) == 6  # nothing is made twice
    assert [case.class_label for case in cases] == ["CN"] * 2 + ["MCI"] * 2 + ["AD"] * 2
    assert {(case.label, case.shape, case.spacing_mm) for case in cases} == {
        ("made", "6 6 6", "20 20 20")
    }
    assert [case.covariates["visit"] for case in cases[:2]] == ["baseline", "follow-up"]
    folder = tmp_path / "results/converted"
    image, grid = read_image(folder / "imagesTr" / f"{cases[0].case}_0000.nii.gz")
    mask, _ = read_labels(folder / "labelsTr" / f"{cases[0].case}.nii.gz")
    assert grid == GRID
    assert mask.sum() == int(cases[0].label_voxels) == 4 * 36
    assert image[0, 2].max() == np.float32(0.5)


@pytest.mark.parametrize("failed", ["leave_out", "error"])
def test_a_failed_registration_is_flagged_and_does_not_go_on(raw, tmp_path, made, failed):
    save(image_of(raw, "A"), np.random.default_rng(2).integers(0, 90, (SIZE,) * 3, np.int16))
    reading = describe("adni")["reading"]
    changes = {"reading": reading | {"brain": reading["brain"] | {"failed": failed}}}
    rows = normalise(raw, tmp_path, **changes)
    assert [row["case"] for row in rows if row["flagged"]] == [f"{subject('A')}_ses-M000"]
    text = "its registration failed: correlation 0.10 with the template, at least 0.55 is needed"
    if failed == "error":
        with pytest.raises(ValueError, match=text):
            convert(raw, tmp_path, **changes)
        return
    cases, problems = convert(raw, tmp_path, **changes)
    assert len(cases) == 5
    assert text in problems


def test_a_head_that_cannot_be_registered_is_left_out(raw, tmp_path, made, monkeypatch):
    def refuse(array, grid, options):
        made.append(0.0)
        if len(made) == 1:
            raise ValueError("cannot be registered to the template (no voxel)")
        return stand_in(array, grid, options)

    stand_in = normalisation.normalise_brain
    monkeypatch.setattr(normalisation, "normalise_brain", refuse)
    rows = normalise(raw, tmp_path)
    assert len(rows) == 5
    problems = (tmp_path / "results/problems.csv").read_text()
    assert "cannot be registered to the template (no voxel)" in problems


def test_all_that_is_wrong_is_one_error_and_nothing_is_begun(raw, tmp_path, made):
    image_of(raw, "A", 12).unlink()
    shutil.copy(
        image_of(raw, "B"), anat(raw, "B", 0) / f"{subject('B')}_ses-M000_run-02_T1w.nii.gz"
    )
    save(image_of(raw, "B", 12), np.ones((SIZE, SIZE, SIZE, 2), np.int16))
    content = image_of(raw, "C").read_bytes()
    image_of(raw, "C").write_bytes(content[: len(content) // 2])
    write_sessions(raw, "A", "CN", age="740")
    for name, diagnosis in (("D", "dementia?"), ("E", "CN")):
        save(image_of(raw, name), np.arange(SIZE**3, dtype=np.int16).reshape((SIZE,) * 3))
        write_sessions(raw, name, diagnosis)
    with (raw / "participants.tsv").open("a") as file:
        file.write(f"{subject('D')}\tF\n{subject('F')}\tM\n")
    with pytest.raises(ValueError, match="problems\n") as error:
        normalise(raw, tmp_path)
    shown = str(error.value)
    for text in (
        f"{subject('A')}/ses-M012: the session has no T1-weighted image",
        "the session has 2 T1-weighted images",
        "2 channels, but the data set declares 1",
        "the gzip file is damaged",
        "age '740' is no number from 18 to 120",
        "unknown diagnosis 'dementia?'",
        f"subject '{subject('F')}' is in the table, but has no images",
        "the subject has a folder, but no row in the table",
    ):
        assert text in shown
    assert made == []
    assert not (tmp_path / "results/brains").exists()
    assert not (tmp_path / "results/brains.csv").exists()
    listed = (tmp_path / "results/problems.csv").read_text()
    assert "740" in listed
    assert "dementia?" in listed


def test_one_class_only_is_an_error(raw, tmp_path, made):
    for name in SUBJECTS:
        write_sessions(raw, name, "CN")
    with pytest.raises(
        ValueError, match=r"no case is of class MCI, AD \(found 6 CN, 0 MCI, 0 AD\)"
    ):
        normalise(raw, tmp_path)
    assert made == []


def test_subgroups_that_no_table_tells_are_an_error(raw, tmp_path, made):
    (raw / "participants.tsv").unlink()
    with pytest.raises(ValueError, match="subgroups: no case has a value of 'sex'"):
        normalise(raw, tmp_path)
    assert len(normalise(raw, tmp_path, subgroups=["age_group"])) == 6


def test_without_clinica_the_message_says_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    folders = [tmp_path / name for name in ("images", "clinical", "bids")]
    with pytest.raises(RuntimeError, match="clinica and dcm2niix to make it is not there") as error:
        convert_adni_to_bids(*folders, tmp_path / "bids.json")
    shown = " ".join(map(str, folders))
    assert f"clinica convert adni-to-bids {shown} --modalities T1" in str(error.value)


def test_clinica_is_called_only_where_there_is_no_bids_folder(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in (("clinica", 'mkdir -p "$5/sub-ADNI1"; echo done'), ("dcm2niix", "")):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/bin:/usr/bin")
    record = tmp_path / "bids.json"
    convert_adni_to_bids(tmp_path, tmp_path, tmp_path / "bids", record)
    assert (tmp_path / "bids/sub-ADNI1").is_dir()
    assert json.loads(record.read_text())["command"][:3] == ["clinica", "convert", "adni-to-bids"]
    (programs / "clinica").unlink()
    convert_adni_to_bids(tmp_path, tmp_path, tmp_path / "bids", record)
    (programs / "clinica").write_text("#!/bin/sh\nexit 3\n")
    (programs / "clinica").chmod(0o755)
    with pytest.raises(RuntimeError, match="Clinica ended with an error"):
        convert_adni_to_bids(tmp_path, tmp_path, Path(tmp_path, "other"), record)
