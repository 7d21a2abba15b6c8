"""Damaged raw files: each kind of damage is reported by name, and leaves nothing half-written."""

import csv
import functools
import gzip
import io
import json
import os
import pickle
import plistlib
import re
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from conversion import RULE, convert, describe, without_brain
from dicom_files import UID_ROOT, write_series
from inbreast import make_inbreast
from layouts import make_brats2021, make_breastdm, make_btcv, make_busi, make_kits19, make_pancreas
from segflow.files.content import PARTIAL
from segflow.images.dicom import read_dicom
from segflow.images.nifti import write_image
from user_layouts import make_adni, make_nnunet, make_picture_table, make_table

HIPPOCAMPUS = Path(__file__).parents[2] / "resources" / "Task04_Hippocampus"
ORGANS = {"background": 0, "organ": 1, "lesion": 2}
SCAN = "images/scan0.nii.gz"
MARKED = "labels/scan0.nii.gz"
SERIES, OTHER_SERIES = "series0", "series1"
SUB2 = "seg3D/train/images/BreaDM-Be-1800/SUB2.npy"
FIRST_SEQUENCE = "seg3D/train/images/BreaDM-Be-1800/VIBRANT.npy"
BENIGN = "Dataset_BUSI_with_GT/benign/benign (1)"
SUBJECT = "sub-ADNI002S0295"
SESSIONS = f"{SUBJECT}/{SUBJECT}_sessions.tsv"
MAMMOGRAM = "AllDICOMs/20586934_0000000000000000_MG_L_CC_ANON.dcm"
CONTOURS = "AllXML/20586934.xml"
MAMMOGRAM_CASE = "20586934_L_CC"


# Layouts: a builder of the raw folder, and the description of the data set


def make_dicom_table(folder: Path) -> None:
    """Write three DICOM series with their label maps, and a table of them."""
    random = np.random.default_rng(5)
    rows = [["image", "label"]]
    for number in range(3):
        series, label = folder / f"series{number}", folder / f"label{number}.nii.gz"
        volume = random.integers(0, 100, (6, 12, 10)).astype(np.int16)
        write_series(series, volume, SeriesInstanceUID=f"{UID_ROOT}{number + 1}")
        mask = np.zeros(volume.shape, np.uint8)
        mask[2:4, 3:7, 3:7] = 1
        write_image(label, mask, read_dicom(series).grid)
        rows.append([series.name, label.name])
    (folder / "cases.csv").write_text("".join(f"{','.join(row)}\n" for row in rows))


def own(converter: str, labels: dict[str, int], **changes) -> dict:
    """Return the description of a user's own data set."""
    channels = changes.pop("channels", ["image"])
    return describe("hippocampus", converter=converter, labels=labels, channels=channels, **changes)


def with_reading(dataset: dict, **changes) -> dict:
    return dataset | {"reading": dataset["reading"] | changes}


LAYOUTS = {
    "table": (
        make_table,
        lambda: own("table", ORGANS, classes=["benign", "malignant"]),
    ),
    "pictures": (
        make_picture_table,
        lambda: with_reading(own("table", {"background": 0, "organ": 1}), label_threshold=127),
    ),
    "dicom": (make_dicom_table, lambda: own("table", {"background": 0, "organ": 1})),
    "nnunet": (make_nnunet, lambda: own("nnunet", ORGANS, channels=["T1", "T2"])),
    "adni": (make_adni, lambda: without_brain(describe("adni"))),
    "breastdm": (make_breastdm, lambda: describe("breastdm")),
    "brats2021": (make_brats2021, lambda: describe("brats2021")),
    "btcv": (make_btcv, lambda: describe("btcv")),
    "busi": (make_busi, lambda: describe("busi")),
    "inbreast": (
        lambda folder: make_inbreast(folder, n_patients=1),
        lambda: with_reading(
            describe("inbreast"),
            mammography=describe("inbreast")["reading"]["mammography"] | {"iterations": 5},
        ),
    ),
    "kits19": (make_kits19, lambda: describe("kits19")),
    "pancreas": (make_pancreas, lambda: describe("pancreas")),
}


# Damage to the bytes of any file

Damage = Callable[[Path], object]


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def lose_the_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def append_garbage(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"garbage")


def write(content: bytes | str) -> Damage:
    return lambda path: path.write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def replace_text(old: str, new: str) -> Damage:
    """Replace the first occurrence of a text."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        assert old.encode() in content
        path.write_bytes(content.replace(old.encode(), new.encode(), 1))

    return damage


def delete(path: Path) -> None:
    path.unlink()


def forbid(path: Path) -> None:
    path.chmod(0)


# Damage to images


def patch_header(offset: int, form: str, *values: float) -> Damage:
    """Write values into the header of a NIfTI file."""

    def damage(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(form, content, offset, *values)
        path.write_bytes(gzip.compress(content))

    return damage


def lose_voxels(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-500]))


def change_voxels(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Write a NIfTI file with other voxels, of shape (x, y, z)."""

    def damage(path: Path) -> None:
        image = nibabel.load(path)
        voxels = change(np.asanyarray(image.dataobj).copy())
        path.write_bytes(gzip.compress(nibabel.Nifti1Image(voxels, image.affine).to_bytes()))

    return damage


def put(value: float) -> Damage:
    """Write a value into the first voxel."""

    def change(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(np.float32)
        voxels[0, 0, 0] = value
        return voxels

    return change_voxels(change)


def change_affine(row: int, column: int, step: float) -> Damage:
    def damage(path: Path) -> None:
        image = nibabel.load(path)
        affine = image.affine.copy()
        affine[row, column] += step
        moved = nibabel.Nifti1Image(np.asanyarray(image.dataobj).copy(), affine)
        path.write_bytes(gzip.compress(moved.to_bytes()))

    return damage


def save_array(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    return lambda path: np.save(path, change(np.load(path)), allow_pickle=True)


def blank_sequences(folder: Path) -> None:
    for path in folder.glob("*.npy"):
        save_array(np.zeros_like)(path)


def save_picture(change: Callable[[Image.Image], Image.Image], kind: str = "PNG") -> Damage:
    def damage(path: Path) -> None:
        with Image.open(path) as image:
            image.load()
        change(image).save(path, kind)

    return damage


# Damage to DICOM series; the names of their files are scrambled


def slice_of(series: Path, index: int) -> Path:
    """Return the file of a slice, by its place."""
    return series / f"{(7 * index + 3) % 11:02}.dcm"


def on_slice(index: int, damage: Damage) -> Damage:
    return lambda series: damage(slice_of(series, index))


def add_series(series: Path) -> None:
    for path in (series.parent / OTHER_SERIES).iterdir():
        shutil.copy(path, series / f"other_{path.name}")


def double_slice(series: Path) -> None:
    shutil.copy(slice_of(series, 2), series / "copy.dcm")


def change_dicom(**tags) -> Damage:
    """Change tags; a function is given the old value, and None takes a tag away."""

    def damage(path: Path) -> None:
        dataset = pydicom.dcmread(path)
        for name, value in tags.items():
            if value is None:
                delattr(dataset, name)
            else:
                found = getattr(dataset, name)
                setattr(dataset, name, value(found) if callable(value) else value)
        dataset.save_as(path)

    return damage


# Damage to tables and trees


def change_rows(change: Callable[[list[dict]], object]) -> Damage:
    """Change the rows of a table with commas or tabulators."""

    def damage(path: Path) -> None:
        text = path.read_text()
        delimiter = "\t" if "\t" in text else ","
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
        change(rows)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)

    return damage


def set_cell(column: str, value: str, row: int = 0) -> Damage:
    return change_rows(lambda rows: rows[row].update({column: value}))


def rename_column(old: str, new: str) -> Damage:
    return replace_text(old, new)


def name_cases(name: str) -> Damage:
    """Add a column of names, the first of which is the given one."""

    def change(rows: list[dict]) -> None:
        for number, row in enumerate(rows):
            row["case"] = f"scan{number}" if number else name

    return change_rows(change)


def add_copy(raw: Path) -> None:
    """Add the first case again, under another name."""
    for kind in ("images", "labels"):
        shutil.copy(raw / kind / "scan0.nii.gz", raw / kind / "twin.nii.gz")

    def change(rows: list[dict]) -> None:
        files = {"image": "images/twin.nii.gz", "label": "labels/twin.nii.gz"}
        rows.append(rows[0] | files | {"patient": "another"})

    change_rows(change)(raw / "cases.csv")


def change_rois(change: Callable[[list[dict]], object]) -> Damage:
    """Change the regions of interest of an INbreast file, of which the first is a mass."""

    def damage(path: Path) -> None:
        content = plistlib.loads(path.read_bytes())
        change(content["Images"][0]["ROIs"])
        path.write_bytes(plistlib.dumps(content))

    return damage


def set_point(point: str) -> Damage:
    return change_rois(lambda rois: rois[0]["Point_px"].__setitem__(3, point))


def add_broken_roi(rois: list[dict]) -> None:
    rois.append(rois[0] | {"Point_px": ["(1.0, x)"] * 5, "NumberOfPoints": 5})


def empty_folder(raw: Path) -> None:
    shutil.rmtree(raw)
    raw.mkdir()


def other_layout(raw: Path) -> None:
    empty_folder(raw)
    make_btcv(raw)


def move_subtype(raw: Path) -> None:
    """Move a case to the folder of another class."""
    for name in ("quiz_0_001_0000.nii.gz", "quiz_0_001.nii.gz"):
        (raw / "data/train/subtype0" / name).rename(raw / "data/train/subtype1" / name)


@dataclass(frozen=True)
class Kind:
    """One kind of damage.

    Parameters
    ----------
    name, layout : str
        What it is, and the raw folder that it is done to.
    file : str
        The file that is reported, relative to the raw folder; empty for the folder itself.
    problem : str
        Regular expression of what is reported.
    damage : callable
        Does the damage to `at`, or else to `file`.
    outcome : {'error', 'repaired', 'note'}
        What becomes of it.
    case : str
        The case that is damaged, if it is one.
    at : str
        What is damaged where it is not the file that is reported.
    sound : bool
        Whether the files that are there are sound, so that they are converted all the same.
    """

    name: str
    layout: str
    file: str
    problem: str
    damage: Damage = field(repr=False)
    outcome: str = "error"
    case: str = ""
    at: str | None = None
    sound: bool = False

    def damage_in(self, raw: Path) -> None:
        self.damage(raw / (self.file if self.at is None else self.at))


def scan(name: str, damage: Damage, problem: str, file: str = SCAN, **others) -> Kind:
    """Return damage to a file of the first of a user's own cases."""
    case = re.match(r"\w+/(scan\d)", file)[1]
    return Kind(name, "table", file, problem, damage, case=case, **others)


def row(name: str, damage: Damage, problem: str, **others) -> Kind:
    """Return damage to the table of a user's own cases."""
    return Kind(name, "table", "cases.csv", problem, damage, **others)


def series(name: str, damage: Damage, problem: str, **others) -> Kind:
    """Return damage to a DICOM series."""
    return Kind(name, "dicom", SERIES, problem, damage, case="series0", **others)


def sequence(name: str, damage: Damage, problem: str, file: str = SUB2, **others) -> Kind:
    """Return damage to an array of BreastDM."""
    return Kind(name, "breastdm", file, problem, damage, case="BreaDM-Be-1800", **others)


def contours(name: str, damage: Damage, problem: str, **others) -> Kind:
    """Return damage to a file of contours."""
    return Kind(name, "inbreast", CONTOURS, problem, damage, case=MAMMOGRAM_CASE, **others)


def photo(name: str, damage: Damage, problem: str, file: str = "photo 0.png") -> Kind:
    """Return damage to a picture."""
    case = "photo_" + re.search(r"\d", file)[0]
    return Kind(name, "pictures", file, problem, damage, case=case)


HEADER = "cannot be read as NIfTI"
NOT_FINITE = "NaN or infinite in 1 voxel"
KINDS = [
    # NIfTI
    scan("truncated gzip file", truncate, "the gzip file is damaged"),
    scan("flipped byte in a gzip file", flip_byte, "the gzip file is damaged", MARKED),
    scan("garbage behind a gzip file", append_garbage, "the gzip file is damaged"),
    scan("empty file", empty, HEADER),
    scan("text called .nii.gz", write("no image\n"), "the gzip file is damaged"),
    scan("text in a .nii.gz file", write(gzip.compress(b"no image\n" * 99)), HEADER),
    scan("too few voxels in a sound gzip file", lose_voxels, f"{HEADER} .*too small"),
    scan("unknown data type", patch_header(70, "<h", 999), f"{HEADER} .*999"),
    scan("NaN in the header", patch_header(280, "<f", np.nan), "direction is no number"),
    scan(
        "complex values",
        change_voxels(lambda voxels: voxels.astype(np.complex64)),
        "values are complex64; only real numbers are allowed",
    ),
    scan("sheared axes", change_affine(0, 1, 0.1), "axes are not at right angles .*allowed: 0.01"),
    scan(
        "axes rounded",
        change_affine(0, 1, 0.002),
        "direction cosines differ from a rotation by 0.001",
        outcome="repaired",
    ),
    scan("NaN in an image", put(np.nan), NOT_FINITE),
    scan("infinite value in an image", put(np.inf), NOT_FINITE),
    scan("NaN in a label map", put(np.nan), NOT_FINITE, MARKED),
    scan(
        "label map of another shape",
        change_voxels(lambda voxels: voxels[:-1]),
        r"differs from its image in shape \(16 24 20 against 16 24 19\)",
        MARKED,
    ),
    scan(
        "label map at another origin",
        change_affine(0, 3, 3),
        r"differs from its image in origin \(0 0 0 against -3 0 0\)",
        MARKED,
    ),
    scan(
        "label map with a rounded header",
        change_affine(0, 3, 0.001),
        "differs from its image by rounding in origin",
        MARKED,
        outcome="repaired",
    ),
    scan(
        "undeclared label", put(7), r"label values 7 are not declared \(allowed: 0, 1, 2\)", MARKED
    ),
    scan("fractional label", put(0.5), "label values 0.5 are not declared", MARKED),
    scan("inexact labels", put(1e-6), "label values are inexact", MARKED, outcome="repaired"),
    scan(
        "label map of two channels",
        change_voxels(lambda voxels: np.stack([voxels, voxels], axis=-1)),
        "a label map has one channel, found 2",
        MARKED,
    ),
    scan("empty label map", change_voxels(np.zeros_like), "is empty", MARKED, outcome="note"),
    scan(
        "label maps that contradict each other",
        change_voxels(lambda voxels: np.full_like(voxels, 2)),
        r"another file has another label in \d+ voxel",
        "labels/scan3_r.nii.gz",
    ),
    scan(
        "image of too many channels",
        change_voxels(lambda voxels: np.stack([voxels, voxels], axis=-1)),
        "2 channels, but the data set declares 1",
    ),
    # NRRD and MetaImage
    scan("truncated .nrrd", truncate, "damaged compressed data", "images/scan1.nrrd"),
    scan("flipped byte in .nrrd", flip_byte, "damaged compressed data", "images/scan1.nrrd"),
    scan(
        "unknown type in .nrrd",
        replace_text("type: unsigned char", "type: unknown"),
        "cannot be read .*couldn't parse type",
        "labels/scan1.nrrd",
    ),
    scan("flipped byte in .mha", flip_byte, "damaged compressed data", "images/scan2.mha"),
    scan("text called .mha", write("no image\n"), "cannot be read", "images/scan2.mha"),
    scan(
        "sheared axes in .mha",
        replace_text("TransformMatrix = 1 0", "TransformMatrix = 1 0.5"),
        "axes are not at right angles",
        "images/scan2.mha",
    ),
    # Pictures
    photo("text called .png", write("no picture\n"), "it is no picture"),
    photo("truncated .png", truncate, "cannot be read .*truncated"),
    photo("flipped byte in a mask's .png", flip_byte, "cannot be read", "photo 0 mask.png"),
    photo(
        "JPEG called .png",
        save_picture(lambda picture: picture, "JPEG"),
        "the content is JPEG, unlike the suffix",
    ),
    photo(
        "mask of another size",
        save_picture(lambda picture: picture.crop((0, 0, 10, 10))),
        r"differs from its image in shape \(1 24 20 against 1 10 10\)",
        "photo 0 mask.png",
    ),
    photo(
        "mask in colours",
        save_picture(lambda picture: Image.new("RGB", picture.size, "red")),
        "a mask is grey, black and white or has a palette",
        "photo 0 mask.png",
    ),
    photo("truncated .tif", truncate, "cannot be read .*cut short", "photo 1.tif"),
    # DICOM
    series("missing slice", on_slice(2, delete), "slices 2 and 3 of 5 are 6 mm apart"),
    series("doubled slice", double_slice, "1 of 7 slices lie where another one lies"),
    series("two series in one folder", add_series, "2 series in one folder"),
    series(
        "truncated pixel data",
        on_slice(2, lose_the_end),
        r"06\.dcm: pixel data .*cannot be decoded",
    ),
    series(
        "slices of mixed sizes",
        on_slice(2, change_dicom(Rows=6, PixelData=lambda pixels: pixels[:120])),
        "slices differ in rows and columns: 5 of 6 have 12 10, others 6 10",
    ),
    series(
        "slice without a position",
        on_slice(2, change_dicom(ImagePositionPatient=None)),
        r"06\.dcm: no ImagePositionPatient",
    ),
    series("text called .dcm", on_slice(2, write("no image\n")), r"06\.dcm: not a DICOM file"),
    # A user's own table
    row(
        "row listed twice",
        change_rows(lambda rows: rows.append(rows[0])),
        "line 12: case 'scan0' is already in line 2",
        case="scan0",
    ),
    row("unknown column", rename_column("covariate_age", "age"), "unknown column 'age'"),
    row(
        "file that is not there",
        set_cell("image", "images/scan99.nii.gz"),
        "line 2: there is no file images/scan99.nii.gz",
        case="scan0",
    ),
    row(
        "path outside the folder",
        set_cell("image", "../scan0.nii.gz"),
        "line 2: '../scan0.nii.gz' leaves the raw folder",
        case="scan0",
    ),
    row(
        "blank in the name of a case",
        name_cases("my scan"),
        "'my scan' cannot name a case",
        case="scan0",
    ),
    row("unknown split", set_cell("split", "trian"), "unknown split 'trian'", case="scan0"),
    row("table that is not UTF-8", write("image\nM\xfcller.png\n".encode("latin-1")), "not UTF-8"),
    Kind(
        "undeclared class",
        "table",
        SCAN,
        r"class 'bening' is not declared .*allowed: benign, malignant",
        set_cell("class", "bening"),
        case="scan0",
        at="cases.csv",
        sound=True,
    ),
    Kind(
        "one image under two names",
        "table",
        "images/twin.nii.gz",
        "the same image as case 'scan0'",
        add_copy,
        case="twin",
        at="",
        sound=True,
    ),
    # nnU-Net
    Kind("damaged dataset.json", "nnunet", "dataset.json", "not valid JSON", truncate),
    Kind(
        "dataset.json without labels",
        "nnunet",
        "dataset.json",
        "the key 'labels' is missing",
        write(json.dumps({"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz"})),
    ),
    Kind(
        "missing channel",
        "nnunet",
        "imagesTr/case_001_0000.nii.gz",
        "1 channel, but the data set declares 2",
        delete,
        case="case_001",
        at="imagesTr/case_001_0001.nii.gz",
    ),
    Kind(
        "channels on different grids",
        "nnunet",
        "imagesTr/case_001_0001.nii.gz",
        "differs from channel 0 in origin",
        change_affine(1, 3, 5),
        case="case_001",
    ),
    Kind(
        "missing label map",
        "nnunet",
        "imagesTr/case_001_0000.nii.gz",
        "has no partner in labelsTr",
        delete,
        case="case_001",
        at="labelsTr/case_001.nii.gz",
        sound=True,
    ),
    # Published layouts
    Kind(
        "label map without an image",
        "btcv",
        "RawData/Training/label/label0001.nii.gz",
        "the label has no image",
        delete,
        case="img0001",
        at="RawData/Training/img/img0001.nii.gz",
    ),
    Kind(
        "missing sequence",
        "brats2021",
        "BraTS2021_00001/BraTS2021_00001_t2.nii.gz",
        "the file is missing",
        delete,
        case="BraTS2021_00001",
    ),
    Kind(
        "missing image",
        "kits19",
        "data/case_00001/imaging.nii.gz",
        "the file is missing .*download the images",
        delete,
        case="case_00001",
    ),
    Kind(
        "damaged table of patients",
        "kits19",
        "data/kits.json",
        "expected a JSON list of patients",
        truncate,
        sound=True,
    ),
    Kind(
        "folder of another class",
        "pancreas",
        "data/train/subtype1/quiz_0_001_0000.nii.gz",
        "the name says subtype 0, the folder is subtype1",
        move_subtype,
        case="quiz_0_001",
        at="",
        sound=True,
    ),
    Kind(
        "picture without a mask",
        "busi",
        f"{BENIGN}.png",
        "the picture has no mask",
        delete,
        case="benign_001",
        at=f"{BENIGN}_mask.png",
        sound=True,
    ),
    Kind(
        "BIDS table without diagnosis",
        "adni",
        SESSIONS,
        "has no column diagnosis",
        rename_column("diagnosis", "other"),
    ),
    Kind(
        "BIDS session listed twice",
        "adni",
        SESSIONS,
        "session 'ses-M000' is listed twice",
        set_cell("session_id", "ses-M000", row=1),
    ),
    Kind(
        "unknown diagnosis",
        "adni",
        f"{SUBJECT}/ses-M000/anat/{SUBJECT}_ses-M000_T1w.nii.gz",
        "unknown diagnosis 'healthy'",
        set_cell("diagnosis", "healthy"),
        at=SESSIONS,
    ),
    sequence("text called .npy", write("no array at all\n"), "cannot be read as an array"),
    sequence("pickled object", write(pickle.dumps({"a": 1})), "cannot be read as an array"),
    sequence(
        "array of objects",
        save_array(lambda array: array.astype(object)),
        "cannot be read as an array .*Object arrays",
    ),
    sequence("truncated array", truncate, "cannot be read as an array"),
    sequence("array of words", save_array(lambda array: array.astype(str)), "its values are <U"),
    sequence(
        "sequences of different shapes",
        save_array(lambda array: array[:-1]),
        r"differs from channel 0 in shape \(8 40 44 against 8 39 44\)",
    ),
    sequence(
        "blank slices only",
        blank_sequences,
        "every slice is blank",
        FIRST_SEQUENCE,
        at=str(Path(FIRST_SEQUENCE).parent),
    ),
    contours("XML that is no property list", write("<html>"), "cannot be read as a property list"),
    contours(
        "property list without images", write(plistlib.dumps({"a": 1})), "has no list of Images"
    ),
    contours(
        "broken polygon",
        change_rois(add_broken_roi),
        r"has a point that is no pair of numbers, '\(1.0, x\)': left out",
        outcome="repaired",
    ),
    contours(
        "point outside the image",
        set_point("(-50.0, 100.0)"),
        r"has 1 point\(s\) outside the image: moved them to its border",
        outcome="repaired",
    ),
    Kind(
        "mammogram without a breast",
        "inbreast",
        MAMMOGRAM,
        "no breast is found",
        change_dicom(PixelData=lambda pixels: bytes(len(pixels))),
        case=MAMMOGRAM_CASE,
    ),
    # The folder
    Kind("missing folder", "table", "", "no such folder; .*the data come from", shutil.rmtree),
    Kind("empty folder", "table", "", "expected .*found an empty folder .*come from", empty_folder),
    Kind("another layout", "adni", "", "expected sub-.*found RawData/ .*come from", other_layout),
    scan("file that may not be read", forbid, "cannot be read .*denied"),
]


# The tests


@dataclass(frozen=True)
class Sound:
    """A raw folder without damage, and what its conversion gives."""

    raw: Path
    tables: tuple[list, list]
    contents: dict[str, bytes]


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """Make the raw folder of a layout, once for all tests, and convert it."""

    @functools.cache
    def make(layout: str) -> Sound:
        folder = tmp_path_factory.mktemp(layout)
        build, dataset = LAYOUTS[layout]
        build(folder / "raw")
        tables = convert(folder / "raw", dataset(), folder)
        return Sound(folder / "raw", tables, contents(folder))

    return make


@pytest.fixture
def restore(sound, tmp_path):
    """Bring the raw folder of a layout to the state without damage, and return it."""

    def restore(layout: str) -> Path:
        raw = tmp_path / "raw"
        if raw.exists():
            raw.rename(tempfile.mkdtemp(dir=tmp_path))  # deleting takes longer
        shutil.copytree(sound(layout).raw, raw)
        return raw

    return restore


def written(folder: Path) -> list[Path]:
    """Return the converted images and label maps."""
    return sorted((folder / "converted").glob("*/*.nii.gz"))


def contents(folder: Path) -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in written(folder)}


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written anew."""
    return {
        f"{path.parent.name}/{path.name}": (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in written(folder)
    }


def of_case(file: str, case: str) -> bool:
    return bool(case) and re.fullmatch(rf".*/{case}(_\d{{4}})?\.nii\.gz", file) is not None


def check_nothing_is_torn(folder: Path) -> None:
    """Check that there are whole files only, and that each is entered as finished."""
    assert not [path for path in folder.rglob(f"*{PARTIAL}*")]
    entered = {}
    for record in (folder / "converted").glob("*/.ledger/*.json"):
        for name, size in json.loads(record.read_text())["files"].items():
            entered[record.parents[1] / name] = size
    assert entered == {path: path.stat().st_size for path in written(folder)}
    for path in written(folder):
        nibabel.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes())).get_fdata()


def check_failure(kind: Kind, raw: Path, folder: Path) -> None:
    """Convert damaged files, and check the one error that this gives."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        convert(raw, LAYOUTS[kind.layout][1](), folder)
    start = f"  {kind.file}: " if kind.file else f"{raw}: "
    lines = [line for line in str(caught.value).splitlines() if line.startswith(start)]
    assert any(re.search(kind.problem, line) for line in lines), str(caught.value)
    assert not (folder / "train.csv").exists()


ERRORS = [kind for kind in KINDS if kind.outcome == "error"]
OTHERS = [kind for kind in KINDS if kind.outcome != "error"]
# Damage that is noticed at each stage of a conversion: bytes, voxels, pairs, tables, folder
REPEATED = (
    "truncated gzip file",
    "NaN in a label map",
    "missing slice",
    "missing channel",
    "label map without an image",
    "folder of another class",
    "one image under two names",
    "missing folder",
)


def named(kinds: list[Kind]):
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.name)


def skip_if_allowed(kind: Kind) -> None:
    if kind.damage is forbid and os.geteuid() == 0:
        pytest.skip("nothing is forbidden to the superuser")


@named(ERRORS)
def test_damage_stops_the_conversion_and_costs_no_more_than_its_case(
    kind, sound, restore, tmp_path
):
    skip_if_allowed(kind)
    raw = restore(kind.layout)
    kind.damage_in(raw)
    check_failure(kind, raw, tmp_path)
    check_nothing_is_torn(tmp_path)
    before = states(tmp_path)
    if not kind.sound:
        assert not [file for file in before if of_case(file, kind.case)]

    restore(kind.layout)
    assert convert(raw, LAYOUTS[kind.layout][1](), tmp_path) == sound(kind.layout).tables
    assert contents(tmp_path) == sound(kind.layout).contents
    check_nothing_is_torn(tmp_path)
    after = states(tmp_path)
    anew = {file for file in before if after.get(file) != before[file]}
    assert all(of_case(file, kind.case) for file in anew)


@named(OTHERS)
def test_damage_that_does_no_harm_is_in_the_table_of_problems(kind, sound, restore, tmp_path):
    raw = restore(kind.layout)
    kind.damage_in(raw)
    problems = convert(raw, LAYOUTS[kind.layout][1](), tmp_path)[1]
    check_nothing_is_torn(tmp_path)
    found = [problem for problem in problems if problem not in sound(kind.layout).tables[1]]
    matching = [problem for problem in found if re.search(kind.problem, problem.problem)]
    assert [(problem.file, problem.severity) for problem in matching] == [(kind.file, kind.outcome)]
    assert matching[0].action


@named([kind for kind in KINDS if kind.name in REPEATED])
def test_damage_after_a_conversion_spoils_no_finished_file(kind, sound, restore, tmp_path):
    raw = restore(kind.layout)
    convert(raw, LAYOUTS[kind.layout][1](), tmp_path)
    before = contents(tmp_path)
    (tmp_path / "train.csv").unlink()  # as the workflow does before it runs a job again
    restore(kind.layout)  # into new files, to which nothing is linked
    kind.damage_in(raw)
    check_failure(kind, raw, tmp_path)
    check_nothing_is_torn(tmp_path)
    left = contents(tmp_path)
    assert all(left[file] == before[file] for file in left if file in before)
    assert all(file in left or of_case(file, kind.case) for file in before)

    finished = states(tmp_path)
    restore(kind.layout)
    assert convert(raw, LAYOUTS[kind.layout][1](), tmp_path) == sound(kind.layout).tables
    assert contents(tmp_path) == sound(kind.layout).contents
    after = states(tmp_path)
    anew = {file for file in finished if after.get(file) != finished[file]}
    assert all(of_case(file, kind.case) for file in anew)


@pytest.mark.parametrize("file", ["imagesTr/hippocampus_001_0000", "labelsTr/hippocampus_001"])
def test_damage_that_reaches_a_linked_file_is_undone_with_the_raw_file(tmp_path, file):
    """A raw file that is changed in place takes with it the file that is linked to it."""
    raw = tmp_path / "raw"
    names = [f"{kind}/hippocampus_001.nii.gz" for kind in ("imagesTr", "labelsTr")]
    for name in names:
        (raw / name).parent.mkdir(parents=True)
        shutil.copy(HIPPOCAMPUS / name, raw / name)
    dataset = describe("hippocampus")
    convert(raw, dataset, tmp_path)
    (tmp_path / "train.csv").unlink()
    converted = tmp_path / "converted" / f"{file}.nii.gz"
    damaged = raw / f"{file.removesuffix('_0000')}.nii.gz"
    before = converted.read_bytes()
    assert converted.samefile(damaged)
    flip_byte(damaged)
    with pytest.raises(ValueError, match="the gzip file is damaged"):
        convert(raw, dataset, tmp_path)
    assert not (tmp_path / "train.csv").exists()

    damaged.unlink()
    damaged.write_bytes(before)
    convert(raw, dataset, tmp_path)
    assert converted.read_bytes() == before


def test_all_damage_to_a_data_set_is_listed_at_once(restore, tmp_path):
    raw = restore("table")
    at_once = {
        "undeclared class": "images/scan0.nii.gz",
        "flipped byte in .nrrd": "images/scan1.nrrd",
        "text called .mha": "images/scan2.mha",
        "label maps that contradict each other": "labels/scan3_r.nii.gz",
    }
    kinds = [kind for kind in KINDS if kind.name in at_once]
    for kind in kinds:
        kind.damage_in(raw)
    put(np.inf)(raw / "images/scan6.nii.gz")
    set_cell("label", "labels/none.nrrd", row=7)(raw / "cases.csv")
    with pytest.raises(ValueError, match="6 problems") as caught:
        convert(raw, LAYOUTS["table"][1](), tmp_path)
    _, *lines, advice = str(caught.value).splitlines()
    assert "`exclude`" in advice
    assert len(lines) == 6
    for kind in kinds:
        line = next(line for line in lines if line.startswith(f"  {kind.file}: "))
        assert re.search(kind.problem, line)
    assert any("scan6.nii.gz: NaN or infinite in 1 voxel" in line for line in lines)
    assert any("cases.csv: line 9: there is no file labels/none.nrrd" in line for line in lines)


def damage_the_header(raw: Path) -> None:
    rename_column("label", "lable")(raw / "cases.csv")


def test_a_damaged_table_is_named_where_cases_are_held_out(restore, tmp_path):
    raw = restore("dicom")
    damage_the_header(raw)
    with pytest.raises(ValueError, match="unknown column 'lable'"):
        convert(raw, LAYOUTS["dicom"][1](), tmp_path, rule=RULE | {"held_out": 0.5})


def test_a_damaged_table_removes_no_converted_file(restore, tmp_path):
    raw = restore("dicom")
    convert(raw, LAYOUTS["dicom"][1](), tmp_path)
    before = states(tmp_path)
    damage_the_header(raw)
    with pytest.raises(ValueError, match="unknown column 'lable'"):
        convert(raw, LAYOUTS["dicom"][1](), tmp_path)
    assert states(tmp_path) == before


def test_there_are_many_kinds_of_damage():
    for kind in KINDS:
        print(f"{kind.name:45} {kind.layout:10} {kind.outcome}")
    print(f"{len(KINDS)} kinds:", *(f"{n} {name}" for name, n in Counter(outcomes()).items()))
    assert max(Counter(kind.name for kind in KINDS).values()) == 1
    assert len(KINDS) >= 30
    assert {*outcomes()} == {"error", "repaired", "note"}
    assert {kind.name for kind in KINDS} >= {*REPEATED}


def outcomes() -> list[str]:
    return [kind.outcome for kind in KINDS]
