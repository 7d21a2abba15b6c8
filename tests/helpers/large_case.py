"""Made logits of a large case, and as much of nnU-Net's predictor as their export uses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

LARGE = (400, 512, 512)  # voxels of the file
SMALLER = 1.5  # times along each axis, after preprocessing
SPACING_MM = [1.0, 0.8, 0.8]


def preprocessed_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the voxels of a preprocessed case."""
    return tuple(int(size / SMALLER) for size in shape)


def make_logits(n_classes: int, shape: tuple[int, ...] = LARGE) -> np.ndarray:
    """Return logits of smooth made objects, float16 of shape (class, z, y, x)."""
    from scipy.ndimage import zoom

    generator = np.random.default_rng(0)
    small = preprocessed_shape(shape)
    coarse = [max(2, size // 16) for size in small]
    logits = np.empty((n_classes, *small), np.float16)
    for channel in logits:
        drawn = generator.standard_normal(coarse).astype(np.float32)
        channel[...] = 6 * zoom(drawn, np.divide(small, coarse), order=1)
    logits[0] += 8
    return logits


def make_predictor(n_classes: int, shape: tuple[int, ...] = LARGE) -> tuple[Any, dict]:
    """Return a predictor for exports, and nnU-Net's properties of the case."""
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

    sizes = zip(SPACING_MM, shape, preprocessed_shape(shape), strict=True)
    labels = {"background": 0} | {f"organ_{value}": value for value in range(1, n_classes)}
    options = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "architecture": {"network_class_name": "-", "arch_kwargs": {}, "_kw_requires_import": []},
        "spacing": [own * size / less for own, size, less in sizes],
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": options,
    }
    axes = [0, 1, 2]
    predictor = SimpleNamespace(
        plans_manager=SimpleNamespace(transpose_forward=axes, transpose_backward=axes),
        configuration_manager=ConfigurationManager(configuration),
        label_manager=LabelManager(labels, None),
    )
    properties = {
        "spacing": SPACING_MM,
        "shape_before_cropping": shape,
        "bbox_used_for_cropping": [[0, size] for size in shape],
        "shape_after_cropping_and_before_resampling": shape,
    }
    return predictor, properties


def write_logits(folder: str, n_classes: str) -> None:
    """Write the logits of a case."""
    np.save(Path(folder, "logits.npy"), make_logits(int(n_classes)))


def read_case(folder: Path, n_classes: int) -> tuple[Any, dict, np.ndarray]:
    """Return predictor, properties, and the logits that were written."""
    return *make_predictor(n_classes), np.load(folder / "logits.npy")
