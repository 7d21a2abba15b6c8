"""Patches of a fold as its network sees them in training, beside what they are cut from."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from segflow.models.checkpoints import seed_everything
from segflow.models.nnunet import lean_imports
from segflow.models.training import TRAINER


@dataclass(frozen=True)
class Pair:
    """One patch before and after augmentation.

    Parameters
    ----------
    case : str
        Name of its case.
    images, foregrounds : tuple of ndarray
        First channel, and where the foreground is, before and after; of shape (z, y, x) or (y, x).
    """

    case: str
    images: tuple[np.ndarray, np.ndarray]
    foregrounds: tuple[np.ndarray, np.ndarray]


def draw_training_patches(
    nnunet_name: str, plans: dict, fold: int | str, count: int, scratch: Path
) -> list[Pair]:
    """Draw patches around the foreground of training cases, as training does.

    Parameters
    ----------
    nnunet_name : str
        nnU-Net's name of the data set.
    plans : dict
        Plans of the model.
    fold : int or str
        The fold.
    count : int
        Number of patches.
    scratch : Path
        Folder for what nnU-Net's trainer writes when it is made.
    """
    os.environ["nnUNet_results"] = str(scratch)  # before nnU-Net reads it
    os.environ["nnUNet_n_proc_DA"] = "0"
    with lean_imports():
        from nnunetv2.run import run_training
        from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
        from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

        from segflow.models.trainer_search import knowing_trainer

    settings = plans["segflow"]
    names = settings["configuration"], fold, TRAINER, settings["model"]
    with knowing_trainer(run_training):
        trainer = run_training.get_trainer_from_args(
            nnunet_name, *names, device=torch.device("cpu")
        )
    trainer.dataset_class = infer_dataset_class(trainer.preprocessed_dataset_folder)
    trainer.batch_size = 1
    oversampled = float(trainer.oversample_foreground_percent > 0)
    trainer.oversample_foreground_percent = oversampled
    trainer.enable_deep_supervision = False
    augmented = trainer.get_dataloaders()[0].data_loader
    patch = trainer.configuration_manager.patch_size
    manager = trainer.label_manager
    plain = nnUNetDataLoader(
        augmented._data,
        1,
        patch,
        patch,
        manager,
        oversample_foreground_percent=oversampled,
        transforms=trainer.get_validation_transforms(
            None,
            is_cascaded=trainer.is_cascaded,
            foreground_labels=manager.foreground_labels,
            regions=manager.foreground_regions if manager.has_regions else None,
            ignore_label=manager.ignore_label,
        ),
    )
    mixing = trainer.augmentation.get("mixing")
    pairs = []
    earlier: dict = {}
    for number in range(count):
        drawn = []
        for loader in (plain, augmented):  # the same draws lead to the same case and place
            seed_everything(settings["seed"] + number)
            drawn.append(next(loader))
        own = dict(drawn[1])
        if mixing and earlier:
            _mix_in(drawn[1], earlier, mixing["method"])
        earlier = own
        pairs.append(
            Pair(
                str(drawn[0]["keys"][0]),
                tuple(batch["data"][0, 0].numpy() for batch in drawn),
                tuple((batch["target"][0] > 0).any(0).numpy() for batch in drawn),
            )
        )
    return pairs


def _mix_in(batch: dict, earlier: dict, method: str) -> None:
    """Give the one patch of a batch a part of an earlier one."""
    from segflow.models.transforms import mix

    both = {key: torch.cat([earlier[key], batch[key]]) for key in ("data", "target")}
    mix(both, method, 1.0)
    for key, value in both.items():
        batch[key] = value[1:]
