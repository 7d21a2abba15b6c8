"""Descriptions of data sets, models and published results: read, and checked as a schema cannot."""

import importlib
import re
from collections.abc import Iterable
from pathlib import Path

from jsonschema import Draft202012Validator

from segflow.datasets import converters
from segflow.files.labels import foreground_values
from segflow.run.schemas import PROJECT, check, read_yaml

CONVERTERS = Path(converters.__file__).parent


def load_descriptions(kind: str) -> dict[str, dict]:
    """Read every description of a data set or a model.

    Parameters
    ----------
    kind : {'dataset', 'model'}
        What to read: the files of ``config/datasets`` or ``config/models``. The stem of a file
        is the name of what it describes.

    Raises
    ------
    ValueError
        If a file breaks its schema, or two data sets have the same nnU-Net identifier.
    """
    descriptions: dict[str, dict] = {}
    owners: dict[int, str] = {}
    for path in sorted((PROJECT / "config" / f"{kind}s").glob("*.yaml")):
        where = f"config/{kind}s/{path.name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem):
            raise ValueError(f"{where}: a name has lower-case letters, digits and '_' only")
        value = check(read_yaml(path, where), kind, where)
        if kind == "dataset":
            owner = owners.setdefault(value["id"], path.stem)
            if owner != path.stem:
                raise ValueError(f"{where}: id {value['id']} is taken by {owner!r}")
            converters = sorted(path.stem for path in CONVERTERS.glob("[a-z]*.py"))
            if value["converter"] not in converters:
                raise ValueError(
                    f"{where}: converter: unknown name {value['converter']!r}; known: "
                    f"{', '.join(converters)}"
                )
            check_dataset(value, where)
        descriptions[path.stem] = value
    return descriptions


def load_published(datasets: Iterable[str]) -> dict[str, dict]:
    """Read the published results of these data sets; those without a file have none.

    Raises
    ------
    ValueError
        If a file of ``config/published`` breaks its schema.
    """
    found = {}
    for name in datasets:
        path = PROJECT / "config" / "published" / f"{name}.yaml"
        if path.exists():
            where = f"config/published/{path.name}"
            found[name] = check(read_yaml(path, where), "published", where)
    return found


def check_dataset(dataset: dict, where: str) -> None:
    """Check what a schema cannot: options of the converter, patients, and keys that go together."""
    converter = importlib.import_module(f"segflow.datasets.converters.{dataset['converter']}")
    schema = {"properties": converter.OPTIONS, "additionalProperties": False}
    problems = [
        f"options: {'.'.join(map(str, error.absolute_path))} {error.message}".replace("  ", " ")
        for error in Draft202012Validator(schema).iter_errors(dataset["options"])
    ]
    rule = dataset.get("patient", "(.*)")
    try:
        if rule != "dicom" and re.compile(rule).groups != 1:
            problems.append(f"patient: {rule!r} needs one group in parentheses")
    except re.error as error:
        problems.append(f"patient: {rule!r} is no regular expression ({error})")
    if rule == "dicom" and not dataset["pseudonyms"]:
        problems.append("patient: dicom needs pseudonyms: true")
    contours = dataset["reading"]["contours"]
    if dataset["options"].get("rois", contours) != contours:
        problems.append(f"options: rois must be those of reading.contours, {contours}")
    if not hasattr(converter, "describe"):
        problems += [f"{key}: is required" for key in ("channels",) if key not in dataset]
    if problems:
        raise ValueError(f"{where}: " + "; ".join(sorted(problems)))
    values = dataset["reading"]["label_values"]  # YAML reads its keys as numbers
    dataset["reading"]["label_values"] = {str(key): value for key, value in values.items()}
    if "labels" in dataset:
        _check_labels(dataset, where)


def _check_labels(dataset: dict, where: str) -> None:
    """Refuse labels with gaps, and regions without the order in which nnU-Net paints them."""
    values = foreground_values(dataset["labels"])
    if values != list(range(1, len(values) + 1)):
        raise ValueError(
            f"{where}: labels: values must be consecutive integers, found {values}; reading."
            "label_values brings others there"
        )
    _check_evaluated_regions(dataset, where)
    _check_lesions(dataset, where)
    regions = [value for value in dataset["labels"].values() if isinstance(value, list)]
    needed = len(dataset["labels"]) - 1 if regions else 0
    order = dataset.get("regions_class_order", [])
    if len(order) != needed:
        raise ValueError(
            f"{where}: regions_class_order: needs {needed} values, one for each label or region "
            f"but the background (none if there are no regions), found {len(order)}"
        )


def _check_evaluated_regions(dataset: dict, where: str) -> None:
    """Refuse regions that are labels already or hold unknown values, and lacking tolerances."""
    regions = dataset["evaluated_regions"]
    if doubled := sorted(regions.keys() & dataset["labels"].keys()):
        raise ValueError(f"{where}: evaluated_regions: {doubled[0]!r} is one of the labels, too")
    values = foreground_values(dataset["labels"])
    for name, wanted in regions.items():
        if unknown := sorted(set(wanted) - set(values)):
            raise ValueError(
                f"{where}: evaluated_regions.{name}: labels have the values {values}, "
                f"found {unknown}"
            )
    tolerances = dataset.get("surface_tolerance_mm")
    names = (dataset["labels"].keys() | regions.keys()) - {"background"}
    if isinstance(tolerances, dict) and (wrong := sorted(tolerances.keys() ^ names)):
        raise ValueError(
            f"{where}: surface_tolerance_mm: needs one number, or one for each of "
            f"{', '.join(sorted(names))}; unknown or missing: {', '.join(wrong)}"
        )


def _check_lesions(dataset: dict, where: str) -> None:
    """Refuse lesions of labels that there are not, and overlaps that cannot be reached."""
    rule = dataset.get("lesions", {"labels": []})
    known = sorted(dataset["labels"].keys() - {"background"})
    for name in rule["labels"]:
        if name not in known:
            raise ValueError(
                f"{where}: lesions.labels: unknown name {name!r}; known: {', '.join(known)}"
            )
    if rule.get("overlap") in ("iou", "dice") and rule["threshold"] > 1:
        raise ValueError(
            f"{where}: lesions.threshold: {rule['overlap']} is 1 at most, found {rule['threshold']}"
        )
