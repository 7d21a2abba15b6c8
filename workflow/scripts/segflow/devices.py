"""Which GPUs this machine has, found out without importing PyTorch."""

import os
import re
from pathlib import Path


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that a job on this machine could use.

    ``CUDA_VISIBLE_DEVICES`` counts if it is set; otherwise the device files do.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len(re.findall(r"(?:^|,)\s*(?:\d+|GPU-|MIG-)", visible.split("-1")[0]))
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
