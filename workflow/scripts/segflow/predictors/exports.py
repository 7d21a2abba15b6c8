"""A finished predictor written as one zip, from which nnU-Net and this project segment alike."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from segflow.files.content import read_own_json, replacing
from segflow.models.checkpoints import FINAL
from segflow.models.networks import NNUNET, network_of
from segflow.models.training import TRAINER, fold_folder
from segflow.models.trust import load_checkpoint
from segflow.predictors.export_format import DESCRIPTION, FOLDER, FORMAT
from segflow.predictors.segmentation import Predictor

NNUNET_TRAINER = "nnUNetTrainer"
TIME = (1980, 1, 1, 0, 0, 0)  # of all members, the earliest in a zip: what is equal stays equal
# Of the search for post-processing: what was adopted, and why. The rest names cases.
SEARCH = ("objective", "adopt", "searched", "n_cases", "n_groups", "steps", "gain")
KEPT = ("network_weights", "inference_allowed_mirroring_axes", "current_epoch")


def write_export(
    path: Path, predictor: Predictor, title: str, documents: Mapping[str, str]
) -> dict[str, str]:
    """Write a predictor as a zip.

    Each model has a folder as nnU-Net exports it, with the weights that predict as
    ``checkpoint_final.pth`` and without what only a training needs. Networks of nnU-Net name
    nnU-Net's own trainer, so that it needs nothing of this project.

    Parameters
    ----------
    path : Path
        The file.
    predictor : Predictor
        What to export.
    title : str
        As people read it.
    documents : mapping of str to str
        Further texts by the name of their file.

    Returns
    -------
    dict of str to str
        SHA-256 of each file in the zip but the description, which holds them.
    """
    sha256: dict[str, str] = {}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:

        def add(name: str, content: bytes, compressed: bool = True) -> None:
            member = zipfile.ZipInfo(f"{predictor.nnunet_name}/{name}", TIME)
            member.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)
            sha256[name] = hashlib.sha256(content).hexdigest()

        raw = predictor.results / "nnUNet_raw" / predictor.nnunet_name
        dataset_json = read_own_json(raw / "dataset.json")
        for model, together in predictor.folds.items():
            plans = read_own_json(predictor.results / predictor.dataset / model / "plans.json")
            folder = exported_name(plans)
            add(f"{folder}/plans.json", _as_json(exported_plans(plans)))
            add(f"{folder}/dataset.json", _as_json(dataset_json))
            for fold in (fold for folds in together for fold in folds):
                source = fold_folder(predictor.results, predictor.nnunet_name, plans, fold)
                fingerprint = source.parent / "dataset_fingerprint.json"
                if fingerprint.exists() and f"{folder}/{fingerprint.name}" not in sha256:
                    add(f"{folder}/{fingerprint.name}", fingerprint.read_bytes())
                chosen = source / f"checkpoint_{plans['segflow']['prediction']['checkpoint']}.pth"
                weights = exported_checkpoint(chosen, plans, fold)
                add(f"{folder}/fold_{fold}/{FINAL}", weights, compressed=False)
        for name, text in documents.items():
            add(f"{FOLDER}/{name}", text.encode())
        described = {
            "format": FORMAT,
            "title": title,
            "dataset": predictor.dataset,
            "nnunet_name": predictor.nnunet_name,
            "members": predictor.members,
            "folds": {
                model: [fold for folds in together for fold in folds]
                for model, together in predictor.folds.items()
            },
            "postprocessing": _of_search(predictor.steps),
            "classes": predictor.classes,
            "label_codes": predictor.codes,
            "training_ranges": predictor.ranges,
            "sha256": dict(sha256),
        }
        add(f"{FOLDER}/{DESCRIPTION}", _as_json(described))
    return {name: digest for name, digest in sha256.items() if not name.endswith(DESCRIPTION)}


def exported_name(plans: dict) -> str:
    """Return the name of a model's folder: nnU-Net's trainer, plans and configuration."""
    settings = plans["segflow"]
    return f"{_trainer(plans)}__{settings['model']}__{settings['configuration']}"


def exported_plans(plans: dict) -> dict:
    """Return plans without the file that weights came from, and with the one that predicts."""
    plans = deepcopy(plans)
    plans["segflow"].pop("pretrained", None)
    plans["segflow"]["prediction"]["checkpoint"] = "final"
    return plans


def exported_checkpoint(path: Path, plans: dict, fold: int | str) -> bytes:
    """Return a checkpoint with what prediction needs, and nothing else."""
    state = load_checkpoint(path)
    kept = {name: state[name] for name in KEPT}
    kept["trainer_name"] = _trainer(plans)
    kept["init_args"] = {"configuration": plans["segflow"]["configuration"], "fold": fold}
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    return buffer.getvalue()


def _trainer(plans: dict) -> str:
    """Return the trainer by which nnU-Net builds the network: its own one if it can."""
    settings = plans["segflow"]
    architecture = plans["configurations"][settings["configuration"]]["architecture"]
    own = network_of(architecture)[0] == NNUNET and not {"head", "classifier"} & settings.keys()
    return NNUNET_TRAINER if own else TRAINER


def _of_search(choice: dict | None) -> dict | None:
    """Return what an export says of the search for post-processing, which names no case."""
    if choice is None:
        return None
    return {name: choice[name] for name in SEARCH if name in choice}


def _as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
