"""Which GPUs this machine has, found out without importing PyTorch."""

import os
import re
from itertools import takewhile
from pathlib import Path


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that a job on this machine could use.

    ``CUDA_VISIBLE_DEVICES`` counts if it is set, up to the first entry that is no device, as CUDA
    reads it; otherwise the device files do.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return len(list(takewhile(re.compile(r"\d+$|GPU-|MIG-").match, names)))
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
