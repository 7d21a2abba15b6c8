"""nnU-Net's fingerprint of a data set, extracted by nnU-Net's own code."""

from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor

from segflow.jobs.workers import fewer_workers
from segflow.models.nnunet import forked_pools


def extract_fingerprint(nnunet_name: str, workers: int) -> dict:
    """Extract and store nnU-Net's fingerprint of a data set.

    Parameters
    ----------
    nnunet_name : str
        nnU-Net's name of the data set.
    workers : int
        Number of processes; half as many go on when one is killed.

    Raises
    ------
    MemoryError
        If the only one is killed.
    """
    with forked_pools(fingerprint_extractor):
        while True:
            extractor = fingerprint_extractor.DatasetFingerprintExtractor(nnunet_name, workers)
            try:
                return extractor.run(overwrite_existing=True)
            except RuntimeError as error:
                if "background worker" not in str(error):
                    raise
                workers = fewer_workers(workers, "fingerprint")
