"""Networks in ONNX give the logits that they give in PyTorch."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from segflow.models import onnx_export
from segflow.models.network_builders import build_network
from segflow.models.networks import check_network, fit_patch
from segflow.models.onnx_export import METADATA, write_network

# Small ones; the others take minutes, and differ in nothing that ONNX minds.
SMALL = {
    ("unet_s3", 2): {"features": [4, 4, 8, 8, 16, 4]},
    ("attention_unet", 3): {"features": [4, 4, 8]},
    ("residual_unet", 3): {"features": [4, 8, 8]},
    ("encoder_decoder", 2): {},
    ("resnet", 3): {"features": [4, 8, 8, 16]},
}


def build(name, dimension, **options):
    configuration = "2d" if dimension == 2 else "3d_fullres"
    options = check_network({"name": name, "options": options}, configuration, "m.yaml")
    patch = fit_patch(name, options, [1] * dimension)
    return build_network(name, options, dimension, 2, 3).eval(), (2, *patch)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dimension"), SMALL)
def test_logits_are_those_of_pytorch_for_any_number_of_patches(tmp_path, name, dimension):
    network, shape = build(name, dimension, **SMALL[name, dimension])
    path = tmp_path / "network.onnx"
    assert write_network(network, shape, {"channels": ["a", "b"]}, path) < 1e-5
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n_patches in (1, 3):
        patches = torch.randn(n_patches, *shape)
        (found,) = session.run(["logits"], {"image": patches.numpy()})
        with torch.no_grad():
            expected = network(patches).numpy()
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    metadata = {one.key: one.value for one in onnx.load(path).metadata_props}
    assert json.loads(metadata[METADATA]) == {"channels": ["a", "b"]}


@pytest.mark.slow
def test_other_logits_are_an_error_and_leave_no_file(tmp_path, monkeypatch):
    network, shape = build("encoder_decoder", 2)
    monkeypatch.setattr(onnx_export, "TOLERANCE", 0.0)
    with pytest.raises(ValueError, match=r"logits differ from PyTorch's by .*, allowed are 0"):
        write_network(network, shape, {}, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_uses_ages_is_refused(tmp_path):
    network, shape = build("ad_cnn", 3, widening=1, age=True)
    with pytest.raises(ValueError, match="uses ages, which are no part of an image"):
        write_network(network, shape, {}, tmp_path / "network.onnx")
