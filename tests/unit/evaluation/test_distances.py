from pathlib import Path

import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import distance_transform_edt, gaussian_filter
from surface_distance import lookup_tables

from segflow.evaluation.distances import (
    Surface,
    element_sizes,
    neighbour_codes,
    surface_distances,
    surface_metrics,
)
from segflow.images.nifti import read_labels

KITS = Path(__file__).parents[3].parent / "shared/data/kits19"
# Of the peers: they use what SciPy and MONAI are about to remove.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Please import .* from the `scipy.ndimage` namespace:DeprecationWarning",
    "ignore:monai.metrics.utils get_mask_edges:FutureWarning",
)
SPACINGS = [(1.0, 1.0, 1.0), (3.0, 2.0, 1.0), (5.0, 0.7, 0.8)]


def peer_metrics(reference, prediction, spacing_mm, tolerance_mm):
    """Return what the package surface-distance finds."""
    found = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
    means = surface_distance.compute_average_surface_distance(found)
    parts = [(found[f"distances_{way}"], found[f"surfel_areas_{own}"]) for way, own in WAYS.items()]
    return {
        "hd": surface_distance.compute_robust_hausdorff(found, 100),
        "hd95": surface_distance.compute_robust_hausdorff(found, 95),
        "assd": sum(d @ areas for d, areas in parts) / sum(areas.sum() for _, areas in parts),
        "masd": np.mean(means),
        "nsd": surface_distance.compute_surface_dice_at_tolerance(found, tolerance_mm),
    }


WAYS = {"gt_to_pred": "gt", "pred_to_gt": "pred"}


def drawn_blobs(shape, seed):
    """Return smooth random masks with several components, some of them at the border."""
    noise = np.random.default_rng(seed).standard_normal((2, *shape))
    first, second = (gaussian_filter(part, 2) for part in noise)
    return first > 0.05, 0.8 * first + 0.6 * second > 0.05


def test_one_voxel_has_eight_corners():
    z, y, x = spacing = 3.0, 2.0, 1.0
    # A corner is a triangle between the midpoints of three edges.
    corner = np.sqrt((z * y) ** 2 + (y * x) ** 2 + (x * z) ** 2) / 8
    voxel = np.pad(np.ones((1, 1, 1), bool), 1)
    surface, _ = surface_distances(voxel, voxel, spacing)
    np.testing.assert_allclose(surface.sizes, np.full(8, corner))
    assert not surface.distances_mm.any()


@pytest.mark.parametrize(
    ("axis", "area"), [(0, 2.0 * 1.0), (1, 3.0 * 1.0), (2, 3.0 * 2.0)], ids="zyx"
)
def test_a_plane_has_the_area_of_its_voxels(axis, area):
    half = np.moveaxis(np.zeros((4, 4, 4), bool), axis, 0)
    half[:2] = True
    codes = neighbour_codes(np.moveaxis(half, 0, axis))
    assert element_sizes((3.0, 2.0, 1.0))[codes[2, 2, 2]] == pytest.approx(area)


def test_two_voxels_five_apart():
    # Their elements, at both sides of each voxel, are 4 (near side) or 5 apart.
    reference, prediction = np.zeros((2, 3, 3, 12), bool)
    reference[1, 1, 2] = prediction[1, 1, 7] = True
    expected = {"hd": 5, "hd95": 5, "assd": 4.5, "masd": 4.5}
    for tolerance, nsd in ((3.9, 0), (4, 0.5), (4.9, 0.5), (5, 1)):
        found = surface_metrics(reference, prediction, (3.0, 2.0, 1.0), tolerance)
        assert found == pytest.approx(expected | {"nsd": nsd})


def test_the_mean_of_both_surfaces_and_the_mean_over_their_area_differ():
    # The second voxel of the prediction lies 10 steps further; the first one is right.
    reference, prediction = np.zeros((2, 3, 3, 20), bool)
    reference[1, 1, 2] = prediction[1, 1, 2] = prediction[1, 1, 12] = True
    found = surface_metrics(reference, prediction, (1.0, 1.0, 1.0), 1)
    # One of two equal surfaces of the prediction is 9 (near side) or 10 away.
    assert found["masd"] == pytest.approx((0 + 9.5 / 2) / 2)
    assert found["assd"] == pytest.approx(9.5 / 3)
    assert found["nsd"] == pytest.approx(2 / 3)
    assert found["hd95"] == found["hd"] == 10


def test_a_surface_knows_the_share_of_its_area():
    surface = Surface(np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0]))
    assert [surface.percentile(share) for share in (0.4, 0.6, 0.9, 1)] == [1, 2, 3, 3]
    assert surface.total == pytest.approx(3 + 2 + 2)
    assert surface.within(2) == pytest.approx(3)


@pytest.mark.parametrize("size", [0.1, 0.3, 0.7, 1.1])
def test_a_share_of_the_area_does_not_depend_on_rounding(size):
    surface = Surface(np.array([0.0] * 19 + [5.0]), np.full(20, size))
    assert surface.percentile(0.95) == 0  # which 95 % do not exceed


@pytest.mark.parametrize("spacing", SPACINGS)
def test_areas_agree_with_surface_distance(spacing):
    expected = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL.ravel(order="F")  # z first, as our bits
    theirs = [sum(kernel[bit] for bit in range(8) if code >> bit & 1) for code in range(256)]
    np.testing.assert_allclose(element_sizes(spacing), expected[theirs], rtol=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.7)])
def test_lengths_agree_with_surface_distance(spacing):
    expected = lookup_tables.create_table_neighbour_code_to_contour_length(spacing)
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL.ravel(order="F")
    theirs = [sum(kernel[bit] for bit in range(4) if code >> bit & 1) for code in range(16)]
    np.testing.assert_allclose(element_sizes(spacing), expected[theirs], rtol=1e-12)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_drawn_masks_agree_with_surface_distance(spacing, seed):
    masks = drawn_blobs((12, 30, 25), seed)
    expected = peer_metrics(*masks, spacing, 1.5)
    assert surface_metrics(*masks, spacing, 1.5) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.7)])
@pytest.mark.parametrize("seed", range(3))
def test_pictures_agree_with_surface_distance(spacing, seed):
    masks = drawn_blobs((40, 30), seed)
    expected = peer_metrics(*masks, spacing, 1.5)
    for z_mm in (0.1, 100.0):  # plays no role
        found = surface_metrics(*(mask[None] for mask in masks), (z_mm, *spacing), 1.5)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("number", range(3))
def test_hippocampi_agree_with_surface_distance(hippocampus, number):
    path = sorted((hippocampus / "labelsTr").glob("*.nii.gz"))[number]
    label_map, grid = read_labels(path)
    moved = np.roll(label_map, (1, -2), (0, 2))
    moved[3, 3, 3] = 1
    for spacing in (grid.spacing_mm, (2.5, 0.7, 1.1)):
        for masks in ((label_map == 1, moved == 1), (label_map > 0, moved > 0)):
            expected = peer_metrics(*masks, spacing, 1.0)
            assert surface_metrics(*masks, spacing, 1.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.skipif(not KITS.exists(), reason="needs KiTS label maps")
@pytest.mark.parametrize("case", ["case_00044", "case_00169"])
def test_kidneys_agree_with_surface_distance(case):
    label_map, grid = read_labels(KITS / case / "segmentation.nii.gz")
    places = np.argwhere(label_map == 2)
    tumour = tuple(
        slice(low, high + 1) for low, high in zip(places.min(0), places.max(0), strict=True)
    )
    around = tuple(slice(max(side.start - 20, 0), side.stop + 20) for side in tumour)
    cut = label_map[around]
    masks = cut > 0, np.roll(cut, (2, 3, 1), (0, 1, 2)) > 0
    expected = peer_metrics(*masks, grid.spacing_mm, 2.0)
    assert surface_metrics(*masks, grid.spacing_mm, 2.0) == pytest.approx(expected, rel=1e-9)


def test_distances_agree_with_a_distance_transform():
    spacing = 5.0, 0.7, 0.8
    masks = drawn_blobs((12, 30, 25), 5)
    borders = [(codes > 0) & (codes < 255) for codes in map(neighbour_codes, masks)]
    for found, own, other in zip(
        surface_distances(*masks, spacing), borders, borders[::-1], strict=True
    ):
        expected = distance_transform_edt(~other, spacing)[own]
        np.testing.assert_allclose(found.distances_mm, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(20, 60, 70), (1, 200, 220)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.8)])
@pytest.mark.parametrize("many", [0, 10**9])
def test_large_surfaces_far_away(shape, spacing, many, monkeypatch):
    monkeypatch.setattr("segflow.evaluation.distances.MANY_FAR", many)
    # The prediction is everything: its surface is the border of the image.
    reference = np.zeros(shape, bool)
    reference[shape[0] // 2, 3:6, 2:8] = True
    masks = reference, np.ones(shape, bool)
    if shape[0] == 1:
        expected = peer_metrics(*(mask[0] for mask in masks), spacing[1:], 1.0)
    else:
        expected = peer_metrics(*masks, spacing, 1.0)
    assert surface_metrics(*masks, spacing, 1.0) == pytest.approx(
        expected, rel=1e-9 if many else 1e-5
    )


@pytest.mark.parametrize("seed", range(3))
def test_distances_agree_with_monai_to_a_voxel(seed):
    # MONAI measures between border voxels, which lie within half a voxel of our elements, and
    # gives each the same weight.
    spacing = 3.0, 2.0, 1.0
    masks = drawn_blobs((14, 30, 40), seed)
    found = surface_metrics(*masks, spacing, 1.0)
    tensors = [torch.from_numpy(mask[None, None].astype(float)) for mask in masks]
    options = {"include_background": True, "spacing": spacing}
    hd = compute_hausdorff_distance(*tensors, **options).item()
    assd = compute_average_surface_distance(*tensors, symmetric=True, **options).item()
    voxel = np.linalg.norm(spacing)
    assert found["hd"] == pytest.approx(hd, abs=voxel)
    assert found["assd"] == pytest.approx(assd, abs=voxel / 2)


@pytest.mark.parametrize("seed", range(3))
def test_exchanging_the_masks_changes_nothing(seed):
    masks = drawn_blobs((12, 20, 25), seed)
    found = surface_metrics(*masks, (5.0, 0.7, 0.8), 1.0)
    assert surface_metrics(*masks[::-1], (5.0, 0.7, 0.8), 1.0) == pytest.approx(found, rel=1e-12)


def test_the_place_of_a_mask_changes_nothing():
    masks = drawn_blobs((12, 20, 25), 1)
    found = surface_metrics(*masks, (0.1, 0.1, 0.1), 0.2)
    for margin in ((5, 0), (17, 3)):
        moved = [np.pad(mask, [margin] * 3) for mask in masks]
        assert surface_metrics(*moved, (0.1, 0.1, 0.1), 0.2) == pytest.approx(found, rel=1e-12)
    turned = [mask[::-1, :, ::-1] for mask in masks]
    assert surface_metrics(*turned, (0.1, 0.1, 0.1), 0.2) == pytest.approx(found, rel=1e-12)


def test_without_a_tolerance_there_is_no_surface_dice():
    masks = drawn_blobs((12, 20, 25), 1)
    assert np.isnan(surface_metrics(*masks, (1.0, 1.0, 1.0), None)["nsd"])


def test_empty_masks_of_no_size():
    nothing = np.zeros((0, 0, 0), bool)
    found = surface_metrics(nothing, nothing, (1.0, 1.0, 1.0), 1.0)
    assert all(np.isnan(value) for value in found.values())
