"""Miniature raw folders in the layouts of the published data sets, with their quirks.

Each builder fills a folder that a converter takes as the raw folder: at least 8 training cases of
at least 4 patients, and 2 test cases where the data set has test cases. Label maps have the
geometry of real ones where a folder of samples lies beside the project, else they are drawn.
Images are made from them, with noise. Everything is seeded: the same builder makes the same files.
"""

import functools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from segflow.images.nifti import Grid, read_labels, write_image

SAMPLES = Path(__file__).parents[3] / "shared" / "data"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SLICES_FIRST = (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0)  # KiTS: axis 0 of the file
AIR, TISSUE = -1000, 40  # HU
BREASTDM_SEQUENCES = ("VIBRANT", "VIBRANT+C2", "SUB2")
BREASTDM_DOUBLES = ("BreaDM-Be-1801", "BreaDM-Be-1803", "BreaDM-Be-1804")  # in two splits


def touch_files(folder: Path, *names: str) -> None:
    """Make empty files, of which converters need no more than the names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# Label maps


def _noise(*key: int) -> np.random.Generator:
    return np.random.default_rng([2024, *key])


def _draw(shape: Sequence[int], n_labels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a ball for each label, side by side; earlier labels are larger."""
    columns = int(np.ceil(np.sqrt(n_labels)))
    axes = np.meshgrid(*(np.linspace(0, 1, size) for size in shape), indexing="ij")
    labels = np.zeros(shape, np.uint8)
    for label in range(1, n_labels + 1):
        row, column = divmod(label - 1, columns)
        place = (0.5, (row + 0.5) / columns, (column + 0.5) / columns)
        centre = np.add(place[-len(shape) :], rng.uniform(-0.04, 0.04, len(shape)))
        squared = sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True))
        radius = (0.4 - 0.1 * label / n_labels) / max(columns, 2) + rng.uniform(0, 0.05)
        labels[squared < radius**2] = label
    return labels


@functools.cache
def _sample(name: str) -> np.ndarray | None:
    """Return the part of a real label map that holds the labels, with a margin around it."""
    path = SAMPLES / name
    if not path.is_file():
        return None
    labels = read_labels(path)[0]
    inside = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    margins = [max(2, (part.stop - part.start) // 5) for part in inside]
    return labels[
        tuple(
            slice(max(part.start - margin, 0), part.stop + margin)
            for part, margin in zip(inside, margins, strict=True)
        )
    ]


def _labels(
    samples: Sequence[str], shape: tuple[int, ...], n_labels: int, index: int, kind: int
) -> np.ndarray:
    """Return the label map of a case: a real one that is cropped and thinned out, or a drawn one.

    Real label maps are used in turn, each time with another crop.
    """
    rng = _noise(kind, index)
    real = _sample(samples[index % len(samples)]) if samples else None
    if real is None:
        return _draw(shape, n_labels, rng)
    picked = []
    for size, wanted in zip(real.shape, shape, strict=True):
        start, stop = rng.uniform(0, 0.05), rng.uniform(0.95, 1)
        picked.append(
            np.linspace(start * (size - 1), stop * (size - 1), wanted).round().astype(int)
        )
    labels = real[np.ix_(*picked)]
    return np.where(labels > n_labels, 0, labels).astype(np.uint8)


# Images


def _ct(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image in HU: structures of their own brightness in a body that air surrounds."""
    image = TISSUE + 12.0 * labels + rng.normal(0, 10, labels.shape)
    air = np.ones(labels.shape, bool)
    air[tuple(slice(max(size // 12, 1), -max(size // 12, 1)) for size in labels.shape)] = False
    image[air & (labels == 0)] = AIR
    return image.round().astype(np.int16)


def _mri(labels: np.ndarray, contrast: float, rng: np.random.Generator) -> np.ndarray:
    """Return an image in arbitrary units, 0 outside of the head as after skull stripping."""
    image = 300 + 60 * contrast * labels + rng.normal(0, 20, labels.shape)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in labels.shape), indexing="ij")
    outside = sum(axis**2 for axis in axes) > 1.2
    image[outside & (labels == 0)] = 0
    return image.clip(0).round().astype(np.int16)


def _ultrasound(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture with a dark lesion in coarse speckle, which differs per picture."""
    coarse = rng.uniform(60, 200, (5, 6))
    zoom = np.divide(mask.shape, coarse.shape)
    image = ndimage.zoom(coarse, zoom, order=1) + rng.normal(0, 8, mask.shape)
    return np.where(mask > 0, 0.35 * image, image).clip(0, 255).astype(np.uint8)


def _write(path: Path, array: np.ndarray, spacing_mm: Sequence[float], direction=AXIAL) -> None:
    """Write an array of shape (z, y, x)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, array, Grid(array.shape, tuple(spacing_mm), (-20.0, 30.0, 5.0), direction))


# BreastDM


def _breast(patient: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask (H, W, D) of a tumour and which of its slices are blank."""
    mask = np.moveaxis(_draw((8, 40, 44), 1, _noise(1, patient)), 0, -1) > 0
    blank = np.zeros(8, bool)
    blank[-(patient % 3) :] = patient % 3 > 0
    return mask & ~blank, blank


def _breast_patients() -> dict[str, list[str]]:
    """Return patients by split, half of them benign."""
    counts = {"train": (1800, 8), "val": (1900, 2), "test": (2000, 4)}
    return {
        split: [f"BreaDM-{('Be', 'Ma')[i % 2]}-{first + i}" for i in range(count)]
        for split, (first, count) in counts.items()
    }


def make_breastdm(folder: Path) -> None:
    """Make the volumes of BreastDM.

    Slices at the end are blank in all sequences. One patient's masks differ by sequence. Masks of
    two test patients lie in ``train/labels`` as well. There is no spacing, and the masks have a few
    values between 0 and 255.
    """
    for split, patients in _breast_patients().items():
        for patient in patients:
            number = int(patient[-4:])
            mask, blank = _breast(number)
            rng = _noise(2, number)
            for contrast, sequence in zip((20, 80, 120), BREASTDM_SEQUENCES, strict=True):
                image = 60 + contrast * mask + rng.normal(0, 6, mask.shape)
                image = np.where(blank, 0.0, image.clip(0, 255))
                drawn = mask
                if number == 1803 and sequence == "VIBRANT":
                    drawn = ndimage.binary_dilation(mask, iterations=2) & ~blank
                values = 255.0 * drawn
                values[0, :3, 0] = (1, 60, 127)  # of the background still
                _save(folder / "seg3D" / split / "images" / patient / f"{sequence}.npy", image)
                _save(folder / "seg3D" / split / "labels" / patient / f"{sequence}.npy", values)
                if split == "test" and number < 2002:
                    orphan = folder / "seg3D" / "train" / "labels" / patient / f"{sequence}.npy"
                    _save(orphan, values)


def make_breastdm_2d(folder: Path) -> None:
    """Make the slices of BreastDM: JPEG images and PNG masks, some of these blurred by JPEG.

    Three patients are in ``train`` and, with the same pictures, in ``test``.
    """
    patients = {
        "train": [*BREASTDM_DOUBLES, "BreaDM-Ma-1802", "BreaDM-Ma-1805"],
        "val": ["BreaDM-Ma-1901"],
        "test": [*BREASTDM_DOUBLES, "BreaDM-Be-2000", "BreaDM-Ma-2001"],
    }
    for split, names in patients.items():
        for patient in names:
            number = int(patient[-4:])
            for sequence in ("SUB2", "VIBRANT+C2"):
                for index in (3, 4):
                    mask = _breast(number)[0][..., index]
                    picture = _ultrasound(mask, _noise(3, number, index, len(sequence)))
                    place = Path(patient, sequence, f"p-{index:03d}")
                    _picture(folder / "seg" / split / "images" / f"{place}.jpg", picture)
                    ending = "jpg" if number == 1802 else "png"
                    labels = folder / "seg" / split / "labels" / f"{place}.{ending}"
                    _picture(labels, 255 * mask.astype(np.uint8))


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array.astype(np.float64))


def _picture(path: Path, array: np.ndarray, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).convert(mode).save(path)


# Pancreas


def make_pancreas(folder: Path) -> None:
    """Make the pancreas set; its labels are floats that are not exact."""
    shape = (12, 32, 40)
    cases = [("train", f"{i % 3}_{i + 1:03d}") for i in range(9)]
    cases += [("validation", f"{i}_{i + 101:03d}") for i in range(3)]
    cases += [("test", f"{i + 1:03d}") for i in range(2)]
    for index, (part, number) in enumerate(cases):
        rng = _noise(4, index)
        organ = _draw(shape, 1, rng)
        middle = np.nonzero(organ)[2].mean()
        labels = np.where((organ > 0) & (np.arange(shape[2]) > middle), 2, organ)
        place = folder / "data" / part
        place = place if part == "test" else place / f"subtype{number[0]}"
        _write(place / f"quiz_{number}_0000.nii.gz", _ct(labels, rng), (2.5, 0.75, 0.75))
        if part != "test":
            inexact = np.where(labels > 0, labels + 1e-7, 0.0)
            _write(place / f"quiz_{number}.nii.gz", inexact, (2.5, 0.75, 0.75))


# BUSI


BUSI_COUNTS = {"benign": 6, "malignant": 5, "normal": 3}


def copy_busi(folder: Path, counts: dict[str, int]) -> None:
    """Copy the first real pictures of each class, or draw as many where the sample is missing."""
    sample = SAMPLES / "Dataset_BUSI_with_GT"
    if not sample.is_dir():
        make_busi(folder, counts)
        return
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for number in range(1, count + 1):
            for path in sample.glob(f"{label}/{label} ({number})*.png"):
                shutil.copy(path, folder / label / path.name)


def make_busi(folder: Path, counts: dict[str, int] = BUSI_COUNTS) -> None:
    """Make the ultrasound set: pictures of different sizes and kinds, some with several masks.

    ``benign (2)`` is nearly ``benign (1)``, and ``malignant (1)`` is nearly ``benign (3)``.
    """
    modes = ("RGB", "L", "P")
    for label, count in counts.items():
        place = folder / "Dataset_BUSI_with_GT" / label
        for number in range(1, count + 1):
            kind, of = {("benign", 2): ("benign", 1), ("malignant", 1): ("benign", 3)}.get(
                (label, number), (label, number)
            )
            mask = _lesion(kind, of)
            picture = _ultrasound(mask, _noise(5, *kind.encode(), of))
            if (kind, of) != (label, number):
                faint = _noise(6, number).normal(0, 2, picture.shape)
                picture = (picture + faint).clip(0, 255).astype(np.uint8)
            name = f"{label} ({number})"
            _picture(place / f"{name}.png", picture, modes[number % 3])
            masks = [mask]
            if (label, number) == ("benign", 4):
                left = np.arange(mask.shape[1]) < mask.shape[1] // 2
                masks = [mask * left, mask * ~left]
            for index, part in enumerate(masks):
                suffix = f"_{index}" if index else ""
                drawn = np.where(part > 0, 255, 0).astype(np.uint8)
                _picture(place / f"{name}_mask{suffix}.png", drawn, "RGB" if number == 3 else "1")


def _lesion(label: str, number: int) -> np.ndarray:
    """Return the mask of a picture, empty if it is normal."""
    size = (48 + 4 * (number % 3), 56 + 6 * (number % 2))
    if label == "normal":
        return np.zeros(size, np.uint8)
    path = SAMPLES / "Dataset_BUSI_with_GT" / label / f"{label} ({number})_mask.png"
    if not path.is_file():
        return _draw(size, 1, _noise(7, *label.encode(), number))
    with Image.open(path) as mask:
        return np.asarray(mask.convert("L").resize(size[::-1], Image.Resampling.NEAREST)) // 255


# BraTS


def make_brats2020(folder: Path) -> None:
    """Make BraTS 2020, which is not compressed: 8 cases, one with an odd name, and 2 of the test.

    They lie two folders down, as unpacked archives do.
    """
    for index in range(10):
        part = "Training" if index < 8 else "Validation"
        name = f"BraTS20_{part}_{index + 354:03d}"
        place = folder / f"BraTS2020_{part}Data" / f"MICCAI_BraTS2020_{part}Data" / name
        sequences = ("flair", "t1", "t1ce", "t2")
        _brats_case(place, name + "_", sequences, _tumour(index, 4), index, index < 8, ".nii")
        if index == 1:
            (place / f"{name}_seg.nii").rename(place / "W39_1998.09.19_Segm.nii")


def make_brats2021(folder: Path) -> None:
    """Make BraTS 2021: 8 cases with labels 0, 1, 2 and 4, and 2 without labels."""
    for index in range(10):
        name = f"BraTS2021_{index:05d}"
        sequences = ("flair", "t1", "t1ce", "t2")
        labels = _tumour(index, 4)
        _brats_case(folder / name, name + "_", sequences, labels, index, index < 8)


def make_brats2023(folder: Path) -> None:
    """Make BraTS 2023: 8 cases of 6 patients, 2 of whom came twice, and 2 cases without labels."""
    visits = [(patient, 0) for patient in range(6)] + [(1, 1), (4, 1), (90, 0), (91, 0)]
    for index, (patient, time_point) in enumerate(visits):
        name = f"BraTS-GLI-{patient:05d}-{time_point:03d}"
        part = "TrainingData" if patient < 90 else "ValidationData"
        place = folder / f"ASNR-MICCAI-BraTS2023-GLI-Challenge-{part}" / name
        sequences = ("t1n", "t1c", "t2w", "t2f")
        labels = _tumour(index, 3)
        _brats_case(place, name + "-", sequences, labels, index, patient < 90)


def _tumour(index: int, enhancing: int) -> np.ndarray:
    """Return the label map of a case, where the enhancing tumour has the given value."""
    numbers = (90002, 90001)
    samples = [f"BraTS2021/BraTS2021_{n}/BraTS2021_{n}_seg.nii.gz" for n in numbers]
    labels = _labels(samples, (24, 28, 28), 4, index, 8)
    return np.where(labels > 2, enhancing, labels).astype(np.uint8)


def _brats_case(
    folder: Path,
    start: str,
    sequences: Sequence[str],
    labels: np.ndarray,
    index: int,
    labelled: bool,
    ending: str = ".nii.gz",
) -> None:
    for number, sequence in enumerate(sequences):
        image = _mri(labels, (-1.0, 1.0, 0.5, 1.5)[number], _noise(9, number, index))
        _write(folder / f"{start}{sequence}{ending}", image, (1.0, 1.0, 1.0))
    if labelled:
        _write(folder / f"{start}seg{ending}", labels, (1.0, 1.0, 1.0))


# AMOS and BTCV


def make_amos22(folder: Path) -> None:
    """Make AMOS 2022: CT with numbers below 500, MRI with numbers from 500 on."""
    parts = {
        "Tr": (1, 4, 5, 6, 7, 9, 10, 11, 507, 508, 510),
        "Va": (8, 13, 518),
        "Ts": (2, 3, 540),
    }
    for part, numbers in parts.items():
        for number in numbers:
            rng = _noise(10, number)
            labels = _organs(number, 15)
            name, spacing_mm = f"amos_{number:04d}.nii.gz", (5.0, 3.0, 3.0)
            image = _ct(labels, rng) if number < 500 else _mri(labels, 0.3, rng)
            _write(folder / "amos22" / f"images{part}" / name, image, spacing_mm)
            if part != "Ts":
                path = folder / "amos22" / f"labels{part}" / name
                _write(path, labels.astype(np.uint16), spacing_mm)
    (folder / "amos22" / "dataset.json").write_text(json.dumps({"name": "AMOS"}))


def make_btcv(folder: Path) -> None:
    """Make BTCV: 8 training cases, and 2 test cases without labels."""
    for number in (*range(1, 9), 61, 62):
        labels = _organs(1000 + number, 13)
        place = folder / "RawData" / ("Training" if number < 61 else "Testing")
        image = _ct(labels, _noise(11, number))
        _write(place / "img" / f"img{number:04d}.nii.gz", image, (5.0, 3.0, 3.0))
        if number < 61:
            _write(place / "label" / f"label{number:04d}.nii.gz", labels, (5.0, 3.0, 3.0))


def _organs(number: int, n_labels: int) -> np.ndarray:
    return _labels(["amos22/labelsVa/amos_0013.nii.gz"], (24, 56, 72), n_labels, number, 12)


# KiTS


def make_kits19(folder: Path) -> None:
    """Make KiTS 2019: 8 training cases, and 2 test cases, which ``kits.json`` does not list."""
    samples = [f"kits19/case_{n:05d}/segmentation.nii.gz" for n in (44, 138, 153)]
    numbers = (*range(8), 210, 211)
    _make_kits(folder / "data", numbers, 210, samples, 2)
    _write_table(folder / "data" / "kits.json", range(8))


def make_kits23(folder: Path) -> None:
    """Make KiTS 2023: 8 training cases, all with cysts (label 3), and no test cases."""
    samples = [f"kits23/case_{n:05d}/segmentation.nii.gz" for n in (411, 450, 573)]
    numbers = (*range(6), 400, 401)
    _make_kits(folder / "dataset", numbers, 589, samples, 3)
    _write_table(folder / "dataset" / "kits23.json", numbers)


def _make_kits(
    folder: Path, numbers: Sequence[int], first_test: int, samples: Sequence[str], n_labels: int
) -> None:
    for index, number in enumerate(numbers):
        labels = _labels(samples, (32, 48, 16), n_labels, index, 13)
        if n_labels == 3 and not (labels == 3).any():
            labels[2:5, 2:5, 6:9] = 3  # the real samples have no cyst
        case, spacing_mm = folder / f"case_{number:05d}", (2.0, 2.0, 5.0)
        image = _ct(labels, _noise(14, number)).astype(np.float64)
        _write(case / "imaging.nii.gz", image, spacing_mm, SLICES_FIRST)
        if number < first_test:
            _write(case / "segmentation.nii.gz", labels, spacing_mm, SLICES_FIRST)


def _write_table(path: Path, numbers: Sequence[int]) -> None:
    patients = [
        {
            "case_id": f"case_{number:05d}",
            "age_at_nephrectomy": 60,
            "malignant": None if number == 5 else number % 3 > 0,
            "tumor_histologic_subtype": "clear_cell_rcc" if number % 3 else "oncocytoma",
        }
        for number in numbers
    ]
    path.write_text(json.dumps(patients, indent=2))


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "breastdm": make_breastdm,
    "breastdm_2d": make_breastdm_2d,
    "pancreas": make_pancreas,
    "busi": make_busi,
    "brats2020": make_brats2020,
    "brats2021": make_brats2021,
    "brats2023": make_brats2023,
    "amos22_ct": make_amos22,
    "amos22": make_amos22,
    "kits19": make_kits19,
    "kits23": make_kits23,
    "btcv": make_btcv,
}
