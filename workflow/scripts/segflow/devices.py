"""Which GPUs this machine has, found out without importing PyTorch."""

import os
from pathlib import Path


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that a job on this machine could use.

    ``CUDA_VISIBLE_DEVICES`` counts if it is set; otherwise the device files do.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
