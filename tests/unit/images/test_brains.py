from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from made_cohort import draw_image, draw_pose, smooth_field, template_head
from segflow.images import brains
from segflow.images.brains import (
    check_head,
    draw_sheet,
    load_template,
    load_tissue_maps,
    normalise_brain,
)
from segflow.images.nifti import Grid, read_image, to_sitk
from segflow.images.orientation import orientation_of, reorient, reorient_grid

OPTIONS = {"spacing_mm": 3.0, "margin_mm": 6, "low_percent": 1, "high_percent": 1}
LEAST_SCORE = 0.55  # of config/schemas/dataset.schema.yaml
COLIN = Path("/usr/share/mricron/templates/ch2.nii.gz")  # of Debian's mricron-data
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def make_head(folder, seed, severity=0.5, orientation="PIR"):
    """Return image and grid of a made head at 3 mm, and its pose."""
    random = np.random.default_rng(seed)
    pose, field = draw_pose(random), smooth_field(random, 2.0)
    nibabel.save(
        draw_image(random, pose, field, severity, 3.0, orientation), folder / "head.nii.gz"
    )
    array, grid = read_image(folder / "head.nii.gz")
    return array[0], grid, pose


def errors_mm(found, expected):
    """Return how far apart two poses put points of the template's brain."""
    points = np.vstack([template_head().brain_points.T, np.ones(len(template_head().brain_points))])
    return np.linalg.norm(((found - expected) @ points)[:3], axis=0)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return make_head(tmp_path_factory.mktemp("head"), seed=3)


@pytest.fixture(scope="module")
def upright(head):
    """The same head with axes to left, back and top, so that it can be damaged by slices."""
    array, grid, pose = head
    stored = orientation_of(grid)
    return np.ascontiguousarray(reorient(array, stored, "LPS")), reorient_grid(grid, "LPS"), pose


@pytest.fixture(scope="module")
def brain(head):
    array, grid, _ = head
    return normalise_brain(array, grid, OPTIONS)


def test_a_head_comes_to_the_template_from_any_orientation_and_pose(brain, head):
    found = errors_mm(brain.pose, head[2])
    assert found.mean() < 2
    assert found.max() < 5
    assert brain.score > LEAST_SCORE


def test_the_result_is_scaled_and_blank_around_the_brain(brain):
    inside = brain.mask > 0
    assert brain.image.dtype == np.float32
    assert (brain.image[~inside] == 0).all()
    assert (brain.image.min(), brain.image.max()) == (0, 1)
    # One percent of the brain's voxels are cut off on each side.
    assert np.mean(brain.image[inside] == 1) == pytest.approx(0.01, abs=0.002)


def test_the_grid_is_that_of_the_template_with_a_margin(brain):
    assert orientation_of(brain.grid) == "RAS"
    assert brain.grid.spacing_mm == (3.0, 3.0, 3.0)
    first = brain.mask.any(axis=(1, 2)).argmax() * 3
    assert 3 <= first <= 9  # 6 mm, rounded to voxels
    volume_ml = brain.mask.sum() * 0.027
    template_ml = sitk.GetArrayViewFromImage(load_template().mask).sum() / 1000
    assert volume_ml == pytest.approx(template_ml, rel=0.02)


def test_the_same_head_gives_the_same_brain(brain, head):
    again = normalise_brain(head[0], head[1], OPTIONS)
    np.testing.assert_array_equal(again.image, brain.image)
    np.testing.assert_array_equal(again.pose, brain.pose)


def test_a_contact_sheet_shows_planes_and_outlines(brain):
    sheet = draw_sheet(brain)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
    red = (sheet[..., 0] > 200) & (sheet[..., 1] < 100)
    assert 0.01 < red.mean() < 0.3


@pytest.mark.long
@pytest.mark.parametrize(
    "damage",
    [
        lambda array: array[::-1],
        lambda array: np.where(array > array.max() / 20, array.max() - array, array),
        lambda array: np.where(np.arange(len(array))[:, None, None] < 0.6 * len(array), array, 0),
    ],
    ids=["upside down", "wrong contrast", "cut-off head"],
)
def test_a_registration_that_fails_has_a_low_score(upright, damage):
    array, grid, _ = upright
    found = normalise_brain(np.ascontiguousarray(damage(array)), grid, OPTIONS)
    assert found.score < LEAST_SCORE - 0.1


def test_a_shift_by_eight_millimetres_has_a_low_score(monkeypatch, head):
    register = brains.register

    def shifted(image, template):
        pose = register(image, template)
        pose.SetTranslation(np.add(pose.GetTranslation(), (0, 8, 0)).tolist())
        return pose

    monkeypatch.setattr(brains, "register", shifted)
    assert normalise_brain(head[0], head[1], OPTIONS).score < LEAST_SCORE - 0.05


def test_a_registration_that_finds_nothing_is_an_error(monkeypatch, head):
    def fail(image, template):
        raise RuntimeError("sitk::ERROR\nAll samples map outside moving image buffer.")

    monkeypatch.setattr(brains, "register", fail)
    text = r"cannot be registered to the template \(All samples map outside"
    with pytest.raises(ValueError, match=text):
        normalise_brain(head[0], head[1], OPTIONS)


def test_tissue_maps_lie_on_any_grid_in_template_space(brain):
    grey, white = load_tissue_maps(brain.grid)
    assert grey.shape == brain.grid.shape
    assert 0 <= grey.min() <= grey.max() <= 1
    # Of an adult brain about 40 to 55 % are grey and 30 to 45 % white matter.
    whole = brain.mask.sum()
    assert 0.3 < grey[brain.mask > 0].sum() / whole < 0.6
    assert 0.25 < white[brain.mask > 0].sum() / whole < 0.5


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "message"),
    [
        ((16, 24, 20), 2.0, r"shows 32 x 48 x 40 mm along z, y, x; a head needs 100 mm"),
        ((60, 60, 60), 3.0, "all voxels are 7"),
    ],
)
def test_what_is_no_head_is_refused(shape, spacing_mm, message):
    grid = Grid(shape, (spacing_mm,) * 3, (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    with pytest.raises(ValueError, match=message):
        check_head(np.full(shape, 7), grid)


@pytest.mark.long
@pytest.mark.skipif(not COLIN.exists(), reason="no real head: Debian's mricron-data")
def test_a_real_head_comes_back_from_known_poses():
    array, grid = read_image(COLIN)
    first = normalise_brain(array[0], grid, OPTIONS)
    assert first.score > LEAST_SCORE
    image = to_sitk(array[0].astype(np.float32), grid)
    target = sitk.Image([260, 280, 260], sitk.sitkFloat32)
    target.SetOrigin((-130.0, -140.0, -130.0))
    for seed in (1, 2, 3):
        pose = draw_pose(np.random.default_rng(seed))
        back = np.linalg.inv(RAS_TO_LPS @ pose @ RAS_TO_LPS)
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(back[:3, :3].ravel().tolist())
        transform.SetTranslation(back[:3, 3].tolist())
        moved = sitk.GetArrayFromImage(sitk.Resample(image, target, transform))
        place = Grid(moved.shape, (1.0,) * 3, target.GetOrigin(), target.GetDirection())
        found = normalise_brain(moved, place, OPTIONS)
        assert errors_mm(found.pose, pose @ first.pose).mean() < 2
