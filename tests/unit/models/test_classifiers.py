from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segflow.models.classifiers import centre_windows, tell_case


class Brightest(torch.nn.Module):
    """Says with certainty of what class a patch is: the number in its first voxel that is not 0."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, patch):
        self.seen.append(tuple(patch.shape))
        numbers = patch.flatten(1).amax(1).long()
        return 50.0 * torch.nn.functional.one_hot(numbers, 4).float()


class Predictor:
    """As much of nnU-Net's predictor as is used, with windows side by side along x."""

    def __init__(self, patch, mirrored=None):
        self.configuration_manager = SimpleNamespace(patch_size=patch)
        self.network = Brightest()
        self.device = torch.device("cpu")
        self.list_of_parameters = [{}]
        self.use_mirroring, self.allowed_mirroring_axes = mirrored is not None, mirrored

    def _internal_get_sliding_window_slicers(self, shape):
        width = self.configuration_manager.patch_size[-1]
        starts = range(0, shape[2], width)
        return [(slice(None), slice(None), slice(None), slice(at, at + width)) for at in starts]


@pytest.fixture
def image():
    """Return three windows of 2 x 2 x 2 voxels, of the classes 1, 2 and 3."""
    return np.repeat([1.0, 2.0, 3.0], 2).reshape(1, 1, 1, 6).repeat(2, 1).repeat(2, 2)


def test_windows_count_alike(image):
    found = tell_case(Predictor((2, 2, 2)), image, None, centre=False)
    assert found == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])


def test_windows_count_by_the_structure_that_another_model_sees(image):
    structure = np.zeros(image.shape[1:], bool)
    structure[0, 0, 0], structure[:, :, 4] = True, True
    structure[0, 0, 4] = False
    predictor = Predictor((2, 2, 2))
    found = tell_case(predictor, image, structure, centre=False)
    assert found == pytest.approx([0, 1 / 4, 0, 3 / 4])
    assert len(predictor.network.seen) == 2  # what holds nothing of it is not looked at
    empty = np.zeros_like(structure)
    assert tell_case(predictor, image, empty, centre=False) == pytest.approx([0, *3 * [1 / 3]])


def test_the_middle_can_be_all_that_is_looked_at(image):
    assert tell_case(Predictor((2, 2, 2)), image, None, centre=True) == pytest.approx([0, 0, 1, 0])


def test_small_images_are_padded_and_mirrored_views_count_alike(image):
    predictor = Predictor((4, 2, 8), mirrored=(0, 2))
    assert tell_case(predictor, image, None, centre=False) == pytest.approx([0, 0, 0, 1])
    assert predictor.network.seen == 4 * [(1, 1, 4, 2, 8)]


def test_trained_folds_count_alike(image):
    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.answer = torch.nn.Parameter(torch.zeros(2))

        def forward(self, patch):
            return self.answer[None]

    predictor = Predictor((2, 2, 2))
    predictor.network = Fixed()
    predictor.list_of_parameters = [{"answer": torch.tensor(one)} for one in ([9.0, 0], [0, 0.0])]
    expected = (torch.tensor([9.0, 0]).softmax(0)[0] + 0.5) / 2
    assert tell_case(predictor, image, None, centre=True)[0] == pytest.approx(expected.item())


def test_of_each_slice_the_middle_window():
    assert centre_windows((2, 5, 8), (3, 4)) == [
        (slice(None), 0, slice(1, 4), slice(2, 6)),
        (slice(None), 1, slice(1, 4), slice(2, 6)),
    ]
