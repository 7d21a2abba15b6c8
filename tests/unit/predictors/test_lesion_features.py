import numpy as np
import pytest

from segflow.predictors.feature_classifiers import classify
from segflow.predictors.lesion_features import (
    FLAT,
    INTENSITY,
    LEVELS,
    SHAPE,
    TEXTURE,
    measure_lesion,
)

SPACING_MM = (2.0, 1.0, 0.5)


def ball(radius_mm, spacing_mm):
    size = [int(2 * radius_mm / step) + 5 for step in spacing_mm]
    places = [(np.arange(n) - n // 2) * step for n, step in zip(size, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*places, indexing="ij")
    return z**2 + y**2 + x**2 <= radius_mm**2


def test_a_ball_is_round():
    mask = ball(12.0, SPACING_MM)
    found = measure_lesion(mask, [np.zeros(mask.shape)], SPACING_MM)
    volume = 4 / 3 * np.pi * 12**3
    assert found["morph_vol_approx"] == pytest.approx(mask.sum() * 1.0)
    assert found["morph_volume"] == pytest.approx(volume, rel=0.03)
    assert found["morph_area_mesh"] == pytest.approx(4 * np.pi * 12**2, rel=0.2)  # of steps
    assert 0.8 < found["morph_sphericity"] <= 1
    # Half a voxel more at both ends, along the axis of thick slices.
    assert found["morph_diam"] == pytest.approx(26, rel=0.02)
    # A ball's axes: 4 times the square root of r^2 / 5.
    assert found["morph_pca_maj_axis"] == pytest.approx(4 * 12 / np.sqrt(5), rel=0.03)
    assert found["morph_pca_flatness"] == pytest.approx(1, abs=0.05)


def test_a_long_box_is_not():
    mask = np.zeros((30, 10, 10), bool)
    mask[3:27, 3:6, 3:6] = True
    found = measure_lesion(mask, [], (1.0, 1.0, 1.0))
    # Variances of 24 and 3 places in a row: (n^2 - 1) / 12.
    assert found["morph_pca_maj_axis"] == pytest.approx(4 * np.sqrt((24**2 - 1) / 12))
    assert found["morph_pca_elongation"] == pytest.approx(np.sqrt(8 / (24**2 - 1)))
    assert found["morph_sphericity"] < 0.8


def test_a_disk_is_measured_by_its_area():
    spacing_mm = (7.0, 0.5, 0.25)
    y, x = np.mgrid[-30:31, -60:61]
    mask = ((y * 0.5) ** 2 + (x * 0.25) ** 2 <= 12**2)[None]
    found = measure_lesion(mask, [], spacing_mm)
    assert list(found) == FLAT
    assert found["morph_area_approx_2d"] == pytest.approx(mask.sum() * 0.125)
    assert found["morph_area_2d"] == pytest.approx(np.pi * 12**2, rel=0.02)
    assert found["morph_perimeter_2d"] == pytest.approx(2 * np.pi * 12, rel=0.12)
    assert found["morph_pca_elongation"] == pytest.approx(1, abs=0.02)


def test_a_hole_is_no_area():
    mask = np.ones((1, 12, 12), bool)
    whole = measure_lesion(mask, [], (1.0, 1.0, 1.0))["morph_area_2d"]
    mask[0, 4:8, 4:8] = False
    ring = measure_lesion(mask, [], (1.0, 1.0, 1.0))["morph_area_2d"]
    assert whole - ring == pytest.approx(16, abs=0.6)  # less the corners


def test_intensities_and_texture_by_hand():
    mask = np.zeros((1, 2, 4), bool)
    mask[0, 0] = True
    image = np.array([[[0.0, 0.0, 31.0, 31.0], [9, 9, 9, 9]]])
    found = measure_lesion(mask, [image], (1.0, 1.0, 1.0))
    assert found["stat_mean_0"] == 15.5
    assert found["stat_var_0"] == 15.5**2
    assert found["stat_skew_0"] == 0
    assert found["stat_kurt_0"] == -2
    assert found["ih_entropy_0"] == 1
    # Neighbours: (1, 1), (1, 32), (32, 32), each in both directions.
    assert found["cm_contrast_0"] == pytest.approx(31**2 / 3)
    assert found["cm_energy_0"] == pytest.approx(1 / 9 + 1 / 9 + 2 / 36)
    assert found["cm_corr_0"] == pytest.approx(1 / 3)
    assert found["cm_inv_diff_mom_0"] == pytest.approx(2 / 3 + 1 / 3 / (1 + 31**2))
    assert found["cm_joint_entr_0"] == pytest.approx(2 / 3 * np.log2(3) + 1 / 3 * np.log2(6))
    assert LEVELS == 32


def test_nothing_predicted_has_no_volume_and_the_same_names():
    for shape, names, size in (
        ((4, 5, 6), SHAPE, "vol_approx"),
        ((1, 5, 6), FLAT, "area_approx_2d"),
    ):
        found = measure_lesion(np.zeros(shape, bool), [np.zeros(shape)] * 2, SPACING_MM)
        kinds = [*INTENSITY, *TEXTURE]
        assert list(found) == [*names, *(f"{name}_{n}" for n in (0, 1) for name in kinds)]
        assert found.pop(f"morph_{size}") == 0
        assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize("shape", [(3, 3, 3), (1, 3, 3)])
def test_a_single_voxel_has_finite_shape(shape):
    mask = np.zeros(shape, bool)
    mask[shape[0] // 2, 1, 1] = True
    found = measure_lesion(mask, [np.ones(shape)], SPACING_MM)
    undefined = {name for name, value in found.items() if np.isnan(value)}
    assert undefined <= {"morph_pca_elongation", "morph_pca_flatness", *(f"{t}_0" for t in TEXTURE)}


@pytest.mark.parametrize("method", ["logistic_regression", "gradient_boosting"])
def test_classifiers_learn_what_is_there(method):
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 2], 30)
    features = generator.normal(size=(60, 4)) + 3 * (truth == 2)[:, None] * [1, 0, 0, 0]
    features[::7, 1] = np.nan
    features[:, 3] = np.nan
    found = classify(features[::2], truth[::2], features[1::2], 3, method, seed=1)
    assert found.shape == (30, 3)
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found[:, 1] == 0).all()  # no training case is of this class
    assert (found.argmax(1) == truth[1::2]).mean() > 0.85
    again = classify(features[::2], truth[::2], features[1::2], 3, method, seed=1)
    assert (found == again).all()
    with pytest.raises(ValueError, match="training cases are of 1 classes, two are needed"):
        classify(features[:5], truth[:5], features, 3, method, seed=1)
