from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from segflow.models import sliding_windows
from segflow.models.sliding_windows import body_mask, box_around, predict_logits


def make_predictor(patch, mirrored=None, n_folds=1, has_regions=False):
    """Return nnU-Net's predictor with a small drawn network."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d if len(patch) == 2 else torch.nn.Conv3d
    networks = [convolution(1, 2, 3, padding=1) for _ in range(n_folds)]
    predictor = nnUNetPredictor(
        device=torch.device("cpu"), allow_tqdm=False, use_mirroring=mirrored is not None
    )
    predictor.perform_everything_on_device = False
    predictor.network = networks[0]
    predictor.configuration_manager = SimpleNamespace(patch_size=patch)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=2, has_regions=has_regions)
    predictor.list_of_parameters = [
        {name: value.clone() for name, value in network.state_dict().items()}
        for network in networks
    ]
    predictor.allowed_mirroring_axes = mirrored
    return predictor


def make_image(*shape):
    return np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)


@pytest.mark.parametrize("n_folds", [1, 3])
@pytest.mark.parametrize("mirrored", [None, (0, 1)])
@pytest.mark.parametrize(
    ("patch", "shape"), [([8, 8], (3, 12, 5)), ([8, 8, 8], (20, 4, 9)), ([4, 8, 8], (4, 17, 30))]
)
def test_logits_are_those_of_nnunet(monkeypatch, patch, shape, mirrored, n_folds):
    """They are to the last bit, where sums have PyTorch's order as on a GPU."""
    predictor = make_predictor(patch, mirrored, n_folds)
    image = make_image(*shape)
    expected = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(image))
    quick = predict_logits(predictor, image)
    assert torch.allclose(quick, expected, atol=5e-3)  # of halves
    monkeypatch.setattr(sliding_windows, "computing", lambda *of: nullcontext())
    found = predict_logits(predictor, image)
    assert found.dtype == expected.dtype == torch.half
    assert torch.equal(found, expected)


def test_windows_that_are_seen_together_say_the_same():
    predictor = make_predictor([8, 8, 8], (0, 1, 2))
    image = make_image(20, 14, 9)
    alone, together = (predict_logits(predictor, image, n_windows=n) for n in (1, 5))
    assert torch.allclose(alone, together, atol=5e-3)  # of halves


def test_a_compiled_network_says_the_same():
    predictor = make_predictor([8, 8, 8])
    image = make_image(8, 8, 8)
    expected = predict_logits(predictor, image)
    predictor.network.compile(backend="aot_eager")
    assert torch.allclose(predict_logits(predictor, image), expected, atol=5e-3)


@pytest.mark.parametrize("has_regions", [False, True])
def test_what_is_outside_of_the_region_is_background(has_regions):
    predictor = make_predictor([8, 8, 8], has_regions=has_regions)
    image = make_image(24, 20, 22)
    box = (slice(3, 15), slice(0, 9), slice(10, 22))
    found = predict_logits(predictor, image, box=box)
    assert found.shape == (2, 24, 20, 22)
    inside = predict_logits(predictor, image[(slice(None), *box)])
    assert torch.equal(found[(slice(None), *box)], inside)
    outside = torch.ones(found.shape[1:], dtype=torch.bool)
    outside[box] = False
    probabilities = found.float().sigmoid() if has_regions else found.float().softmax(0)[1:]
    assert probabilities[:, outside].max() < 1e-8


def test_what_is_no_number_is_refused():
    predictor = make_predictor([8, 8, 8])
    image = make_image(8, 8, 8)
    image[0, 3, 3, 3] = np.nan
    with pytest.raises(ValueError, match="infinite or undefined values"):
        predict_logits(predictor, image)


def test_sums_that_a_device_has_no_room_for_are_kept_outside(monkeypatch, capsys):
    predictor = make_predictor([8, 8, 8])
    predictor.network.collected = ["of another fold"]
    predictor.device = torch.device("meta")  # of another kind than the processor
    devices = []

    def sum_windows(predictor, data, n_windows):
        devices.append(data.device.type)
        if data.device.type == "meta":
            predictor.network.collected += ["of a window"]
            raise torch.OutOfMemoryError
        return torch.zeros(2, *data.shape[1:])

    monkeypatch.setattr(sliding_windows, "_sum_windows", sum_windows)
    predict_logits(predictor, make_image(9, 9, 9))
    assert devices == ["meta", "cpu"]
    assert predictor.network.collected == ["of another fold"]
    assert "memory is too small" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("margin", "least", "expected"),
    [
        ((0, 0, 0), (1, 1, 1), ((2, 4), (5, 6), (0, 1))),
        ((1, 2, 3), (1, 1, 1), ((1, 5), (3, 8), (0, 4))),
        ((9, 9, 9), (1, 1, 1), ((0, 6), (0, 10), (0, 7))),
        ((0, 0, 0), (6, 4, 5), ((0, 6), (4, 8), (0, 5))),
        ((0, 0, 0), (99, 99, 99), ((0, 6), (0, 10), (0, 7))),
    ],
)
def test_boxes_have_a_margin_and_hold_a_window(margin, least, expected):
    mask = np.zeros((6, 10, 7), bool)
    mask[2, 5, 0] = mask[3, 5, 0] = True
    assert box_around(mask, margin, least) == tuple(slice(*bounds) for bounds in expected)


def test_nothing_has_no_box():
    assert box_around(np.zeros((2, 2, 2), bool), (1, 1, 1), (1, 1, 1)) is None


def test_the_body_is_the_largest_part_that_is_not_dark():
    image = np.full((4, 20, 20), -1.5, np.float32)
    image[:, 5:15, 5:15] = np.random.default_rng(0).uniform(-1, 2, (4, 10, 10))
    image[:, 18, 2:18] = 0  # the table
    expected = np.zeros(image.shape, bool)
    expected[:, 5:15, 5:15] = True
    assert (body_mask(image) == expected).all()
