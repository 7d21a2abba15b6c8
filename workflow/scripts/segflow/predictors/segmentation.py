"""What a predictor of a finished run says of new images: post-processed label maps, and classes."""

import argparse
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from segflow.datasets import conversion
from segflow.datasets.conversion import (
    convert_cases,
    remove_other_cases,
)
from segflow.datasets.problems import failed_cases, join_problems, raise_problems, write_problems
from segflow.datasets.reading import Target
from segflow.datasets.sources import Problem, SourceCase
from segflow.files.cases import Case
from segflow.files.code import module_key
from segflow.files.content import content_key, file_sha256, place_file, read_own_json
from segflow.files.folders import visible
from segflow.files.labels import label_values
from segflow.files.ledger import Ledger
from segflow.files.manifests import CLASSIFIED, SEGMENTED, write_manifest
from segflow.files.suffixes import IMAGES, stem, suffix
from segflow.files.words import counted
from segflow.images.dicom import is_dicom
from segflow.images.nifti import SUFFIX, read_grid, read_labels, write_image
from segflow.images.orientation import orientation_of, reorient, reorient_grid
from segflow.images.raw_files import knows_its_grid
from segflow.jobs.devices import choose_device
from segflow.models import prediction, preprocessing
from segflow.models.cascade import transfer_cases
from segflow.models.nnunet import lean_imports
from segflow.models.prediction import class_file, load_predictor, predict_fold, prediction_keys
from segflow.models.preprocessing import preprocess_cases
from segflow.models.training import fold_folder
from segflow.predictors.classification import weigh, write_fold
from segflow.predictors.ensembling import Member, ensemble_cases
from segflow.predictors.postprocessing import postprocess_cases

with lean_imports():
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

PROCEDURE = 3  # move it when segmentations would come out differently


@dataclass(frozen=True)
class Session:
    """What the segmentation of one folder of images works with.

    Parameters
    ----------
    results : Path
        Folder of the finished run.
    dataset, nnunet_name : str
        The data set and nnU-Net's name of it.
    members : dict of str to float
        Weight of each model.
    maps, classes : bool, list of str
        Whether label maps are wanted, and the classes of which probabilities are, if any.
    folds : dict of str to list of (int or str, ...)
        Trained folds of each model, previous ones of cascades included. Of those that stand
        together the logits are averaged, as nnU-Net does; of these predictions the
        probabilities, as this run does.
    steps : dict
        What the search for post-processing chose.
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
    members: dict[str, float]
    maps: bool
    classes: list[str]
    folds: dict[str, list[tuple[int | str, ...]]]
    steps: dict
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
        Folder of the images, in any format that `segflow.images.raw_files` reads, or of folders
        with one DICOM series each. What is not looked at is printed.
    n_channels : int
        Channels that each case must have; one file may hold several.

    Raises
    ------
    FileNotFoundError
        If there are no images, or a case lacks a channel.
    """
    number = r"_0000$" if n_channels == 1 else r"_\d{4}$"
    found: dict[str, dict[str, Path]] = {}
    others = []
    for path in visible(folder):
        if is_dicom(path) if path.is_dir() else suffix(path) in IMAGES:
            name = path.name if path.is_dir() else stem(path)
            found.setdefault(re.sub(number, "", name), {})[name] = path
        else:
            others.append(path.name)
    if others:
        print(f"{folder}: not looked at: {', '.join(others)}", file=sys.stderr)
    if not found:
        raise FileNotFoundError(f"{folder}: expected images CASE_0000{SUFFIX}, found none")
    for case, files in found.items():
        wanted = [f"{case}_{number:04d}" for number in range(n_channels)]
        if list(files) != wanted and list(files) != [case]:
            raise FileNotFoundError(f"{folder}: case {case!r} needs {wanted}, found {list(files)}")
    return [
        SourceCase(case, case, "test", tuple(files.values()), None) for case, files in found.items()
    ]


def unlike_training(
    cases: list[Case], dataset_json: dict, configurations: Iterable[str]
) -> list[Problem]:
    """Report images of another dimension, or without a grid where those of the training have one.

    nnU-Net would stretch a picture to hundreds of slices.

    Parameters
    ----------
    cases : list of Case
        The converted images.
    dataset_json : dict
        nnU-Net's description of the data set; one from elsewhere tells no dimensions and formats.
    configurations : iterable of str
        Configurations of the networks.
    """
    solid = any(name.startswith("3d") for name in configurations)
    dimensions = dataset_json.get("dimensions", [3] if solid else [2, 3])
    formats = [Path(f"image{ending}") for ending in dataset_json.get("formats", [])]
    placed = bool(formats) and all(map(knows_its_grid, formats))
    stated = "spacing_mm" in dataset_json["reading"]
    problems = []
    for case in cases:
        dimension = 3 if case.orientation else 2
        texts = []
        if dimension not in dimensions:
            texts.append(f"is {dimension}D, but the network learned from {dimensions[0]}D images")
        if (
            placed
            and not stated
            and not all(map(knows_its_grid, map(Path, case.images.split(";"))))
        ):
            texts.append("knows no spacing, as the images of the training do")
        action = "segment images like those of the training"
        problems += [Problem(case.case, case.images, "error", text, action) for text in texts]
    return problems


def predict_members(
    session: Session, cases: list[Case], model: str
) -> dict[str, list[tuple[Path, str]]]:
    """Predict cases with all folds of a model.

    Returns
    -------
    dict of str to list of (Path, str)
        For each case the folders of the predicted probabilities, with their keys.
    """
    plans = read_own_json(_folder(session, model) / "plans.json")
    settings = plans["segflow"]
    manager = PlansManager(plans)
    configuration = settings["configuration"]
    data = session.work / "preprocessed" / manager.get_configuration(configuration).data_identifier
    preprocessed = preprocess_cases(
        cases,
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
        sources = combine(session, {earlier: predict_members(session, cases, earlier)}, source)
        previous = session.work / model / "previous_stage"
        previous_keys = transfer_cases(
            sources, source, data, preprocessed, previous, manager, configuration, session.threads
        )
    members: dict[str, list[tuple[Path, str]]] = {case.case: [] for case in cases}
    for folds in session.folds[model]:
        trained = {
            fold: _folder(session, model) / f"fold_{fold}" / "training.json" for fold in folds
        }
        manifests = [read_own_json(path) for path in trained.values()]
        keys = prediction_keys(plans, manifests, preprocessed, previous_keys)
        target = session.work / model / "_".join(("fold", *map(str, folds)))
        folder = fold_folder(session.results, session.nnunet_name, plans, folds[0]).parent
        load = partial(load_predictor, folder, trained, plans, session.device)
        predict_fold(load, keys, data, previous, target, session.threads)
        for case, key in keys.items():
            members[case].append((target, key))
    return members


def combine(
    session: Session, predicted: dict[str, dict[str, list[tuple[Path, str]]]], target: Path
) -> dict[str, str]:
    """Write the label maps of the mean probabilities of models; see `ensemble_cases`.

    `predicted` holds what each model predicted; see `predict_members`.
    """
    members: dict[str, list[Member]] = {}
    for model, cases in predicted.items():
        weight = session.members.get(model, 1.0)  # a previous model stands alone
        for case, folds in cases.items():
            own = [(folder / f"{case}.b2nd", weight, key) for folder, key in folds]
            members.setdefault(case, []).extend(own)
    images = session.work / "raw" / "imagesTs"
    references = {case: images / f"{case}_0000{SUFFIX}" for case in members}
    order = session.dataset_json.get("regions_class_order")
    return ensemble_cases(members, references, target, order, session.threads)


def mean_classes(
    session: Session, predicted: dict[str, dict[str, list[tuple[Path, str]]]]
) -> dict[str, list[float]]:
    """Return the mean probabilities of classes of each case, of what each model predicted."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for model, cases in predicted.items():
        for case, folds in cases.items():
            told = [np.array(read_own_json(class_file(folder, case))) for folder, _ in folds]
            found.setdefault(case, {})[model] = told
    return {case: weigh(members, session.members).tolist() for case, members in found.items()}


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
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")


def segment(
    options: argparse.Namespace,
    work: Path,
    results: Path,
    dataset: str,
    nnunet_name: str,
    members: dict[str, float],
    folds: dict[str, list[tuple[int | str, ...]]],
    postprocessing: Path | None,
    classes: list[str],
) -> None:
    """Segment or classify images, once nobody else may write to the folder or use the GPU.

    Images that were done before in the same way stay as they are. Written are the label maps and
    `SEGMENTED`, a table of them, and `CLASSIFIED`, the probabilities of the classes of each image.

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
    members, folds
        See `Session`.
    postprocessing : Path or None
        The chosen steps of post-processing; without it no label maps are written.
    classes : list of str
        The classes whose probabilities are wanted, if any.

    Raises
    ------
    ValueError
        At the end, if images could not be read: the others are segmented, ``problems.csv``
        lists them.
    """
    device = choose_device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    output = options.output
    session = Session(
        results=results,
        dataset=dataset,
        nnunet_name=nnunet_name,
        members=members,
        maps=postprocessing is not None,
        classes=classes,
        folds=folds,
        steps=read_own_json(postprocessing) if postprocessing else {"steps": []},
        work=work,
        device=device,
        threads=options.threads,
        memory_mb=options.memory_mb,
    )
    sources = find_images(options.images, len(session.dataset_json["channel_names"]))
    request = request_key(session)
    keys = {source.case: _case_key(request, source) for source in sources}
    finished = Ledger(output)
    finished.prune(keys)
    waiting = finished.waiting(keys)
    word = "segmented" if session.maps else "classified"
    print(f"predict: {len(keys) - len(waiting)} of {len(keys)} images are {word}", flush=True)
    chosen = [source for source in sources if source.case in waiting]
    problems, told = _predict_waiting(session, options.images, chosen)
    for case in sorted(set(waiting) - failed_cases(problems)):
        paths = [output / f"{case}{SUFFIX}"] if session.maps else []
        for path in paths:
            place_file(work / "segmented" / path.name, path)
        finished.enter(case, keys[case], paths, classes=told.get(case, []))
    shutil.rmtree(work, ignore_errors=True)  # it is not there if nothing had to be done
    write_problems(output / "problems.csv", join_problems(problems))
    for case in failed_cases(problems):
        del keys[case]
    if session.maps:
        write_manifest(output / SEGMENTED, keys)
    if classes:
        facts = {case: finished.find(case, key) or {} for case, key in keys.items()}
        probabilities = {case: np.array(found["classes"]) for case, found in facts.items()}
        write_fold(output / CLASSIFIED, probabilities, classes)
    done = f"{options.images}: {len(keys)} of {counted(len(sources), 'image')} {word}"
    raise_problems(problems, done, str(output / "problems.csv"))


def request_key(session: Session) -> str:
    """Return a key of everything but the image that a segmentation is made from."""
    described = session.dataset_json
    models = []
    for model, weight in session.members.items():
        while model:
            folder = _folder(session, model)
            plans = read_own_json(folder / "plans.json")
            trained = [
                read_own_json(folder / f"fold_{fold}/training.json")["checkpoints"]
                for folds in session.folds[model]
                for fold in folds
            ]
            models.append((plans, trained, weight))
            model = plans["segflow"]["previous_model"]  # of a cascade
    return content_key(
        PROCEDURE,
        *(module.PROCEDURE for module in (conversion, preprocessing, prediction)),
        module_key("predictors.steps"),
        models,
        session.folds,
        session.steps["steps"],
        label_values(described["labels"]),
        described.get("regions_class_order"),
        described["reading"],
        *session.classes,
    )


def _folder(session: Session, model: str) -> Path:
    """Return the folder of a model's plans and trainings."""
    return session.results / session.dataset / model


def _configurations(session: Session) -> list[str]:
    """Return the configuration of each model."""
    plans = [read_own_json(_folder(session, model) / "plans.json") for model in session.members]
    return [one["segflow"]["configuration"] for one in plans]


def _case_key(request: str, source: SourceCase) -> str:
    """Return a key of a segmentation; of an image that cannot be read, one of its name."""
    try:
        return content_key(request, [file_sha256(path) for path in source.image_files])
    except OSError:
        return content_key(request, source.case)


def _predict_waiting(
    session: Session, images: Path, sources: list[SourceCase]
) -> tuple[list[Problem], dict[str, list[float]]]:
    """Segment images into ``segmented`` of the work folder.

    Returns
    -------
    list of Problem
        What was wrong with images that could not be read.
    dict of str to list of float
        Probabilities of the classes of each image, if they are wanted.
    """
    if not sources:
        return [], {}
    described = session.dataset_json
    n_channels = len(described["channel_names"])
    reading = described["reading"]
    if "brain" in reading:  # nobody's scan is left out without an error
        reading = reading | {"brain": reading["brain"] | {"failed": "error"}}
    target = Target(images, session.work / "raw", n_channels, frozenset({0}), reading)
    cases, problems, _ = convert_cases(sources, target, session.threads)
    remove_other_cases(sources, "test", target)
    problems += unlike_training(cases, described, _configurations(session))
    cases = [case for case in cases if case.case not in failed_cases(problems)]
    if not cases:
        return problems, {}
    found = {model: predict_members(session, cases, model) for model in session.members}
    plans = {model: read_own_json(_folder(session, model) / "plans.json") for model in found}
    settings = {model: one["segflow"] for model, one in plans.items()}
    if session.maps:
        maps, segmented = session.work / "label_maps", session.work / "segmented"
        segmenting = {name: found[name] for name in found if "classifier" not in settings[name]}
        keys = combine(session, segmenting, maps)
        keys = postprocess_cases(keys, maps, segmented, session.steps, session.threads)
        turn_back(cases, segmented, keys)
    telling = {name: found[name] for name in found if {"head", "classifier"} & {*settings[name]}}
    return problems, mean_classes(session, telling) if session.classes else {}
