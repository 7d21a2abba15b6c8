"""How nnU-Net's own code is called: its imports, its folders and its worker pools."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from segflow.files.late_imports import loaded_late, replaced, without_pydicom
from segflow.jobs.workers import START_METHOD

TRAINERS = Path(__file__).parent / "trainers"
# What nnU-Net imports for curves, its own folds, other formats and transforms of few models, with
# the functions that it takes out of it.
RARELY_USED = {
    "matplotlib.pyplot": (),
    "nnunetv2.utilities.crossval_split": ("generate_crossval_split",),
    "pandas": (),
    "seaborn": (),
    "skimage.io": (),
    "skimage.morphology": ("ball", "disk"),
    "tifffile": (),
}


@contextmanager
def lean_imports() -> Iterator[None]:
    """Let the block import nnU-Net without what it rarely uses, which loads when it is used."""
    with loaded_late(RARELY_USED), without_pydicom():
        yield


@contextmanager
def uncompiled() -> Iterator[None]:
    """Let the block import nnU-Net without PyTorch's compiler, for jobs that train nothing.

    nnU-Net imports it only to recognise compiled networks, which prediction does not make. It
    takes as long as PyTorch itself. Whatever imports the compiler after the block gets it.
    """
    compiler = ModuleType("torch._dynamo")
    compiler.OptimizedModule = type("OptimizedModule", (), {})
    with replaced("torch._dynamo", compiler):
        yield


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


def forked_pool(module: ModuleType) -> AbstractContextManager:
    """Return a block in which a module of nnU-Net forks its workers instead of spawning them.

    A spawned worker imports torch again, which costs seconds; a forked one shares what this
    process has imported. nnU-Net's code itself stays as it is.

    Parameters
    ----------
    module : module
        A module that calls ``multiprocessing.get_context("spawn")``.
    """
    return _pool_of(module, multiprocessing.get_context(START_METHOD))


def threaded_pool(module: ModuleType) -> AbstractContextManager:
    """Return a block in which the workers of a module of nnU-Net are threads; see `forked_pool`.

    What they return stays in memory instead of travelling between processes.
    """
    return _pool_of(module, SimpleNamespace(Pool=ThreadPool))


def _pool_of(module: ModuleType, context: Any) -> AbstractContextManager:
    return patch.object(module, "multiprocessing", SimpleNamespace(get_context=lambda _: context))
