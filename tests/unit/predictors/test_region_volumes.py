import numpy as np
import pytest

from segflow.images.nifti import Grid
from segflow.predictors import region_volumes
from segflow.predictors.region_volumes import TISSUES, measure_regions, segment

GRID = Grid((12, 12, 12), (5.0,) * 3, (0.0,) * 3, (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))


def test_tissues_are_told_by_values_and_places():
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 3000)
    values = np.array([0.2, 0.5, 0.8])[truth] + random.normal(0, 0.04, 3000)
    prior = np.full((3, 3000), 0.2)
    prior[truth, np.arange(3000)] = 0.6
    shares = segment(values, prior)
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    assert (shares.argmax(axis=0) == truth).mean() > 0.99


def test_volumes_of_regions_add_up_to_the_brain(monkeypatch):
    # Lower half fluid, upper half white: 12 * 12 * 6 voxels of 0.125 ml are 108 ml.
    image = np.repeat([0.1, 0.9], 6)[:, None, None] * np.ones(GRID.shape)
    white = (image > 0.5).astype(float)
    monkeypatch.setattr(
        region_volumes, "load_tissue_maps", lambda grid: (0.02 * white, 0.98 * white)
    )
    region_volumes._prior.cache_clear()
    found = measure_regions(image, np.ones(GRID.shape, np.uint8), GRID)
    region_volumes._prior.cache_clear()
    assert found["white_all"] == pytest.approx(108, rel=0.05)
    assert sum(found[f"{name}_all"] for name in TISSUES) == pytest.approx(216)
    # 60 mm along each axis are two cells; the first ones are the lower ones.
    cells = [name for name in found if name.startswith("white") and not name.endswith("all")]
    assert len(cells) == 8
    assert found["white_000"] < 1
    assert found["white_007"] == pytest.approx(27, rel=0.05)
