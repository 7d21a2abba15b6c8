"""Miniature raw folders of ADNI in BIDS, of nnU-Net and of a user's own table."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from segflow.images.nifti import Grid, write_image

N_TRAINING, N_TEST = 8, 2
SHAPE = (16, 24, 20)  # z, y, x
SPACING_MM = (2.0, 1.0, 1.0)
CLASSES = ("CN", "MCI", "AD")


def make_adni(folder: Path) -> Path:
    """Write four subjects of each class, every other one with a second visit after a year.

    One subject's second image has no diagnosis, and each subject has one visit without an image.
    """
    random = np.random.default_rng(1)
    participants = []
    for number in range(12):
        subject = f"sub-ADNI{number // 4 + 2:03d}S{number + 295:04d}"
        diagnosis, sex, age = CLASSES[number % 3], "MF"[number % 2], 65 + number
        participants.append({"participant_id": subject, "sex": sex, "age_bl": age})
        sessions = []
        for month in (0, 12, 24):
            sessions.append(
                {
                    "session_id": f"ses-M{month:03d}",
                    "age": age + month / 12,
                    "diagnosis": "n/a" if number == 4 and month == 12 else diagnosis,
                    "cdr_global": 0.5 * (number % 3),
                    "MMSE": 30 - 4 * (number % 3),
                }
            )
            if month == 0 or (month == 12 and number % 2 == 0):
                name = f"{subject}_ses-M{month:03d}"
                image = _head(random, cavity_mm=2 + 2 * (number % 3))
                path = folder / subject / f"ses-M{month:03d}" / "anat" / f"{name}_T1w.nii.gz"
                _write(path, image)
        _write_table(folder / subject / f"{subject}_sessions.tsv", sessions, "\t")
    _write_table(folder / "participants.tsv", participants, "\t")
    _write_json(folder / "dataset_description.json", {"Name": "ADNI", "BIDSVersion": "1.7.0"})
    return folder


def make_nnunet(folder: Path, ending: str = ".nii.gz") -> Path:
    """Write a data set of two channels and two labels; the test cases have references.

    With the ending ``.png`` the images are pictures whose colours are the channels.
    """
    random = np.random.default_rng(2)
    pictures = ending == ".png"
    for number in range(N_TRAINING + N_TEST):
        part = "Tr" if number < N_TRAINING else "Ts"
        name = f"case_{number:03d}"
        image, label = _organ(random)
        reference = folder / f"labels{part}" / f"{name}{ending}"
        if pictures:
            colours = np.stack([image[8], image[9], image[10]], axis=-1)
            _draw(folder / f"images{part}" / f"{name}_0000{ending}", colours)
            _draw(reference, label[8])
            continue
        for channel, array in enumerate((image, 255 - image)):
            _write(folder / f"images{part}" / f"{name}_{channel:04d}{ending}", array)
        _write(reference, label)
    channels = ["red", "green", "blue"] if pictures else ["T1", "T2"]
    description = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": N_TRAINING,
        "file_ending": ending,
    }
    _write_json(folder / "dataset.json", description)
    return folder


def make_table(folder: Path) -> Path:
    """Write volumes in three formats and a table of them, in which two patients come twice.

    One reference is known to be empty, and one consists of two files.
    """
    random = np.random.default_rng(3)
    rows = []
    for number in range(N_TRAINING + N_TEST):
        ending = (".nii.gz", ".nrrd", ".mha")[number % 3]
        image, label = _organ(random)
        name = f"scan{number}"
        _write(folder / "images" / f"{name}{ending}", image)
        labels = "empty"
        if number == 3:
            halves = label.copy(), label.copy()
            halves[0][:, :, 10:] = 0
            halves[1][:, :, :10] = 0
            for side, half in zip("lr", halves, strict=True):
                _write(folder / "labels" / f"{name}_{side}.nii.gz", half)
            labels = f"labels/{name}_l.nii.gz;labels/{name}_r.nii.gz"
        elif number != 5:
            _write(folder / "labels" / f"{name}{ending}", label)
            labels = f"labels/{name}{ending}"
        rows.append(
            {
                "image": f"images/{name}{ending}",
                "label": labels,
                "patient": f"patient{number // 2}" if number < 4 else "",
                "split": "" if number < N_TRAINING else "test",
                "class": ("benign", "malignant")[number % 2],
                "covariate_age": 40 + number,
            }
        )
    _write_table(folder / "cases.csv", rows, ",")
    return folder


def make_picture_table(folder: Path) -> Path:
    """Write pictures of two formats and a table of them with semicolons, as Excel may write it."""
    random = np.random.default_rng(4)
    rows = []
    for number in range(N_TRAINING + N_TEST):
        ending = (".png", ".tif")[number % 2]
        image, label = _organ(random)
        _draw(folder / f"photo {number}{ending}", image[8])
        _draw(folder / f"photo {number} mask{ending}", np.uint8(255 * (label[8] > 0)))
        rows.append(
            {
                "image": f"photo {number}{ending}",
                "label": f"photo {number} mask{ending}",
                "split": "train" if number < N_TRAINING else "test",
            }
        )
    _write_table(folder / "cases.csv", rows, ";", encoding="utf-8-sig")
    return folder


def _head(random: np.random.Generator, cavity_mm: float) -> np.ndarray:
    """Return a bright ball with a dark cavity, of shape (z, y, x)."""
    image = random.normal(20, 5, SHAPE)
    radius = _radius_mm()
    image[radius < 10] += 150
    image[radius < cavity_mm] -= 100
    return np.clip(image, 0, 255).astype(np.uint8)


def _organ(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its labels, a ball with a lesion in it, of shape (z, y, x)."""
    offset = random.uniform(-2, 2, 3)
    label = np.uint8(_radius_mm(offset) < 8)
    label[_radius_mm(offset + 2) < 4] = 2
    image = 60 * label + random.normal(40, 8, SHAPE)
    return np.clip(image, 0, 255).astype(np.uint8), label


def _radius_mm(offset_mm: np.ndarray | tuple = (0, 0, 0)) -> np.ndarray:
    """Return each voxel's distance from a point near the centre."""
    places = np.indices(SHAPE).reshape(3, -1).T * SPACING_MM
    centre = (np.array(SHAPE) - 1) / 2 * SPACING_MM + offset_mm
    return np.linalg.norm(places - centre, axis=1).reshape(SHAPE)


def _write(path: Path, array: np.ndarray) -> None:
    identity = tuple(np.eye(3).ravel())
    write_image(path, array, Grid(array.shape, SPACING_MM, (0.0, 0.0, 0.0), identity))


def _draw(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _write_table(path: Path, rows: list[dict], delimiter: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2))
