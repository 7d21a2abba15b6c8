"""What a predictor of a finished run says of new images: post-processed label maps, and classes."""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segflow.datasets import case_conversion
from segflow.datasets.conversion import convert_cases, remove_other_cases
from segflow.datasets.dataset_json import REORIENTING_READER
from segflow.datasets.problems import failed_cases, join_problems, raise_problems, write_problems
from segflow.datasets.reading import Target
from segflow.datasets.sources import Problem, SourceCase
from segflow.files.cases import Case
from segflow.files.code import module_key
from segflow.files.content import content_key, file_sha256, place_file, read_own_json
from segflow.files.ledger import Ledger
from segflow.files.manifests import CLASSIFIED
from segflow.files.words import counted
from segflow.images.nifti import SUFFIX, read_grid, read_labels, write_image
from segflow.images.orientation import orientation_of, reorient, reorient_grid
from segflow.jobs.devices import choose_device
from segflow.jobs.workers import count_workers, map_cases
from segflow.models import prediction, preprocessing
from segflow.models.cascade import transfer_cases
from segflow.models.nnunet import lean_imports
from segflow.models.planners import normalisation
from segflow.models.prediction import class_file, load_predictor, predict_fold, prediction_keys
from segflow.models.prediction_settings import NNUNET_SETTINGS
from segflow.models.preprocessing import preprocess_cases
from segflow.models.training import fold_folder
from segflow.predictors.classification import weigh, write_fold
from segflow.predictors.ensembling import Member, ensemble_cases
from segflow.predictors.findings import Findings, describe_case, write_tables
from segflow.predictors.new_images import find_images, unlike_training
from segflow.predictors.postprocessing import postprocess_cases
from segflow.predictors.training_ranges import differences, measure_image

with lean_imports():
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

PROCEDURE = 4  # move it when segmentations would come out differently
BYTES_PER_VOXEL = 40  # of describing a case: image, label map, and components of one label


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
    ranges : dict
        What the training cases were like; see `segflow.predictors.training_ranges`.
    codes : dict of str to dict
        Codes of labels; see `segflow.images.dicom_seg.segments_of`.
    prediction : dict
        What is done otherwise than the models' key ``prediction`` says.
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
    ranges: dict[str, Any]
    codes: dict[str, dict[str, str]]
    prediction: dict[str, Any]
    work: Path
    device: torch.device
    threads: int
    memory_mb: float

    @property
    def dataset_json(self) -> dict:
        """nnU-Net's description of the data set."""
        return read_own_json(self.results / "nnUNet_raw" / self.nnunet_name / "dataset.json")


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
    settings["prediction"] = NNUNET_SETTINGS | settings["prediction"] | session.prediction
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
    parser.add_argument(
        "--prediction", type=json.loads, default={}, help="ways to predict, as JSON"
    )
    parser.add_argument(
        "--go-on", action="store_true", help="segment the other images first where some are faulty"
    )


@dataclass(frozen=True)
class Predictor:
    """A finished predictor, of this run or from elsewhere.

    Parameters
    ----------
    results : Path
        Folder of its run.
    dataset, nnunet_name : str
        The data set and nnU-Net's name of it.
    members, folds
        See `Session`.
    steps : dict or None
        The chosen steps of post-processing; without it no label maps are written.
    classes : list of str
        The classes whose probabilities are wanted, if any.
    ranges, codes
        See `Session`.
    """

    results: Path
    dataset: str
    nnunet_name: str
    members: dict[str, float]
    folds: dict[str, list[tuple[int | str, ...]]]
    steps: dict | None
    classes: list[str]
    ranges: dict[str, Any]
    codes: dict[str, dict[str, str]]


def segment(options: argparse.Namespace, work: Path, predictor: Predictor) -> None:
    """Segment or classify images, once nobody else may write to the folder or use the GPU.

    Images that were done before in the same way stay as they are. Written are the label maps and
    what `segflow.predictors.findings` says of them, and `CLASSIFIED`, the probabilities of the
    classes of each image.

    Parameters
    ----------
    options : Namespace
        See `add_options`.
    work : Path
        Folder of intermediate files; removed at the end.
    predictor : Predictor
        What to do it with.

    Raises
    ------
    FileNotFoundError
        If there are no images.
    ValueError
        If something is wrong with images, before a network looks at any; ``problems.csv`` lists it.
        With ``--go-on`` the others are done, and nothing is raised.
    """
    device = choose_device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    output = options.output
    session = Session(
        results=predictor.results,
        dataset=predictor.dataset,
        nnunet_name=predictor.nnunet_name,
        members=predictor.members,
        maps=predictor.steps is not None,
        classes=predictor.classes,
        folds=predictor.folds,
        steps=predictor.steps or {"steps": []},
        ranges=predictor.ranges,
        codes=predictor.codes,
        prediction=options.prediction,
        work=work,
        device=device,
        threads=options.threads,
        memory_mb=options.memory_mb,
    )
    sources, problems = find_images(
        options.images, len(session.dataset_json["channel_names"]), output
    )
    request = request_key(session)
    keys = {source.case: _case_key(request, source) for source in sources}
    finished = Ledger(output)
    finished.prune({*keys, *(problem.case for problem in problems)})
    waiting = finished.waiting(keys)
    n_images = len({*keys, *failed_cases(problems)})
    word = "segmented" if session.maps else "classified"
    print(f"predict: {len(keys) - len(waiting)} of {n_images} images are {word}", flush=True)
    chosen = [source for source in sources if source.case in waiting]
    cases, found = _convert(session, options.images, chosen)
    problems = join_problems([*problems, *found])
    stopped = bool(failed_cases(problems)) and not options.go_on
    if cases and not stopped:
        found = _measure(session, cases, problems)
        told = _predict(session, cases)
        for case, files, facts in _describe(session, chosen, found, output):
            finished.enter(case, keys[case], files, classes=told.get(case, []), **facts)
    if not stopped:
        shutil.rmtree(work, ignore_errors=True)  # it is not there if nothing had to be done
    facts = {case: finished.find(case, key) for case, key in keys.items()}
    done = {case: one for case, one in facts.items() if one is not None}
    if not session.maps:  # which have a column for them
        problems += [
            Problem(case, "", "note", text, "classified all the same")
            for case, one in sorted(done.items())
            for text in one["warnings"]
        ]
    write_problems(output / "problems.csv", problems)
    if session.maps:
        write_tables(output, {case: keys[case] for case in done}, done)
    if session.classes:
        probabilities = {case: np.array(one["classes"]) for case, one in done.items()}
        write_fold(output / CLASSIFIED, probabilities, session.classes)
    summary = f"{options.images}: {len(done)} of {counted(n_images, 'image')} {word}"
    print(summary, flush=True)
    if not options.go_on:  # else another job fails at the end, so that the tables of this one stay
        advice = "new_images.faulty: go_on does the others first"
        raise_problems(problems, summary, str(output / "problems.csv"), advice)


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
        *(module.PROCEDURE for module in (case_conversion, preprocessing, prediction)),
        module_key("predictors.steps"),
        models,
        session.folds,
        session.steps["steps"],
        described["labels"],  # with their names, which tables, previews and segments show
        session.codes,
        session.prediction,
        session.ranges,
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


def _convert(
    session: Session, images: Path, sources: list[SourceCase]
) -> tuple[list[Case], list[Problem]]:
    """Read images and bring them into nnU-Net's raw layout; return cases and problems."""
    if not sources:
        return [], []
    described = session.dataset_json
    n_channels = len(described["channel_names"])
    reading = described["reading"]
    if "brain" in reading:  # nobody's scan is left out without an error
        reading = reading | {"brain": reading["brain"] | {"failed": "error"}}
    target = Target(images, session.work / "raw", n_channels, frozenset({0}), reading)
    cases, problems, _ = convert_cases(sources, target, session.threads)
    remove_other_cases(sources, "test", target)
    problems += unlike_training(cases, described, _configurations(session))
    return [case for case in cases if case.case not in failed_cases(problems)], problems


def _converted_files(session: Session, case: str) -> list[Path]:
    """Return the converted image of a case, one file for each channel."""
    n_channels = len(session.dataset_json["channel_names"])
    folder = session.work / "raw/imagesTs"
    return [folder / f"{case}_{number:04d}{SUFFIX}" for number in range(n_channels)]


def _measure(
    session: Session, cases: list[Case], problems: list[Problem]
) -> dict[str, dict[str, Any]]:
    """Return what each image is like, and its ``warnings``, which are printed, too."""
    reader = session.dataset_json.get("overwrite_image_reader_writer")
    items = {case.case: _converted_files(session, case.case) for case in cases}
    largest = max(case.n_voxels for case in cases) * BYTES_PER_VOXEL / 1e6
    workers = count_workers(session.threads, session.memory_mb, largest, len(cases))
    measure = partial(_measure_case, reoriented=reader == REORIENTING_READER)
    found = {}
    for (case, _), measured in map_cases(measure, list(items.items()), workers, "compare"):
        said = [f"{one.problem}: {one.action}" for one in problems if one.case == case]
        warnings = [*differences(measured, session.ranges), *said]
        for warning in warnings:
            print(f"warning: {case}: {warning}", file=sys.stderr, flush=True)
        found[case] = measured | {"warnings": warnings}
    return found


def _measure_case(item: tuple[str, list[Path]], reoriented: bool) -> dict[str, Any]:
    return measure_image(item[1], reoriented)


def _predict(session: Session, cases: list[Case]) -> dict[str, list[float]]:
    """Segment images into ``segmented`` of the work folder.

    Returns
    -------
    dict of str to list of float
        Probabilities of the classes of each image, if they are wanted.
    """
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
    return mean_classes(session, telling) if session.classes else {}


def _describe(
    session: Session, sources: list[SourceCase], found: dict[str, dict[str, Any]], output: Path
) -> Iterator[tuple[str, list[Path], dict[str, Any]]]:
    """Put the label maps where they belong and yield case, files and facts of each."""
    if not session.maps:
        yield from ((case, [], {"warnings": one["warnings"]}) for case, one in found.items())
        return
    described = session.dataset_json
    items = []
    largest = 0.0
    for source in sources:
        if source.case not in found:
            continue
        files = _converted_files(session, source.case)
        placed = output / f"{source.case}{SUFFIX}"
        place_file(session.work / "segmented" / placed.name, placed)
        largest = max(largest, float(np.prod(read_grid(files[0]).shape)))
        items.append(
            Findings(
                case=source.case,
                label_map=placed,
                image=files[0],
                source=source.images[0],
                measured=found[source.case],
            )
        )
    channel = str(next(iter(described["channel_names"].values())))
    work = partial(
        describe_case,
        labels=described["labels"],
        codes=session.codes,
        ct=normalisation(channel) == "ct",
    )
    megabytes = largest * BYTES_PER_VOXEL / 1e6
    workers = count_workers(session.threads, session.memory_mb, megabytes, len(items))
    for item, (files, facts) in map_cases(work, items, workers, "describe"):
        yield item.case, files, facts
