"""Checkpoints, plans and archives from elsewhere: nothing in them may run code or leave its folder.

A checkpoint is a pickle, and a pickle can call any function. PyTorch reads one that holds tensors,
numbers and texts alone without calling anything; NumPy's numbers, which nnU-Net stores as well, are
let through by name.
"""

import pickle
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray

from segflow.models.networks import PREFIX

# What NumPy's numbers and arrays are made of in a pickle.
NUMBERS = [
    multiarray.scalar,
    multiarray._reconstruct,
    np.ndarray,
    np.dtype,
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
]
# Where the classes of networks, and of what they are built from, may come from.
ARCHITECTURES = ("dynamic_network_architectures.", "torch.nn.", PREFIX)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint that holds nothing but numbers, texts and containers of them.

    Tensors stay in the file until they are used, unless it has PyTorch's old format.

    Raises
    ------
    ValueError
        If the checkpoint holds anything else, which could run code.
    """
    mmap = zipfile.is_zipfile(path)
    with torch.serialization.safe_globals(NUMBERS):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path}: the checkpoint is torn, or holds more than numbers and texts and could "
                f"run code; it is not loaded ({str(error).splitlines()[0]})"
            ) from None


def check_architecture(plans: dict, where: Path) -> None:
    """Check that the networks of plans are built from networks' classes alone.

    nnU-Net imports and calls whatever plans name as architecture.

    Parameters
    ----------
    plans : dict
        nnU-Net's plans.
    where : Path
        Their file, for the message.

    Raises
    ------
    ValueError
        If another class is named.
    """
    for name, configuration in plans["configurations"].items():
        architecture = configuration.get("architecture", {})
        arguments = architecture.get("arch_kwargs", {})
        named = [architecture.get("network_class_name")]
        named += [arguments.get(key) for key in architecture.get("_kw_requires_import", [])]
        for found in named:
            if found is not None and not str(found).startswith(ARCHITECTURES):
                raise ValueError(
                    f"{where}: configuration {name}: the architecture names {found!r}; allowed "
                    f"are classes of {' and '.join(part.rstrip('.') for part in ARCHITECTURES)}"
                )


def unpack_archive(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """Unpack the wanted files of a zip archive, if all of it is harmless.

    Parameters
    ----------
    archive : Path
        The archive.
    folder : Path
        Folder to unpack to.
    wanted : callable
        Says of a member's path whether it is needed.

    Returns
    -------
    list of Path
        The unpacked files.

    Raises
    ------
    ValueError
        If it is no zip archive, is damaged, a member would leave the folder or is a link, or if
        the wanted files are larger than they claim or than the disk has room for.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                _check_member(archive, member)
            chosen = [member for member in members if wanted(member.filename)]
            folder.mkdir(parents=True, exist_ok=True)
            size, free = sum(one.file_size for one in chosen), shutil.disk_usage(folder).free
            if size > free:
                raise ValueError(
                    f"{archive}: holds {size / 1e6:.0f} MB, but {folder} has {free / 1e6:.0f} MB"
                )
            # zipfile stops a member at the size that it claims, and checks its CRC.
            return [Path(opened.extract(member, folder)) for member in chosen]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{archive}: not a zip archive that can be read ({error})") from None


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename:
        raise ValueError(f"{archive}: member {member.filename!r} would leave its folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{archive}: member {member.filename!r} is a link")
