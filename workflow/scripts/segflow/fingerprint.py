"""nnU-Net's fingerprint of a data set, extracted by nnU-Net's own code."""

from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor

from segflow.nnunet import forked_pools


def extract_fingerprint(nnunet_name: str, workers: int) -> dict:
    """Extract and store nnU-Net's fingerprint of a data set.

    Parameters
    ----------
    nnunet_name : str
        nnU-Net's name of the data set.
    workers : int
        Number of processes.
    """
    with forked_pools(fingerprint_extractor):
        extractor = fingerprint_extractor.DatasetFingerprintExtractor(nnunet_name, workers)
        return extractor.run(overwrite_existing=True)
