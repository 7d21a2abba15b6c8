"""How nnU-Net's own code is called: its folders and its worker pools."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

from segflow.jobs.workers import START_METHOD

TRAINERS = Path(__file__).parent / "trainers"


def use_folders(results: Path) -> None:
    """Point nnU-Net to its three folders below `results`, and to Segflow's trainers.

    Parameters
    ----------
    results : Path
        Folder of everything that the workflow produces.
    """
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        folder = results.absolute() / name
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    os.environ["nnUNet_extTrainer"] = str(TRAINERS)


@contextmanager
def forked_pools(*modules: ModuleType) -> Iterator[None]:
    """Let modules of nnU-Net fork their worker pools instead of spawning them.

    A spawned worker imports torch again, which costs seconds; a forked one shares what this
    process has imported. nnU-Net's code itself stays as it is.

    Parameters
    ----------
    *modules : module
        Modules that call ``multiprocessing.get_context("spawn")``.
    """
    forking = SimpleNamespace(get_context=lambda method: multiprocessing.get_context(START_METHOD))
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(patch.object(module, "multiprocessing", forking))
        yield
