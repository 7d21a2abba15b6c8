"""The cascade's previous stage: its segmentations on the grid of the preprocessed data."""

from functools import partial
from pathlib import Path

import blosc2
import numpy as np

from segflow.files.content import content_key, replacing
from segflow.images.nifti import SUFFIX, read_labels
from segflow.images.orientation import reorient
from segflow.jobs.workers import finish_cases
from segflow.models.nnunet import lean_imports
from segflow.models.preprocessing import (
    NNUNET_ORIENTATION,
    load_preprocessed,
    stored_orientation,
)

with lean_imports():
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def transfer_cases(
    sources: dict[str, str],
    source: Path,
    preprocessed: Path,
    keys: dict[str, str],
    target: Path,
    plans: PlansManager,
    configuration: str,
    workers: int,
) -> dict[str, str]:
    """Crop and resample label maps as nnU-Net preprocessed their images.

    Parameters
    ----------
    sources : dict of str to str
        Key of the previous stage's label map of each case.
    source : Path
        Folder of the previous stage's label maps, on the cases' own grids.
    preprocessed : Path
        Folder of the preprocessed cases.
    keys : dict of str to str
        Key of each preprocessed case.
    target : Path
        Folder to write to: files of shape (z, y, x) in the axis order of the plans.
    plans : PlansManager
        Plans of the cascade's second stage.
    configuration : str
        Its configuration.
    workers : int
        Number of processes.

    Returns
    -------
    dict of str to str
        The key of each transferred segmentation.
    """
    wanted = {case: content_key(key, keys[case]) for case, key in sources.items()}
    work = partial(
        _transfer_case,
        source=source,
        preprocessed=preprocessed,
        target=target,
        plans=plans,
        configuration=configuration,
    )
    finish_cases(target, wanted, dict.fromkeys(wanted), work, workers, "transfer")
    return wanted


def _transfer_case(
    item: tuple[str, None],
    source: Path,
    preprocessed: Path,
    target: Path,
    plans: PlansManager,
    configuration: str,
) -> list[Path]:
    case = item[0]
    label_map, _ = read_labels(source / f"{case}{SUFFIX}")
    data, properties = load_preprocessed(preprocessed, case)
    segmentation = to_preprocessed_grid(label_map, data.shape[1:], properties, plans, configuration)
    path = target / f"{case}.b2nd"
    with replacing(path) as temporary:
        parameters = {"nthreads": 1}
        blosc2.asarray(segmentation, urlpath=str(temporary), mode="w", cparams=parameters)
    return [path]


def to_preprocessed_grid(
    label_map: np.ndarray,
    shape: tuple[int, ...],
    properties: dict,
    plans: PlansManager,
    configuration: str,
) -> np.ndarray:
    """Bring a label map from a case's own grid to that of its preprocessed image.

    Parameters
    ----------
    label_map : ndarray of int
        Of shape (z, y, x), in the order of the case's file.
    shape : tuple of int
        Shape of the preprocessed image.
    properties : dict
        nnU-Net's properties of the preprocessed case.
    plans : PlansManager
        Plans.
    configuration : str
        Configuration.

    Returns
    -------
    ndarray of uint8 or uint16
        Of the given shape, in the axis order of the plans.
    """
    chosen = plans.get_configuration(configuration)
    if (stored := stored_orientation(properties)) is not None:
        label_map = reorient(label_map, stored, NNUNET_ORIENTATION)
    box = tuple(slice(*bounds) for bounds in properties["bbox_used_for_cropping"])
    cropped = label_map.transpose(plans.transpose_forward)[box]
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    resampled = chosen.resampling_fn_seg(
        cropped[None].astype(np.int16), shape, spacing, chosen.spacing
    )[0]
    return np.asarray(resampled).astype(np.uint8 if resampled.max() < 256 else np.uint16)
