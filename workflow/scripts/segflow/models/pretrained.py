"""Weights that a training starts from: those of another training that fit."""

import zipfile
from pathlib import Path

import torch

from segflow.files.content import file_sha256
from segflow.models.checkpoints import FINAL
from segflow.models.trust import load_checkpoint, unpack_archive


def load_pretrained(
    network: torch.nn.Module, path: Path, sha256: str, scratch: Path
) -> tuple[list[str], list[str]]:
    """Give a network the weights of a file whose names and shapes are its own.

    Parameters
    ----------
    network : Module
        The network, which is changed.
    path : Path
        A checkpoint of nnU-Net, PyTorch's file of a network's weights, or a zip archive as nnU-Net
        exports it, of which the first fold is taken.
    sha256 : str
        Hash of the file when the model was planned.
    scratch : Path
        Folder to unpack an archive to.

    Returns
    -------
    taken, left : list of str
        Names of the network's weights that were given, and of those that were not.

    Raises
    ------
    ValueError
        If the file is another one by now, could run code, or holds nothing that fits.
    """
    if (found := file_sha256(path)) != sha256:
        raise ValueError(
            f"{path}: expected SHA-256 {sha256[:12]} of the pretrained weights, found "
            f"{found[:12]}; run make_model_plans again"
        )
    theirs = _read_weights(path, scratch)
    own = network.state_dict()
    fitting = {
        name: theirs[name]
        for name, value in own.items()
        if name in theirs and theirs[name].shape == value.shape
    }
    if not fitting:
        example = next(iter(theirs), "none")
        raise ValueError(
            f"{path}: none of its {len(theirs)} weights fits the network, which has "
            f"{next(iter(own))!r} and others; found {example!r} and others"
        )
    network.load_state_dict(own | fitting)
    return list(fitting), [name for name in own if name not in fitting]


def _read_weights(path: Path, scratch: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a network by name, from whichever kind of file."""
    if zipfile.is_zipfile(path) and _is_archive(path):
        folds = sorted(unpack_archive(path, scratch, lambda name: name.endswith(f"/{FINAL}")))
        if not folds:
            raise ValueError(f"{path}: holds no {FINAL}")
        path = folds[0]
    state = load_checkpoint(path)
    weights = state.get("network_weights", state)
    return {
        name.removeprefix("module."): value
        for name, value in weights.items()
        if isinstance(value, torch.Tensor)
    }


def _is_archive(path: Path) -> bool:
    """Say whether a zip archive holds files of a model; PyTorch's own files are archives, too."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".pth") for name in archive.namelist())
