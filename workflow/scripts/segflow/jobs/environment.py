"""The environment that jobs inherit from the process that starts them."""

import os
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2]


def share_environment() -> None:
    """Let jobs that are shell commands find this library, and the Python that runs now.

    They draw into files: a backend that Jupyter, or a desktop, sets for itself is not theirs.
    """
    os.environ["MPLBACKEND"] = "agg"
    for name, folder in (("PYTHONPATH", SCRIPTS), ("PATH", Path(sys.executable).parent)):
        others = [part for part in os.environ.get(name, "").split(os.pathsep) if part]
        others = [part for part in others if part != str(folder)]
        os.environ[name] = os.pathsep.join([str(folder), *others])
