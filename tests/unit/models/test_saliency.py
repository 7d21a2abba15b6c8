from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segflow.images.orientation import reorient
from segflow.models.saliency import (
    choose_cases,
    explain_case,
    integrated_gradients,
    occlusion,
    on_case_grid,
)

BLOCK = (slice(4, 8),) * 3
TOLERANCE = 0.01  # of the difference of logits, with 32 points and a smooth network


class Looks(torch.nn.Module):
    """Looks at one block of an image alone: class 1 has the mean of its squares, or its sum."""

    def __init__(self, squared):
        super().__init__()
        self.squared = squared

    def forward(self, patch):
        seen = patch[(slice(None), slice(None), *BLOCK)].flatten(1)
        found = (seen**2).mean(1) if self.squared else seen.sum(1)
        return torch.stack([-found, found], dim=1)


@pytest.fixture
def patches():
    """Return a patch and its reference, of two channels and 12 x 12 x 12 voxels."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((2, 1, 2, 12, 12, 12), generator=generator)


def test_gradients_are_where_the_network_looks_and_have_the_value_of_the_integral(patches):
    image, reference = patches
    found = integrated_gradients(Looks(True), image, reference, 1, steps=4)
    # On the way from b to x the integral of the gradient of x^2, times x - b, is x^2 - b^2.
    expected = torch.zeros(12, 12, 12)
    expected[BLOCK] = ((image**2 - reference**2) / (2 * 4**3))[0].sum(0)[BLOCK]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    other = integrated_gradients(Looks(True), image, reference, 0, steps=4)
    torch.testing.assert_close(other, -expected, atol=1e-6, rtol=1e-4)


def test_occlusion_is_where_the_network_looks_and_counts_what_each_block_hides():
    image, reference = torch.ones((1, 1, 12, 12, 12)), torch.zeros((1, 1, 12, 12, 12))
    found = occlusion(Looks(False), image, reference, 1, (4, 4, 4))
    # Blocks begin at 0, 2, ..., 8. Along an axis 5 is held by those from 2 and 4, which hide 2 and
    # 4 voxels of what the network looks at; 3 by those from 0 and 2, which hide 0 and 2.
    assert found[5, 5, 5].item() == pytest.approx(3**3)
    assert found[3, 3, 3].item() == pytest.approx(1)
    assert found[3, 5, 5].item() == pytest.approx(3**2)
    assert found[1, 5, 5].item() == 0
    assert (found[:2] == 0).all()
    assert (found[10:] == 0).all()


class Normalised(torch.nn.Module):
    """A small smooth network with instance norms, to which brightness means nothing."""

    def __init__(self):
        super().__init__()
        layers = []
        for before in (1, 4, 4):
            layers += [torch.nn.Conv3d(before, 4, 3), torch.nn.InstanceNorm3d(4)]
            layers += [torch.nn.Softplus()]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Conv3d(4, 3, 3))

    def forward(self, patch):
        return 10 * self.layers(patch).flatten(2).square().mean(2)


def test_gradients_sum_to_the_difference_of_the_logits():
    torch.manual_seed(0)
    network = Normalised()
    image = torch.randn(1, 1, 16, 16, 16)
    blurred = torch.nn.functional.avg_pool3d(image, 3, 1, 1)

    def difference(reference):
        with torch.no_grad():
            return (network(image) - network(reference))[0, 2].item()

    found = integrated_gradients(network, image, blurred, 2, steps=32)
    assert abs(difference(blurred)) > 0.01
    assert found.sum().item() == pytest.approx(difference(blurred), rel=TOLERANCE)
    # From a black image the integral is lost, which is why nothing begins there.
    black = torch.zeros_like(image)
    lost = integrated_gradients(network, image, black, 2, steps=32).sum().item()
    assert lost != pytest.approx(difference(black), rel=0.5)


class Predictor:
    """As much of nnU-Net's predictor as is used, with windows side by side along x."""

    def __init__(self, network, patch, spacing):
        self.configuration_manager = SimpleNamespace(patch_size=patch, spacing=spacing)
        self.network, self.device = network, torch.device("cpu")
        self.list_of_parameters = [network.state_dict()]

    def _internal_get_sliding_window_slicers(self, shape):
        width = self.configuration_manager.patch_size[-1]
        starts = range(0, shape[2], width)
        return [(slice(None), slice(None), slice(None), slice(at, at + width)) for at in starts]


@pytest.mark.parametrize("centre", [True, False])
def test_a_case_is_explained_where_its_windows_are(centre):
    image = np.random.default_rng(0).normal(size=(1, 10, 12, 24)).astype(np.float32)
    predictor = Predictor(Looks(True), (12, 12, 12), [2.0, 2.0, 2.0])
    found = explain_case(predictor, image, 1, centre, np.nan, steps=4, block_mm=8)
    # z is padded by one voxel on each side, so the network looks at 3 to 6; the middle window
    # begins at 6 along x.
    seen = np.zeros(image.shape[1:], bool)
    for start in [6] if centre else [0, 12]:
        seen[3:7, 4:8, start + 4 : start + 8] = True
    gradients, hidden = found.maps["integrated_gradients"], found.maps["occlusion"]
    assert gradients.shape == hidden.shape == image.shape[1:]
    np.testing.assert_array_equal(gradients != 0, seen)
    inside = np.abs(hidden[seen]).mean()
    assert inside > 3 * np.abs(hidden[~seen]).mean()
    assert gradients.sum() == pytest.approx(found.logit - found.blurred_logit, rel=1e-3)
    means = [
        (image[0, 3:7, 4:8, at + 4 : at + 8] ** 2).mean() for at in ([6] if centre else [0, 12])
    ]
    assert found.logit == pytest.approx(np.mean(means), rel=1e-4)


def test_slices_of_flat_windows_are_explained_one_by_one():
    class Flat(torch.nn.Module):
        def forward(self, patch):
            found = patch[:, :, 4:8, 4:8].flatten(1).sum(1)
            return torch.stack([-found, found], dim=1)

    image = np.random.default_rng(0).normal(size=(1, 3, 12, 12)).astype(np.float32)
    predictor = Predictor(Flat(), (12, 12), [1.0, 1.0])
    found = explain_case(predictor, image, 1, True, np.nan, steps=2, block_mm=4)
    gradients = found.maps["integrated_gradients"]
    assert (gradients[:, 4:8, 4:8] != 0).all()
    assert np.count_nonzero(gradients) == 3 * 16
    assert gradients.sum() == pytest.approx(found.logit - found.blurred_logit, rel=1e-3)


@pytest.mark.parametrize("stored", [None, "LPS"])
def test_maps_come_back_to_the_grid_of_the_file(stored):
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    turned = array if stored is None else reorient(array, stored, "RAS")
    turned = turned.transpose(1, 2, 0)  # the plans' axes
    box = ((1, 4), (0, 6), (1, 3))
    properties = {
        "shape_before_cropping": turned.shape,
        "bbox_used_for_cropping": box,
        "shape_after_cropping_and_before_resampling": (3, 6, 2),
        "sitk_stuff": {} if stored is None else {"original_orientation": stored},
    }
    kept = tuple(slice(*ends) for ends in box)
    expected = np.zeros_like(turned)
    expected[kept] = turned[kept]
    expected = expected.transpose(2, 0, 1)
    expected = expected if stored is None else reorient(expected, "RAS", stored)
    found = on_case_grid(turned[kept], properties, (2, 0, 1))
    np.testing.assert_array_equal(found, expected)
    # Resampled to half as many voxels along the second axis, and back.
    ramp = np.broadcast_to(np.arange(3.0, dtype=np.float32)[None, :, None], (3, 3, 2))
    found = on_case_grid(ramp, properties, (2, 0, 1))
    found = found if stored is None else reorient(found, stored, "RAS")
    values = found.transpose(1, 2, 0)[1, :, 1]
    np.testing.assert_allclose(values, [0, 0.25, 0.75, 1.25, 1.75, 2])


def test_cases_that_are_told_rightly_are_chosen_by_name():
    names = ["d", "c", "b", "a", "e"]
    truth = np.array([0, 0, 0, 1, 1])
    p = np.array([0.1, 0.4, 0.9, 0.2, 0.6])  # of class 1
    chosen = choose_cases(names, truth, np.stack([1 - p, p], axis=1), most=1)
    assert [names[place] for place in chosen] == ["c", "e"]
    chosen = choose_cases(names, truth, np.stack([1 - p, p], axis=1), most=9)
    assert [names[place] for place in chosen] == ["c", "d", "e"]
