"""Any data set in the raw layout of nnU-Net.

``DatasetNNN_Name`` has the folders ``imagesTr`` and ``labelsTr``, perhaps ``imagesTs`` and
``labelsTs``, and ``dataset.json``, which says how files end. Channel 1 of a case is
``imagesTr/NAME_0001.nii.gz``, its label map ``labelsTr/NAME.nii.gz``. Where ``dataset.json`` has
the key ``dataset``, this lists the files of each training case instead.

`describe` reads names of channels and labels from ``dataset.json``, in the form of nnU-Net 2, and
in that of nnU-Net 1 and the Medical Segmentation Decathlon.
"""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.content import read_json
from segflow.files.labels import foreground
from segflow.files.suffixes import ending_with
from segflow.files.words import counted

OPTIONS: dict[str, dict] = {}
DESCRIPTION = "dataset.json"


def find_cases(raw: Path) -> Catalogue:
    """Return the training and test cases of the data set in `raw`.

    nnU-Net does not say which cases show the same patient: each case counts as one. Test cases
    may lack a reference.

    Raises
    ------
    FileNotFoundError
        If `raw` has no ``dataset.json`` or no training cases.
    """
    expected = f"{DESCRIPTION}, imagesTr and labelsTr of an nnU-Net data set"
    if not (raw / DESCRIPTION).is_file():
        raise no_cases(raw, expected)
    problems: list[Problem] = []
    try:
        channels = describe(raw)["channels"]
        settings = _settings(raw)
        ending = _ending(raw, settings)
    except ValueError as error:
        text = str(error).removeprefix(f"{raw / DESCRIPTION}: ")
        return Catalogue([], [Problem("", DESCRIPTION, "error", text, f"mend {DESCRIPTION}")])
    if "dataset" in settings:
        cases = _listed_cases(raw, settings["dataset"], channels, problems)
    else:
        cases = _named_cases(raw, "Tr", ending, channels, problems)
    if not cases and not problems:
        raise no_cases(raw, f"{expected} with files NAME_0000{ending}")
    return Catalogue(cases + _named_cases(raw, "Ts", ending, channels, problems), problems)


def describe(raw: Path) -> dict[str, Any]:
    """Return names of channels and labels as ``dataset.json`` gives them.

    Parameters
    ----------
    raw : Path
        Folder of an nnU-Net data set (of version 1 or 2) or of a task of the Decathlon.

    Returns
    -------
    dict
        ``channels``, a list of names; ``labels``, from name to value or, for a region, list of
        values; with regions also ``regions_class_order``. These are keys of the description of a
        data set. The label 0 is named ``background``, whatever the file calls it.

    Raises
    ------
    FileNotFoundError
        If there is no ``dataset.json``.
    ValueError
        If it is damaged or incomplete.
    """
    where = raw / DESCRIPTION
    settings = _settings(raw)
    channels = _channels(where, settings)
    labels = _labels(where, settings)
    described = {"channels": channels, "labels": labels}
    if any(isinstance(value, list) for value in labels.values()):
        order = _value(where, settings, "regions_class_order", list)
        if len(order) != len(foreground(labels)) or not all(type(value) is int for value in order):
            raise ValueError(
                f"{where}: regions_class_order: expected {len(foreground(labels))} whole numbers, "
                f"one for each label or region but background and ignore, found {order}"
            )
        described["regions_class_order"] = order
    return described


def _settings(raw: Path) -> dict[str, Any]:
    path = raw / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it names the channels and labels")
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: expected an object with keys, found {settings!r}")
    return settings


def _value(where: Path, settings: dict, key: str, kind: type) -> Any:
    if key not in settings:
        raise ValueError(f"{where}: the key {key!r} is missing, found {', '.join(settings)}")
    value = settings[key]
    if not isinstance(value, kind) or not value:
        wanted = {dict: "an object", list: "a list", str: "text"}[kind]
        raise ValueError(f"{where}: {key}: expected {wanted} that is not empty, found {value!r}")
    return value


def _ending(raw: Path, settings: dict[str, Any]) -> str:
    """Return how the names of images end; nnU-Net 1 knew one kind only."""
    if "modality" in settings and "file_ending" not in settings:
        return ".nii.gz"
    ending = _value(raw / DESCRIPTION, settings, "file_ending", str)
    if not re.fullmatch(r"(\.\w+)+", ending):
        allowed = "expected an ending with its dot, such as '.nii.gz'"
        raise ValueError(f"{raw / DESCRIPTION}: file_ending: {allowed}, found {ending!r}")
    return ending


def _channels(where: Path, settings: dict) -> list[str]:
    key = "modality" if "modality" in settings and "channel_names" not in settings else ""
    key = key or "channel_names"
    names = _value(where, settings, key, dict)
    if sorted(names) != sorted(str(number) for number in range(len(names))):
        raise ValueError(
            f"{where}: {key}: expected the keys 0 to {len(names) - 1}, found {', '.join(names)}"
        )
    return [str(names[str(number)]) for number in range(len(names))]


def _labels(where: Path, settings: dict) -> dict[str, int | list[int]]:
    """Return labels and regions by name; a region of one value is a label."""
    written = _value(where, settings, "labels", dict)
    if all(key.isdigit() for key in written):  # nnU-Net 1: from value to name
        pairs = [(str(name), int(value)) for value, name in written.items()]
    else:
        pairs = list(written.items())
    labels: dict[str, int | list[int]] = {}
    for name, value in pairs:
        values = [_number(one) for one in (value if isinstance(value, list) else [value])]
        if not values or None in values or (0 in values and len(values) > 1):
            raise ValueError(
                f"{where}: labels: {name}: expected a whole number, or a list of whole numbers "
                f"above 0, found {value!r}"
            )
        name = "background" if values == [0] else name
        if name in labels:
            raise ValueError(f"{where}: labels: {name!r} is there twice")
        labels[name] = values[0] if len(values) == 1 else values
    if labels.get("background") != 0 or not foreground(labels):
        raise ValueError(
            f"{where}: labels: expected the background with value 0 and at least one label, "
            f"found {written}"
        )
    return {"background": 0, **labels}


def _number(value: Any) -> int | None:
    """Return a value of a label map; nnU-Net reads numbers that are written as text, too."""
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _listed_cases(
    raw: Path, listed: Any, channels: list[str], problems: list[Problem]
) -> list[SourceCase]:
    """Return the training cases that ``dataset.json`` lists by their files."""
    mend = f"mend {DESCRIPTION}"
    if not isinstance(listed, dict) or not listed:
        text = "dataset: expected cases with their images and label"
        problems.append(Problem("", DESCRIPTION, "error", text, mend))
        return []
    cases = []
    for name, entry in listed.items():
        images = entry.get("images") if isinstance(entry, dict) else None
        label = entry.get("label") if isinstance(entry, dict) else None
        named = [*images, label] if isinstance(images, list) else [None]
        if not all(isinstance(file, str) for file in named):
            text = f"dataset: {name}: expected a list of images and a label, found {entry}"
            problems.append(Problem(name, DESCRIPTION, "error", text, mend))
            continue
        paths = [_listed_path(raw, file) for file in named]
        outside = [file for file, path in zip(named, paths, strict=True) if path is None]
        for file in outside:
            text, action = f"{file} lies outside the raw folder", "put it, or a link to it, inside"
            problems.append(Problem(name, DESCRIPTION, "error", text, action))
        if len(images) not in (1, len(channels)):
            text = f"{counted(len(images), 'image')} for {counted(len(channels), 'channel')}"
            problems.append(Problem(name, DESCRIPTION, "error", text, mend))
        elif not outside:
            *images, label = paths
            cases.append(SourceCase(name, name, "train", tuple(images), (label,)))
    return cases


def _listed_path(raw: Path, file: str) -> Path | None:
    """Return the path of a listed file, or None if it lies outside the raw folder.

    As nnU-Net does, variables of the environment are filled in.
    """
    path = Path(os.path.abspath(raw / os.path.expandvars(file)))
    root = Path(os.path.abspath(raw))
    return raw / path.relative_to(root) if path.is_relative_to(root) else None


def _named_cases(
    raw: Path, part: str, ending: str, channels: list[str], problems: list[Problem]
) -> list[SourceCase]:
    """Return the cases of ``imagesTr`` or ``imagesTs``, which go by the names of their files."""
    images, labels = f"images{part}", f"labels{part}"
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    unnamed = []
    for name, path in ending_with(raw / images, ending).items():
        match = re.fullmatch(r"(.+)_(\d{4})", name)
        if match:
            found[match[1]][int(match[2])] = path
        else:
            unnamed.append(path)
    if part == "Tr" and not found:
        return []
    for path in unnamed:
        text, action = "the name has no channel", f"rename it as NAME_0000{ending}"
        problems.append(Problem("", f"{images}/{path.name}", "error", text, action))
    references = ending_with(raw / labels, ending)
    for name in sorted(references.keys() - found.keys()):
        file = f"{labels}/{references[name].name}"
        problems.append(Problem(name, file, "error", f"has no partner in {images}", "add it"))
    cases = []
    for name, files in found.items():
        first = f"{images}/{min(files.values()).name}"
        if part == "Tr" and name not in references:
            problems.append(Problem(name, first, "error", f"has no partner in {labels}", "add it"))
        # One file may hold all channels, as a colour picture does.
        if set(files) != {0} and set(files) != set(range(len(channels))):
            numbers = ", ".join(f"{number:04d}" for number in sorted(files))
            text = f"found channels {numbers}, but {DESCRIPTION} names {len(channels)}"
            action = f"expected {', '.join(f'{n:04d} ({c})' for n, c in enumerate(channels))}"
            problems.append(Problem(name, first, "error", text, action))
            continue
        paths = tuple(files[number] for number in sorted(files))
        label = (references[name],) if name in references else None
        cases.append(SourceCase(name, name, "train" if part == "Tr" else "test", paths, label))
    return cases
