"""3D convolutions of one image on a CPU, in the time they need.

PyTorch (ATen's Convolution.cpp, `use_mkldnn`) gives a convolution of a batch of one to oneDNN only
where channels x depth x height are more than 20,480, whatever the width. What is smaller goes to
a loop that takes up to thirteen times as long: the first layers of small networks, the last ones of
large networks, whenever a sliding window is looked at alone.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class OneDNNConvolutions(TorchFunctionMode):
    """Let oneDNN compute each 3D convolution of float32 on a CPU, within a block.

    Sums are rounded in another order: outputs differ from PyTorch's by some 1e-6 of the largest.
    Nothing else changes; kernels of one voxel, which PyTorch multiplies faster, stay as they are.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None) -> Any:
        """Replace `torch.conv3d`, and leave all other functions alone."""
        if function is torch.conv3d:
            return _conv3d(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _conv3d(
    image: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Convolve as `torch.conv3d` does, of which this has the arguments."""
    if (
        image.device.type == "cpu"
        and image.dtype == weight.dtype == torch.float32
        and image.dim() == 5  # with an axis of the batch
        and max(weight.shape[2:]) > 1
        and not isinstance(padding, str)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    ):
        steps = (_of_each_axis(number) for number in (padding, stride, dilation))
        return torch.mkldnn_convolution(image, weight, bias, *steps, groups)
    return torch.conv3d(image, weight, bias, stride, padding, dilation, groups)


def _of_each_axis(number: int | tuple[int, ...]) -> tuple[int, ...]:
    return (number,) * 3 if isinstance(number, int) else tuple(number)
