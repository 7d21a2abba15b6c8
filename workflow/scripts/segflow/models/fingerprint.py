"""nnU-Net's fingerprint of a data set, extracted by nnU-Net's own code."""

from segflow.jobs.workers import fewer_workers
from segflow.models.nnunet import forked_pool, lean_imports, threaded_pool

with lean_imports():
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor

# nnU-Net takes 10^8 intensities of any data set, which travel slowly from other processes.
FEW_VOXELS = 1e8


def extract_fingerprint(nnunet_name: str, workers: int, n_voxels: float) -> dict:
    """Extract and store nnU-Net's fingerprint of a data set.

    Parameters
    ----------
    nnunet_name : str
        nnU-Net's name of the data set.
    workers : int
        Number of processes; half as many go on when one is killed.
    n_voxels : float
        Voxels of all images and label maps. Few are handled by threads of this process.

    Raises
    ------
    MemoryError
        If the only one is killed.
    """
    pool = threaded_pool if n_voxels < FEW_VOXELS else forked_pool
    with pool(fingerprint_extractor):
        while True:
            extractor = fingerprint_extractor.DatasetFingerprintExtractor(nnunet_name, workers)
            try:
                return extractor.run(overwrite_existing=True)
            except RuntimeError as error:
                if "background worker" not in str(error):
                    raise
                workers = fewer_workers(workers, "fingerprint")
