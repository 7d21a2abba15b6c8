"""How many workers load and augment patches for a training, and what memory they need.

nnU-Net's workers hand their batches over in shared memory: ``/dev/shm`` on Linux, of which a
container has 64 MB unless it is told otherwise. A worker that finds it full is killed without a
word, so it is measured before.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from segflow.models.nnunet import lean_imports

SHARED_MEMORY = Path("/dev/shm")
MAIN_MB = 4000.0  # the training process: PyTorch, CUDA, its copy of the network
# A worker's own memory, as measured with nnU-Net's augmentation for patches of 40x56x40 and 128^3
# voxels (30 and 660 MB), with a third to spare: so much, and so many times a patch.
WORKER_MB = 100.0
WORKER_PATCHES = 60.0


@dataclass(frozen=True)
class Loading:
    """The loading of one training process.

    Parameters
    ----------
    workers : int
        Processes that load training patches; 0 if the training process does it itself.
    shared_mb : float
        Shared memory that their batches take at most, in MB.
    """

    workers: int
    shared_mb: float


def patch_megabytes(plans: dict, dataset_json: dict) -> float:
    """Return the size of one patch of a batch, image and target, in MB.

    Parameters
    ----------
    plans : dict
        Plans of the model.
    dataset_json : dict
        nnU-Net's description of the data set.
    """
    with lean_imports():
        from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    configuration = manager.get_configuration(plans["segflow"]["configuration"])
    channels = determine_num_input_channels(manager, configuration, dataset_json)
    labels = manager.get_label_manager(dataset_json)
    # Labels are int16, regions one truth value each; deep supervision adds coarser targets, by
    # a third at most.
    target = (len(labels.foreground_regions) if labels.has_regions else 2) * 4 / 3
    return math.prod(configuration.patch_size) * (4 * channels + target) / 1e6


def plan_loading(threads: int, memory_mb: float, batch_size: int, patch_mb: float) -> Loading:
    """Return how a training process on a GPU loads its patches.

    Parameters
    ----------
    threads : int
        Threads of the process. From 3 on, all but one may be workers.
    memory_mb : float
        Memory that the process and its workers may use, in MB.
    batch_size : int
        Patches in a batch.
    patch_mb : float
        See `patch_megabytes`.
    """
    for workers in range(threads - 1 if threads > 2 else 0, 0, -1):
        shared_mb = _batches_in_flight(workers) * batch_size * patch_mb
        validating = max(1, workers // 2)
        each_mb = WORKER_MB + WORKER_PATCHES * patch_mb
        if MAIN_MB + (workers + validating) * each_mb + shared_mb <= memory_mb:
            return Loading(workers, shared_mb)
    return Loading(0, 0.0)


def _batches_in_flight(workers: int) -> int:
    """Return the batches that are shared at most, training and validation together.

    nnU-Net queues so many; besides, each worker holds one, and one is on its way to the GPU.
    """
    validating = max(1, workers // 2)
    queued = max(6, workers // 2) + max(3, workers // 4)
    return queued + workers + validating + 2


def check_shared_memory(needed_mb: float, model: str, folder: Path = SHARED_MEMORY) -> None:
    """Check that batches fit into the shared memory, where the system shows it as a folder.

    Parameters
    ----------
    needed_mb : float
        Shared memory that is needed, in MB.
    model : str
        Name of the model, for the message.
    folder : Path
        Where the system keeps it.

    Raises
    ------
    RuntimeError
        If less is free.
    """
    if not folder.is_dir():
        return
    free_mb = shutil.disk_usage(folder).free / 1e6
    if free_mb < needed_mb:
        raise RuntimeError(
            f"{folder}: the workers that load patches need {needed_mb:.0f} MB of shared memory, "
            f"found {free_mb:.0f} MB free; give the container more (docker run --shm-size), or set "
            f"threads of config/models/{model}.yaml to 2, which needs none"
        )
