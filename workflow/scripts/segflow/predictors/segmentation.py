"""Segmentation of new images with a predictor of a finished run, post-processing included."""

import argparse
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from segflow.datasets.conversion import Target, convert_cases, raise_problems, remove_other_cases
from segflow.datasets.sources import SourceCase
from segflow.files.cases import Case
from segflow.files.content import read_own_json
from segflow.files.folders import visible
from segflow.files.ledger import Ledger
from segflow.files.manifests import write_manifest
from segflow.files.suffixes import IMAGES, stem, suffix
from segflow.images.nifti import SUFFIX, read_grid, read_labels, write_image
from segflow.images.orientation import orientation_of, reorient, reorient_grid
from segflow.jobs.devices import choose_device
from segflow.models.cascade import transfer_cases
from segflow.models.prediction import load_predictor, predict_fold, prediction_keys
from segflow.models.preprocessing import preprocess_cases
from segflow.models.training import fold_folder
from segflow.predictors.ensembling import Member, ensemble_cases
from segflow.predictors.postprocessing import postprocess_cases

PROCEDURE = 2  # move it when segmentations would come out differently


@dataclass(frozen=True)
class Session:
    """What the segmentation of one folder of images works with.

    Parameters
    ----------
    results : Path
        Folder of the finished run.
    dataset, nnunet_name : str
        The data set and nnU-Net's name of it.
    folds : list of (int or str, ...)
        Trained folds. Of those that stand together the logits are averaged, as nnU-Net does; of
        these predictions the probabilities, as this run does.
    cases : list of Case
        The new images.
    work : Path
        Folder of intermediate files.
    device : torch.device
        Where to predict.
    threads, memory_mb : int, float
        What the job may use.
    """

    results: Path
    dataset: str
    nnunet_name: str
    folds: list[tuple[int | str, ...]]
    cases: list[Case]
    work: Path
    device: torch.device
    threads: int
    memory_mb: float

    @property
    def dataset_json(self) -> dict:
        """nnU-Net's description of the data set."""
        return read_own_json(self.results / "nnUNet_raw" / self.nnunet_name / "dataset.json")


def find_images(folder: Path, n_channels: int) -> list[SourceCase]:
    """Find new images: ``CASE_0000.nii.gz`` and so on, or one file ``CASE.nii.gz``.

    Parameters
    ----------
    folder : Path
        Folder of the images, in any format that `segflow.images.raw_files` reads; files of other
        formats are not looked at.
    n_channels : int
        Channels that each case must have; one file may hold several.

    Raises
    ------
    FileNotFoundError
        If there are no images, or a case lacks a channel.
    """
    number = r"_0000$" if n_channels == 1 else r"_\d{4}$"
    found: dict[str, dict[str, Path]] = {}
    for path in visible(folder):
        if suffix(path) in IMAGES:
            name = stem(path)
            found.setdefault(re.sub(number, "", name), {})[name] = path
    if not found:
        raise FileNotFoundError(f"{folder}: expected images CASE_0000{SUFFIX}, found none")
    for case, files in found.items():
        wanted = [f"{case}_{number:04d}" for number in range(n_channels)]
        if list(files) != wanted and list(files) != [case]:
            raise FileNotFoundError(f"{folder}: case {case!r} needs {wanted}, found {list(files)}")
    return [
        SourceCase(case, case, "test", tuple(files.values()), None) for case, files in found.items()
    ]


def predict_members(session: Session, model: str, weight: float) -> dict[str, list[Member]]:
    """Predict all cases with all folds of a model.

    Returns
    -------
    dict of str to list of (Path, float, str)
        For each case the predicted probabilities with their weights and keys.
    """
    plans = read_own_json(session.results / session.dataset / model / "plans.json")
    settings = plans["segflow"]
    manager = PlansManager(plans)
    configuration = settings["configuration"]
    data = session.work / "preprocessed" / manager.get_configuration(configuration).data_identifier
    preprocessed = preprocess_cases(
        session.cases,
        session.work / "raw",
        session.dataset_json,
        manager,
        configuration,
        data,
        session.threads,
        session.memory_mb,
    )
    previous, previous_keys = None, {}
    if settings["previous_model"]:
        earlier = settings["previous_model"]
        source = session.work / earlier / "label_maps"
        sources = combine(session, predict_members(session, earlier, 1.0), source)
        previous = session.work / model / "previous_stage"
        previous_keys = transfer_cases(
            sources, source, data, preprocessed, previous, manager, configuration, session.threads
        )
    members: dict[str, list[Member]] = {case.case: [] for case in session.cases}
    for folds in session.folds:
        trained = {
            fold: session.results / session.dataset / model / f"fold_{fold}" / "training.json"
            for fold in folds
        }
        manifests = [read_own_json(path) for path in trained.values()]
        keys = prediction_keys(plans, manifests, preprocessed, previous_keys)
        target = session.work / model / "_".join(("fold", *map(str, folds)))
        folder = fold_folder(session.results, session.nnunet_name, plans, folds[0]).parent
        load = partial(load_predictor, folder, trained, plans, session.device)
        predict_fold(load, keys, data, previous, target, session.threads)
        for case, key in keys.items():
            members[case].append((target / f"{case}.b2nd", weight, key))
    return members


def combine(session: Session, members: dict[str, list[Member]], target: Path) -> dict[str, str]:
    """Write the label maps of the members' mean probabilities; see `ensemble_cases`."""
    images = session.work / "raw" / "imagesTs"
    references = {case: images / f"{case}_0000{SUFFIX}" for case in members}
    order = session.dataset_json.get("regions_class_order")
    return ensemble_cases(members, references, target, order, session.threads)


def turn_back(cases: list[Case], folder: Path, keys: dict[str, str]) -> None:
    """Bring label maps whose flat axis became z back to the axes of their images."""
    ledger = Ledger(folder)
    for case in cases:
        path = folder / f"{case.case}{SUFFIX}"
        found = orientation_of(read_grid(path))
        if found != case.orientation:
            label_map, grid = read_labels(path)
            turned = np.ascontiguousarray(reorient(label_map, found, case.orientation))
            write_image(path, turned, reorient_grid(grid, case.orientation))
            ledger.enter(case.case, keys[case.case], [path])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every segmentation of new images has."""
    parser.add_argument("--images", type=Path, required=True, help="folder of new images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gpu-share", type=int, default=1, help="such jobs that fit on a GPU")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--memory-mb", type=float, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="table to write")


def segment(
    options: argparse.Namespace,
    work: Path,
    results: Path,
    dataset: str,
    nnunet_name: str,
    members: list[str],
    folds: list[tuple[int | str, ...]],
    postprocessing: Path,
) -> None:
    """Segment a folder of images, once nobody else may write to the folder or use the GPU.

    Parameters
    ----------
    options : Namespace
        See `add_options`.
    work : Path
        Folder of intermediate files; removed at the end.
    results : Path
        Folder of the finished run.
    dataset, nnunet_name : str
        The data set and nnU-Net's name of it.
    members : list of str
        ``MODEL:WEIGHT`` of each model.
    folds : list of (int or str, ...)
        Trained folds; see `Session`.
    postprocessing : Path
        The chosen steps of post-processing.
    """
    device = choose_device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    output = options.manifest.parent
    dataset_json = read_own_json(results / "nnUNet_raw" / nnunet_name / "dataset.json")
    n_channels = len(dataset_json["channel_names"])
    sources = find_images(options.images, n_channels)
    rules = dataset_json["reading"]
    target = Target(options.images, work / "raw", n_channels, frozenset({0}), rules)
    cases, problems, _ = convert_cases(sources, target, options.threads)
    raise_problems(problems, str(options.images))
    remove_other_cases(sources, "test", target)
    session = Session(
        results=results,
        dataset=dataset,
        nnunet_name=nnunet_name,
        folds=folds,
        cases=cases,
        work=work,
        device=device,
        threads=options.threads,
        memory_mb=options.memory_mb,
    )
    found: dict[str, list[Member]] = {case.case: [] for case in cases}
    for member in members:
        model, weight = member.rsplit(":", 1)
        for case, predicted in predict_members(session, model, float(weight)).items():
            found[case] += predicted
    keys = combine(session, found, work / "label_maps")
    choice = read_own_json(postprocessing)
    keys = postprocess_cases(keys, work / "label_maps", output, choice, options.threads)
    turn_back(cases, output, keys)
    shutil.rmtree(work)
    write_manifest(options.manifest, keys)
