import pytest
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor

from segflow.models.fingerprint import extract_fingerprint

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
    assert extract_fingerprint("Dataset001_x", 8) == {"spacings": []}
    assert attempts == [8, 4, 2]


def test_the_last_worker_that_is_killed_is_lack_of_memory(extractor):
    extractor(alive=0)
    with pytest.raises(MemoryError, match=r"fingerprint: the only worker was killed.*mem_mb"):
        extract_fingerprint("Dataset001_x", 2)


def test_another_error_is_not_taken_for_lack_of_memory(extractor):
    attempts = extractor(alive=0, error="no such file")
    with pytest.raises(RuntimeError, match="no such file"):
        extract_fingerprint("Dataset001_x", 2)
    assert attempts == [2]
