"""Names, numbers and dates of patients, planted wherever raw files have room, reach no output."""

import csv
import gzip
import json
import plistlib
import re
import struct
import traceback
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image, PngImagePlugin

from conversion import convert, describe, gather, without_brain
from dicom_files import write_series
from inbreast import PLANTED, make_inbreast
from make_splits import main as make_splits
from segflow.images.dicom import read_dicom
from segflow.images.nifti import write_image
from user_layouts import make_adni, make_nnunet

NAME, NUMBER, DAY = "Mustermann^Erika", "KH-4711-0815", "19640812"
SECRETS = (NAME, NUMBER, DAY)
ENCODINGS = ("ascii", "utf-16-le", "utf-16-be")
KEY = "a key for tests alone"


# What is looked for, and where


def run(raw: Path, dataset: dict, folder: Path) -> list[dict[str, str]]:
    """Convert both parts, gather the cases, divide them into folds, and return the cases."""
    for part in ("train", "test"):
        convert(raw, dataset, folder, part)
    gather(folder)
    make_splits(
        folder / "train.csv", None, False, 2, 1, folder / "splits.json", folder / "nnunet.json"
    )
    with (folder / "cases.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def holds(content: bytes, secret: str) -> bool:
    """Say whether bytes hold a text in one of the encodings, whatever its case."""
    return any(secret.lower().encode(encoding) in content.lower() for encoding in ENCODINGS)


def found_in(path: Path, secrets: tuple[str, ...]) -> set[str]:
    """Return the secrets in a file's name or bytes, those of a gzip file unpacked as well."""
    contents = [path.name.encode(), path.read_bytes()]
    if contents[1].startswith(b"\x1f\x8b"):
        contents.append(gzip.decompress(contents[1]))
    return {secret for secret in secrets for content in contents if holds(content, secret)}


def check_outputs(folder: Path, raw: Path, secrets: tuple[str, ...]) -> None:
    """Check that secrets are in the raw folder, and in no file outside of it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    inside = {path for path in files if path.is_relative_to(raw)}
    assert set().union(*(found_in(path, secrets) for path in inside)) == set(secrets)
    produced = [path for path in files if path not in inside]
    names = {path.name for path in produced}
    assert {"cases.csv", "problems.csv", "splits.json", "train_sources.json"} <= names
    assert any(name.endswith(".nii.gz") for name in names)
    assert {path: found for path in produced if (found := found_in(path, secrets))} == {}


@pytest.fixture(autouse=True)
def nothing_is_shown(request, capfd, caplog):
    """Check that no secret was printed or logged, also by libraries."""
    yield
    shown = "".join(capfd.readouterr()) + caplog.text
    assert not [secret for secret in (*SECRETS, *PLANTED) if secret.lower() in shown.lower()]


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("SEGFLOW_PSEUDONYM_KEY", KEY)


# Where words can be in a file


def nifti(array: np.ndarray) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(array.T, np.diag([-1, -1, 1, 1]))


def in_header(field: str, text: str = NAME) -> Callable[[Path, np.ndarray], None]:
    def plant(path: Path, array: np.ndarray) -> None:
        image = nifti(array)
        image.header[field] = text
        path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))

    return plant


def in_extension(path: Path, array: np.ndarray) -> None:
    image = nifti(array)
    words = nibabel.nifti1.Nifti1Extension("comment", NAME.encode())
    image.header.extensions.append(words)
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def in_gzip_name(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file, gzip.GzipFile(f"{NAME}.nii", "wb", fileobj=file) as zipped:
        zipped.write(nifti(array).to_bytes())


def in_gzip_comment(path: Path, array: np.ndarray) -> None:
    content = gzip.compress(nifti(array).to_bytes(), mtime=0)
    flags = bytes([content[3] | 0b10000])
    path.write_bytes(content[:3] + flags + content[4:10] + f"{NAME}\0".encode() + content[10:])


def before_voxels(path: Path, array: np.ndarray) -> None:
    content = bytearray(nifti(array).to_bytes())
    struct.pack_into("<f", content, 108, 352 + 32)  # where the voxels begin
    content[352:352] = NAME.encode().ljust(32, b"\0")
    path.write_bytes(gzip.compress(content, mtime=0))


def behind_voxels(path: Path, array: np.ndarray) -> None:
    path.write_bytes(gzip.compress(nifti(array).to_bytes() + NAME.encode(), mtime=0))


def in_second_gzip_member(path: Path, array: np.ndarray) -> None:
    content = nifti(array).to_bytes()
    path.write_bytes(gzip.compress(content, mtime=0) + gzip.compress(NAME.encode(), mtime=0))


NIFTI_PLACES = {
    "descrip": in_header("descrip"),
    "aux_file": in_header("aux_file"),
    "db_name": in_header("db_name"),
    "intent_name": in_header("intent_name", NAME[:15]),
    "data_type": in_header("data_type", NAME[:9]),
    "date like a version": in_header("descrip", DAY),
    "date with dots": in_header("descrip", "12.08.64"),
    "extension": in_extension,
    "name in gzip": in_gzip_name,
    "comment in gzip": in_gzip_comment,
    "before the voxels": before_voxels,
    "behind the voxels": behind_voxels,
    "second gzip member": in_second_gzip_member,
}
IN_PLACE = {
    "intent_name": NAME[:15],
    "data_type": NAME[:9],
    "date like a version": DAY,
    "date with dots": "12.08.64",
}


def plant_itk(path: Path, array: np.ndarray) -> None:
    """Write a NRRD or MetaImage file with further keys."""
    image = sitk.GetImageFromArray(array)
    for tag, secret in zip(("PatientName", "PatientID", "StudyDate"), SECRETS, strict=True):
        image.SetMetaData(tag, secret)
    sitk.WriteImage(image, str(path))


def plant_nrrd_comment(path: Path, array: np.ndarray) -> None:
    plant_itk(path, array)
    comment = f"# {NAME}\ncontent: {NUMBER}\n".encode()
    path.write_bytes(path.read_bytes().replace(b"type:", comment + b"type:", 1))


def plant_png(path: Path, array: np.ndarray) -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("Patient", NAME)
    words.add_itxt("Number", NUMBER)
    picture_of(array).save(path, pnginfo=words, exif=exif())


def plant_jpeg(path: Path, array: np.ndarray) -> None:
    picture_of(array).save(path, comment=f"{NAME} {NUMBER}", exif=exif())


def plant_tiff(path: Path, array: np.ndarray) -> None:
    tags = {270: f"{NAME} {NUMBER}", 306: DAY, 315: NAME}  # description, date, artist
    picture_of(array).save(path, tiffinfo=tags)


def picture_of(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array[0])


def exif() -> Image.Exif:
    words = Image.Exif()
    words[270], words[306] = f"{NAME} {NUMBER}", DAY  # description, date
    words[0x9C9B] = NAME.encode("utf-16-le")  # title, as Windows writes it
    return words


PLANTS = {
    "nrrd": (plant_itk, ".nrrd", 3),
    "nrrd with comments": (plant_nrrd_comment, ".nrrd", 3),
    "mha": (plant_itk, ".mha", 3),
    "png": (plant_png, ".png", 1),
    "jpg": (plant_jpeg, ".jpg", 1),
    "tif": (plant_tiff, ".tif", 1),
}


def make_images(raw: Path, plant: Callable[[Path, np.ndarray], None], suffix: str, depth: int):
    """Write five images with their label maps, and a table of them with the patients' names.

    Two of the images show one patient.
    """
    raw.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for number in range(5):
        image, label = f"i{number}{suffix}", f"l{number}{'.png' if depth == 1 else suffix}"
        plant(raw / image, random.integers(0, 255, (depth, 16, 19), np.uint8))
        mark = plant_png if depth == 1 else plant
        mark(raw / label, random.integers(0, 2, (depth, 16, 19), np.uint8))
        patient = f"{NAME} {NUMBER}" if number < 2 else f"{NUMBER}-{number}"
        part = "test" if number == 4 else "train"
        group = "" if number < 2 else f"family {NAME} {number}"
        cells = {"image": image, "label": label, "patient": patient, "group": group, "split": part}
        rows.append(cells)
    write_table(raw / "cases.csv", rows)


def write_table(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def of_user(**changes) -> dict:
    changes = {"labels": {"background": 0, "organ": 1}, "pseudonyms": True} | changes
    return describe("hippocampus", converter="table", **changes)


def make_dicom(raw: Path) -> None:
    """Write four DICOM series of three patients with their label maps, and a table of them."""
    rows = []
    random = np.random.default_rng(1)
    for number in range(4):
        series, label = raw / f"series{number}", raw / f"label{number}.nii.gz"
        volume = random.integers(0, 100, (3, 8, 9)).astype(np.int16)
        identifier = NUMBER if number < 2 else f"{NUMBER}-{number}"
        tags = {"PatientID": identifier, "PatientName": NAME, "PatientBirthDate": DAY}
        tags |= {"StudyDate": DAY, "AccessionNumber": NUMBER, "InstitutionName": f"Clinic {NAME}"}
        tags |= {"StudyDescription": NAME, "SeriesInstanceUID": f"1.2.3.{number}"}
        for path in write_series(series, volume, **tags):
            dataset = pydicom.dcmread(path)
            block = dataset.private_block(0x0011, "SEGFLOW TEST", create=True)
            block.add_new(0x01, "LO", NAME)
            person = pydicom.Dataset()
            person.PatientName = NAME
            dataset.ReferencedPatientSequence = [person]
            dataset.save_as(path)
        write_image(label, np.uint8(volume > 50), read_dicom(series).grid)
        part = "test" if number == 3 else "train"
        rows.append({"image": series.name, "label": label.name, "split": part})
    write_table(raw / "cases.csv", rows)


# The tests


@pytest.mark.parametrize("place", NIFTI_PLACES)
def test_words_in_nifti_files_stay_outside(tmp_path, place, key):
    raw = tmp_path / "raw"
    make_images(raw, NIFTI_PLACES[place], ".nii.gz", 3)
    run(raw, of_user(), tmp_path)
    check_outputs(tmp_path, raw, (IN_PLACE.get(place, NAME), NUMBER))


@pytest.mark.parametrize("kind", PLANTS)
def test_words_in_other_files_stay_outside(tmp_path, kind, key):
    raw = tmp_path / "raw"
    make_images(raw, *PLANTS[kind])
    run(raw, of_user(), tmp_path)
    check_outputs(tmp_path, raw, SECRETS)


def test_headers_of_dicom_series_stay_outside(tmp_path, key):
    make_dicom(tmp_path / "raw")
    run(tmp_path / "raw", of_user(patient="dicom"), tmp_path)
    check_outputs(tmp_path, tmp_path / "raw", SECRETS)


def test_headers_of_mammograms_and_dates_of_their_table_stay_outside(tmp_path):
    make_inbreast(tmp_path / "raw", 4)
    raw = tmp_path / "raw"
    for path in (raw / "AllXML").glob("*.xml"):
        content = plistlib.loads(path.read_bytes())
        content["Images"][0]["PatientName"] = NAME
        content["Images"][0]["ROIs"].append({"Name": f"note of {NAME}", "Point_px": []})
        path.write_bytes(plistlib.dumps(content))
    dataset = describe("inbreast")
    dataset["reading"]["mammography"] |= {"iterations": 5}
    run(raw, dataset, tmp_path)
    check_outputs(tmp_path, raw, (*PLANTED, NAME))


def test_further_columns_and_keys_of_tables_stay_outside(tmp_path):
    raw = tmp_path / "raw"
    make_adni(raw)
    path = raw / "participants.tsv"
    header, *lines = path.read_text().splitlines()
    lines = [f"{line}\t{NAME}\t{DAY}" for line in lines]
    path.write_text("\n".join([f"{header}\tname\tbirth_date", *lines]) + "\n")
    image = next(raw.rglob("*_T1w.nii.gz"))
    sidecar = {"PatientName": NAME, "PatientID": NUMBER, "AcquisitionDateTime": DAY}
    image.with_name(image.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    run(raw, without_brain(describe("adni")), tmp_path)
    check_outputs(tmp_path, raw, SECRETS)


def test_further_keys_of_an_nnunet_data_set_stay_outside(tmp_path):
    raw = tmp_path / "raw"
    make_nnunet(raw)
    path = raw / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"description": f"{NAME} {NUMBER}", "release": DAY}))
    labels = content["labels"]
    dataset = describe("hippocampus", converter="nnunet", channels=["T1", "T2"], labels=labels)
    run(raw, dataset, tmp_path)
    check_outputs(tmp_path, raw, SECRETS)


# What is damaged is reported without its words


def shorten(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(share * len(content))]


def flip_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def scramble_words(content: bytes) -> bytes:
    """Bring the first secret out of its field, without changing the file's length."""
    return content.replace(NAME[:4].encode(), b"\n: =", 1)


DAMAGES = {
    "cut to a tenth": shorten(0.1),
    "cut to a half": shorten(0.5),
    "cut to nine tenths": shorten(0.9),
    "flipped byte": flip_byte,
    "scrambled words": scramble_words,
}
SOURCES = PLANTS | {"nifti": (in_header("descrip"), ".nii.gz", 3)}


def error_of(raw: Path, dataset: dict, folder: Path) -> str:
    """Return everything that a log would hold of the error; nothing if there is none."""
    try:
        convert(raw, dataset, folder)
    except (ValueError, FileNotFoundError) as error:
        return "".join(traceback.format_exception(error))
    return ""


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", SOURCES)
def test_errors_of_damaged_files_tell_no_words(tmp_path, key, kind, damage):
    raw = tmp_path / "raw"
    _, suffix, _ = SOURCES[kind]
    make_images(raw, *SOURCES[kind])
    image = raw / f"i0{suffix}"
    image.write_bytes(DAMAGES[damage](image.read_bytes()))
    text = error_of(raw, of_user(), tmp_path)
    assert image.name in text or not damage.startswith("cut")
    assert not [secret for secret in SECRETS if secret.lower() in text.lower()]


@pytest.mark.parametrize("damage", DAMAGES)
def test_errors_of_damaged_dicom_files_tell_no_words(tmp_path, key, damage):
    raw = tmp_path / "raw"
    make_dicom(raw)
    for path in sorted((raw / "series0").iterdir())[1:]:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    text = error_of(raw, of_user(patient="dicom"), tmp_path)
    assert "series0" in text or not damage.startswith("cut")
    assert not [secret for secret in SECRETS if secret.lower() in text.lower()]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("split", "trian"),
        ("image", "none.nrrd"),
        ("label", "../l0.nrrd"),
        ("group", "another"),
    ],
)
def test_errors_of_a_table_tell_no_patient(tmp_path, key, column, value):
    raw = tmp_path / "raw"
    make_images(raw, *PLANTS["nrrd"])
    with (raw / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0][column] = value
    write_table(raw / "cases.csv", rows)
    text = error_of(raw, of_user(), tmp_path)
    assert "cases.csv: line" in text
    assert not [secret for secret in SECRETS if secret.lower() in text.lower()]


# Pseudonyms


def groups_of(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["case"]: row["group"] for row in rows}


def test_images_of_one_patient_become_one_group_under_another_name(tmp_path, key):
    raw = tmp_path / "raw"
    make_dicom(raw)
    rows = run(raw, of_user(patient="dicom"), tmp_path)
    groups = groups_of(rows)
    assert groups["series0"] == groups["series1"]
    assert len(set(groups.values())) == 3
    for row in rows:
        assert re.fullmatch("p[0-9a-f]{12}", row["patient"])
        assert row["group"] == row["patient"]
    assert groups_of(run(raw, of_user(patient="dicom"), tmp_path / "again")) == groups


def test_patients_and_groups_of_a_table_get_other_names(tmp_path, key):
    raw = tmp_path / "raw"
    make_images(raw, *PLANTS["nrrd"])
    rows = run(raw, of_user(), tmp_path)
    groups = groups_of(rows)
    assert groups["i0"] == groups["i1"]
    assert len(set(groups.values())) == 4
    assert all(re.fullmatch("p[0-9a-f]{12}", row["patient"]) for row in rows)
    assert all(re.fullmatch("p[0-9a-f]{12}", row["group"]) for row in rows)


def test_another_key_gives_other_names_and_converts_nothing_anew(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    make_dicom(raw)
    names, states = [], []
    for key in (KEY, KEY[::-1]):
        monkeypatch.setenv("SEGFLOW_PSEUDONYM_KEY", key)
        names.append({row["patient"] for row in run(raw, of_user(patient="dicom"), tmp_path)})
        files = sorted((tmp_path / "converted").glob("*/*.nii.gz"))
        states.append([(path.stat().st_ino, path.stat().st_mtime_ns) for path in files])
    assert len(names[0]) == len(names[1]) == 3
    assert not names[0] & names[1]
    assert states[0] == states[1]


@pytest.mark.parametrize(("key", "found"), [(None, "is not set"), ("short", "has 5 characters")])
def test_pseudonyms_need_a_key(tmp_path, monkeypatch, key, found):
    raw = tmp_path / "raw"
    make_dicom(raw)
    monkeypatch.delenv("SEGFLOW_PSEUDONYM_KEY", raising=False)
    if key:
        monkeypatch.setenv("SEGFLOW_PSEUDONYM_KEY", key)
    with pytest.raises(ValueError, match=f"SEGFLOW_PSEUDONYM_KEY {found}; .*make one with"):
        convert(raw, of_user(patient="dicom"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
