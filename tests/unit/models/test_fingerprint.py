import os

import pytest
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor

from segflow.models.fingerprint import FEW_VOXELS, extract_fingerprint

MANY = 1e9  # voxels
DEAD = "Some background worker is 6 feet under. Yuck. \nOK jokes aside."


@pytest.fixture
def extractor(monkeypatch):
    """Let nnU-Net lose a worker whenever there are more than `alive`; return the attempts."""

    def install(alive, error=DEAD):
        attempts = []

        class Extractor:
            def __init__(self, name, workers):
                self.workers = workers

            def run(self, overwrite_existing):
                attempts.append(self.workers)
                if self.workers > alive:
                    raise RuntimeError(error)
                return {"spacings": []}

        monkeypatch.setattr(fingerprint_extractor, "DatasetFingerprintExtractor", Extractor)
        return attempts

    return install


def test_fewer_workers_go_on_when_one_is_killed(extractor):
    attempts = extractor(alive=2)
    assert extract_fingerprint("Dataset001_x", 8, MANY) == {"spacings": []}
    assert attempts == [8, 4, 2]


def test_the_last_worker_that_is_killed_is_lack_of_memory(extractor):
    extractor(alive=0)
    with pytest.raises(MemoryError, match=r"fingerprint: the only worker was killed.*mem_mb"):
        extract_fingerprint("Dataset001_x", 2, MANY)


def test_another_error_is_not_taken_for_lack_of_memory(extractor):
    attempts = extractor(alive=0, error="no such file")
    with pytest.raises(RuntimeError, match="no such file"):
        extract_fingerprint("Dataset001_x", 2, MANY)
    assert attempts == [2]


@pytest.mark.parametrize("n_voxels", [FEW_VOXELS - 1, FEW_VOXELS])
def test_few_voxels_stay_in_this_process(n_voxels, monkeypatch):
    """nnU-Net's pool, asked where its workers are."""

    class Extractor:
        def __init__(self, name, workers):
            self.workers = workers

        def run(self, overwrite_existing):
            context = fingerprint_extractor.multiprocessing.get_context("spawn")
            with context.Pool(self.workers) as pool:
                return pool.map(_process, range(4))

    monkeypatch.setattr(fingerprint_extractor, "DatasetFingerprintExtractor", Extractor)
    here = set(extract_fingerprint("Dataset001_x", 2, n_voxels)) == {os.getpid()}
    assert here is (n_voxels < FEW_VOXELS)


def _process(_):
    return os.getpid()
