import pytest
import torch

from segflow.models.convolutions import OneDNNConvolutions


def kernels_of(function):
    """Return the names of PyTorch's functions that a call uses."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("stride", [1, (1, 2, 2)])
@pytest.mark.parametrize(
    ("kernel", "padding"), [(3, 1), ((1, 3, 3), (0, 1, 1)), (3, "same"), (1, 0), (2, 0)]
)
def test_outputs_are_pytorchs(kernel, padding, stride):
    if padding == "same":
        stride = 1
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(4, 6, kernel, stride, padding)
    image = torch.randn(1, 4, 9, 10, 11)
    with torch.no_grad():
        expected = layer(image)
        with OneDNNConvolutions():
            torch.testing.assert_close(layer(image), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_small_images_do_not_take_the_slow_way():
    layer, image = torch.nn.Conv3d(4, 4, 3, padding=1), torch.randn(1, 4, 8, 8, 8)
    assert "aten::slow_conv3d_forward" in kernels_of(lambda: layer(image)), "PyTorch was mended"
    with OneDNNConvolutions():
        used = kernels_of(lambda: layer(image))
    assert "aten::mkldnn_convolution" in used
    assert "aten::slow_conv3d_forward" not in used


def test_gradients_and_other_precisions_are_left_alone():
    layer, image = torch.nn.Conv3d(1, 1, 3), torch.randn(1, 1, 5, 5, 5)
    with OneDNNConvolutions():
        layer(image).sum().backward()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            assert layer(image).dtype == torch.bfloat16
        with torch.no_grad():
            assert layer.double()(image.double()).dtype == torch.float64
            assert layer(image[0].double()).shape == (1, 3, 3, 3)
    assert layer.weight.grad is not None
