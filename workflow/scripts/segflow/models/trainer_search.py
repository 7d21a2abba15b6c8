"""The classes by which nnU-Net trains and builds networks, found where they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from unittest.mock import patch

from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from segflow.models.trainers.segflow_trainer import SegflowTrainer


def find_trainer(name: str) -> type:
    """Return Segflow's trainer, or one of nnU-Net's by its name.

    nnU-Net alone would import all variants of its own trainer before it looks elsewhere.
    """
    if name == SegflowTrainer.__name__:
        return SegflowTrainer
    return recursive_find_trainer_class_by_name(name)


@contextmanager
def knowing_trainer(module: ModuleType) -> Iterator[None]:
    """Let a module of nnU-Net, which looks for trainers by their name, use `find_trainer`."""
    with patch.object(module, "recursive_find_trainer_class_by_name", find_trainer):
        yield
