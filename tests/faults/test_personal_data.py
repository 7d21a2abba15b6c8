"""Names and dates in raw files reach no output."""

import csv
import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image, PngImagePlugin

from conversion import RULE, convert, describe
from gather_cases import main as gather_cases
from inbreast import PLANTED, make_inbreast
from make_splits import main as make_splits

NAME, NUMBER, DAY = "Mustermann^Erika", "KH-4711-0815", "19640812"
SECRETS = (NAME, NUMBER, DAY)
SMALL = {"contours": ["Mass"], "mammography": {"iterations": 6, "margin_px": 5}}


def run(raw, dataset, folder):
    """Convert both parts, gather the cases and divide them into folds."""
    for part in ("train", "test"):
        convert(raw, dataset, folder, part, rule=RULE)
    tables = [folder / f"{part}.csv" for part in ("train", "test")]
    problems = [folder / f"{part}_problems.csv" for part in ("train", "test")]
    gather_cases(tables, problems, False, folder / "cases.csv", folder / "problems.csv")
    make_splits(tables[0], None, False, 2, 1, folder / "splits.json", folder / "nnunet.json")


def produced(folder, raw):
    """Yield every produced file with its bytes, those of gzip files unpacked as well."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and raw not in path.parents:
            content = path.read_bytes()
            yield path, content
            if content[:2] == b"\x1f\x8b":
                yield path, gzip.decompress(content)


def assert_secret(folder, raw, secrets):
    files = list(produced(folder, raw))
    assert any(path.name.endswith(".nii.gz") for path, _ in files)
    for path, content in files:
        for secret in secrets:
            for encoding in ("ascii", "utf-16-le", "utf-16-be"):
                assert secret.lower().encode(encoding) not in content.lower(), (path, secret)


def test_headers_of_dicom_files_and_dates_of_the_table_stay_outside(tmp_path, capfd):
    make_inbreast(tmp_path / "raw", 4)
    dicom = next((tmp_path / "raw").rglob("*.dcm")).read_bytes()
    assert any(secret.encode() in dicom for secret in PLANTED)
    dataset = describe("inbreast")
    dataset["reading"] |= SMALL
    run(tmp_path / "raw", dataset, tmp_path)
    assert_secret(tmp_path, tmp_path / "raw", PLANTED)
    shown = "".join(capfd.readouterr())
    assert not [secret for secret in PLANTED if secret in shown]


def plant_nifti(path: Path, array: np.ndarray) -> None:
    image = nibabel.Nifti1Image(array.T, np.eye(4))
    image.header["descrip"], image.header["db_name"] = NAME, NUMBER
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", DAY.encode()))
    with path.open("wb") as target, gzip.GzipFile(f"{NUMBER}.nii", "wb", fileobj=target) as file:
        file.write(image.to_bytes())


def plant_itk(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetMetaData("PatientName", NAME)
    image.SetMetaData("PatientID", NUMBER)
    image.SetMetaData("StudyDate", DAY)
    sitk.WriteImage(image, str(path))


def plant_png(path: Path, array: np.ndarray) -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("Patient", f"{NAME} {NUMBER} {DAY}")
    Image.fromarray(array[0]).save(path, pnginfo=words)


@pytest.mark.parametrize(
    ("plant", "suffix", "depth"),
    [
        (plant_nifti, ".nii.gz", 3),
        (plant_itk, ".nrrd", 3),
        (plant_itk, ".mha", 3),
        (plant_png, ".png", 1),
    ],
)
def test_words_in_headers_and_patients_of_a_users_table_stay_outside(
    tmp_path, monkeypatch, plant, suffix, depth
):
    monkeypatch.setenv("SEGFLOW_PSEUDONYM_KEY", "k" * 32)
    raw = tmp_path / "raw"
    raw.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(5):
        image, label = f"i{number}{suffix}", f"l{number}{suffix}"
        plant(raw / image, rng.integers(0, 255, (depth, 8, 9), np.uint8))
        plant(raw / label, rng.integers(0, 2, (depth, 8, 9), np.uint8))
        # Two images show one patient, who must end in one group.
        patient = f"{NAME} {NUMBER}" if number < 2 else f"{NUMBER}-{number}"
        part = "test" if number == 4 else "train"
        rows.append({"image": image, "label": label, "patient": patient, "split": part})
    with (raw / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    dataset = describe("hippocampus", converter="table", pseudonyms=True)
    dataset["labels"] = {"background": 0, "a": 1}
    if suffix == ".png":
        dataset["channels"] = ["picture"]
    run(raw, dataset, tmp_path)
    assert_secret(tmp_path, raw, SECRETS)
    with (tmp_path / "cases.csv").open(newline="") as file:
        groups = {row["case"]: row["group"] for row in csv.DictReader(file)}
    assert groups["i0"] == groups["i1"]
    assert len(set(groups.values())) == 4
