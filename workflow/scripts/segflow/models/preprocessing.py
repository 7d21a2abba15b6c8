"""nnU-Net's preprocessing, case by case: only what changed is done again."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from segflow.files.cases import Case
from segflow.files.content import (
    content_key,
    naming_full_disk,
)
from segflow.files.labels import label_values
from segflow.files.ledger import Ledger
from segflow.jobs.workers import count_workers, finish_cases
from segflow.models import resizing
from segflow.models.nnunet import lean_imports

with lean_imports():
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

PROCEDURE = 1  # move it when preprocessed data would differ
# Memory for a voxel and channel at nnU-Net's peak: float32 in, out, and the spline's float64.
BYTES_PER_VOXEL = 40
PLAIN_READER = "SimpleITKIO"  # that takes images as they are stored
NNUNET_ORIENTATION = "RAS"  # of nnU-Net's reader that reorients
UNFINISHED = ".partial"  # folder of the files that are being written


def preprocessed_folder(results: Path, nnunet_name: str, name: str, part: str) -> Path:
    """Return the folder of the preprocessed cases of a part, ``train`` or ``test``.

    nnU-Net's trainer looks for training cases under the name alone.
    """
    folder = name if part == "train" else f"{name}_{part}"
    return results / "nnUNet_preprocessed" / nnunet_name / folder


def preprocessing_key(plans: PlansManager, configuration: str, labels: list | dict) -> str:
    """Return a key of everything in the plans that preprocessed data depend on.

    It holds the values of the labels; once it held their names, too. The intensities of the
    fingerprint count only for channels that are normalised with them, so that a new case of an
    MRI set leaves the others as they are.
    """
    chosen = plans.get_configuration(configuration).configuration
    intensities = {
        channel: plans.foreground_intensity_properties_per_channel[str(channel)]
        for channel, scheme in enumerate(chosen["normalization_schemes"])
        if scheme == "CTNormalization"
    }
    names = [
        "preprocessor_name",
        "spacing",
        "patch_size",  # decides the layout of the compressed files
        "normalization_schemes",
        "use_mask_for_norm",
        "resampling_fn_data",
        "resampling_fn_seg",
        "resampling_fn_data_kwargs",
        "resampling_fn_seg_kwargs",
    ]
    return content_key(
        PROCEDURE,
        {name: chosen[name] for name in names},
        plans.transpose_forward,
        intensities,
        labels,
        *[name for name in [plans.plans.get("image_reader_writer")] if name != PLAIN_READER],
        *([chosen[resizing.KEY]] if resizing.KEY in chosen else []),
    )


def preprocess_cases(
    cases: list[Case],
    raw: Path,
    dataset_json: dict,
    plans: PlansManager,
    configuration: str,
    target: Path,
    threads: int,
    memory_mb: float,
) -> dict[str, str]:
    """Preprocess cases into nnU-Net's compressed format.

    Parameters
    ----------
    cases : list of Case
        Training or test cases.
    raw : Path
        Folder of the data set in nnU-Net's raw layout.
    dataset_json : dict
        nnU-Net's description of the data set.
    plans : PlansManager
        Base plans.
    configuration : str
        Name of a configuration of the plans.
    target : Path
        Folder of the preprocessed cases.
    threads, memory_mb : int, float
        What the job may use.

    Returns
    -------
    dict of str to str
        The key of the content of each case.
    """
    labels = dataset_json["labels"]
    plans_key, former_key = (
        preprocessing_key(plans, configuration, part) for part in (label_values(labels), labels)
    )
    keys = {case.case: content_key(plans_key, case.content) for case in cases}
    ledger = Ledger(target)
    for case in cases:  # a key that a training was made with stays
        former = content_key(former_key, case.content)
        if ledger.find(case.case, former) is not None:
            keys[case.case] = former
    chosen = plans.get_configuration(configuration)
    size = chosen.configuration.get(resizing.KEY)
    largest = max(
        (_megabytes(case, chosen.spacing, size, dataset_json) for case in cases), default=1
    )
    work = partial(
        _preprocess_case,
        raw=raw,
        plans=plans,
        configuration=configuration,
        dataset_json=dataset_json,
        target=target,
    )
    # What a stopped job left there would be added to.
    shutil.rmtree(target / UNFINISHED, ignore_errors=True)
    workers = count_workers(threads, memory_mb, largest, len(cases))
    items = {case.case: case for case in cases}
    finish_cases(target, keys, items, work, workers, f"preprocess {configuration}")
    return keys


def _preprocess_case(
    item: tuple[str, Case],
    raw: Path,
    plans: PlansManager,
    configuration: str,
    dataset_json: dict,
    target: Path,
) -> list[Path]:
    """Preprocess one case and return its files; they appear when all of them are complete."""
    case = item[1]
    part = "Tr" if case.split == "train" else "Ts"
    ending = dataset_json["file_ending"]
    images = [
        str(raw / f"images{part}" / f"{case.case}_{channel:04d}{ending}")
        for channel in range(len(dataset_json["channel_names"]))
    ]
    label = str(raw / f"labels{part}" / f"{case.case}{ending}") if case.split == "train" else None
    partial_folder = target / UNFINISHED
    partial_folder.mkdir(parents=True, exist_ok=True)
    chosen = plans.get_configuration(configuration)
    with naming_full_disk(target):
        resizing.preprocessor_of(chosen).run_case_save(
            str(partial_folder / case.case), images, label, plans, chosen, dataset_json
        )
    files = []
    for suffix in (".b2nd", "_seg.b2nd", ".pkl"):
        files.append(target / f"{case.case}{suffix}")
        (partial_folder / files[-1].name).replace(files[-1])
    return files


def _megabytes(
    case: Case, spacing_mm: list[float], size: list[int] | None, dataset_json: dict
) -> float:
    """Return the memory that one case needs, in MB, from its size before and after resampling."""
    shape = [int(size) for size in case.shape.split()]
    old = [float(value) for value in case.spacing_mm.split()]
    new = [old[0], *spacing_mm] if len(spacing_mm) == 2 else spacing_mm
    before, extent = np.prod(shape), np.prod(np.multiply(shape, old))
    if size is None:
        after = extent / np.prod(new)
    else:
        after = np.prod(size) * (max(shape) if len(size) == 2 and min(shape) > 1 else 1)
    channels = len(dataset_json["channel_names"]) + 1
    return float(max(before, after)) * channels * BYTES_PER_VOXEL / 1e6


def stored_orientation(properties: dict) -> str | None:
    """Return the orientation of a case's file, if nnU-Net brought it to its own; else None."""
    return properties.get("sitk_stuff", {}).get("original_orientation")


def load_preprocessed(folder: Path, case: str) -> tuple[np.ndarray, dict]:
    """Read one preprocessed case.

    Returns
    -------
    data : ndarray of float32
        Of shape (channel, z, y, x), in the axis order of the plans.
    properties : dict
        What nnU-Net needs to bring a prediction back to the case's own grid.
    """
    data, _, _, properties = nnUNetDatasetBlosc2(str(folder), [case]).load_case(case)
    return data[:], properties
