"""What other libraries import and a job may never use: loaded when it is used, or not at all.

nnU-Net and NiBabel import much at their beginning that our jobs never call, and a run starts many
jobs. The libraries themselves stay as they are.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PROBED = ("__file__", "__path__")  # Python asks modules for them while it imports others


class _LateModule(ModuleType):
    """Stands for a module and loads it when one of its names is asked for.

    Python's own `importlib.util.LazyLoader` loads a module as soon as a second one imports it.
    """

    def __getattr__(self, name: str) -> Any:
        if name in PROBED:
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)

    def call_late(self, name: str) -> Callable:
        """Return what loads the module when it is called, and then calls a function of it."""
        return lambda *args, **kwargs: self.__getattr__(name)(*args, **kwargs)


class _LateImporter(MetaPathFinder, Loader):
    """Gives an import, in place of some modules, what loads them later."""

    def __init__(self, modules: dict[str, tuple[str, ...]]):
        self.modules = modules
        self.given: dict[str, _LateModule] = {}

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        wanted = fullname in self.modules and fullname not in self.given
        return ModuleSpec(fullname, self) if wanted else None

    def create_module(self, spec: ModuleSpec) -> _LateModule:
        module = _LateModule(spec.name)
        for name in self.modules[spec.name]:
            setattr(module, name, module.call_late(name))
        self.given[spec.name] = module
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def replaced(name: str, module: ModuleType | None) -> Iterator[None]:
    """Let the block import something else in place of a module that is not loaded yet.

    Parameters
    ----------
    name : str
        Full name of the module.
    module : module or None
        What is imported instead; None if the module shall seem not to be installed.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def loaded_late(modules: dict[str, tuple[str, ...]]) -> Iterator[None]:
    """Let modules that the block imports load when something of them is used.

    Modules below them cannot be imported in the block.

    Parameters
    ----------
    modules : dict of str to tuple of str
        Full names of modules, each with the functions and classes that are taken out of it
        (``from skimage.morphology import ball``) to be called later.
    """
    importer = _LateImporter(modules)
    sys.meta_path.insert(0, importer)
    try:
        yield
    finally:
        sys.meta_path.remove(importer)
        for name, module in importer.given.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def without_pydicom() -> AbstractContextManager:
    """Return a block in which NiBabel is imported as where pydicom is not installed.

    It takes pydicom for DICOM headers within NIfTI files, of which nothing is ever used.
    """
    return replaced("pydicom", None)
