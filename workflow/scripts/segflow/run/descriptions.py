"""Descriptions of data sets, models and published results: read, and checked as a schema cannot."""

import importlib
import re
from collections.abc import Iterable
from pathlib import Path

from jsonschema import Draft202012Validator

from segflow.datasets import converters
from segflow.files.labels import foreground, foreground_values, ignored_value
from segflow.models.augmentations import BUILT_IN, check_augmentation
from segflow.models.learning import check_training
from segflow.models.networks import (
    NETWORKS,
    NNUNET,
    check_network,
    check_patch,
    stages_of,
    tells_classes,
)
from segflow.run.schemas import PROJECT, check, read_yaml

BRAIN_LABELS = {"background": 0, "brain": 1}
CONVERTERS = Path(converters.__file__).parent


def description_names(kind: str) -> list[str]:
    """Return the names of all data sets, models or augmentations, whatever is in their files."""
    return sorted(_files(f"{kind}s"))


def load_descriptions(kind: str, names: Iterable[str] | None = None) -> dict[str, dict]:
    """Read descriptions of data sets or models, all of them without `names`.

    What is wrong in other files does not matter.

    Raises
    ------
    ValueError
        See `load_description`; or if two data sets have the same nnU-Net identifier.
    """
    names = description_names(kind) if names is None else names
    found = {name: load_description(kind, name) for name in names}
    owners: dict[int, str] = {}
    for name, value in found.items() if kind == "dataset" else ():
        if (owner := owners.setdefault(value["id"], name)) != name:
            raise ValueError(f"config/datasets/{name}.yaml: id {value['id']} is taken by {owner!r}")
    return found


def load_description(kind: str, name: str) -> dict:
    """Read the description of a data set or a model.

    Parameters
    ----------
    kind : {'dataset', 'model'}
        What to read: a file of ``config/datasets`` or ``config/models``.
    name : str
        Stem of the file, which is the name of what it describes.

    Raises
    ------
    ValueError
        If the file breaks its schema or contradicts itself.
    """
    where = f"config/{kind}s/{name}.yaml"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{where}: a name has lower-case letters, digits and '_' only")
    path = _files(f"{kind}s").get(name, Path(where))
    value = check(read_yaml(path, where), kind, where)
    if kind == "dataset":
        converters = sorted(path.stem for path in CONVERTERS.glob("[a-z]*.py"))
        if value["converter"] not in converters:
            raise ValueError(
                f"{where}: converter: unknown name {value['converter']!r}; known: "
                f"{', '.join(converters)}"
            )
        check_dataset(value, where)
    if kind == "model":
        check_model(value, where)
    return value


def _files(folder: str) -> dict[str, Path]:
    """Return the descriptions in a folder of ``config`` by name.

    Those below the working folder add to the project's own, and come before them.
    """
    places = (PROJECT / "config" / folder, Path("config", folder))
    return {path.stem: path for place in places for path in place.glob("*.yaml")}


def load_augmentation(name: str, key: str) -> dict:
    """Read an augmentation: a file of ``config/augmentations``.

    Parameters
    ----------
    name : str
        Stem of the file.
    key : str
        File and key that name it, for the message.

    Raises
    ------
    ValueError
        If there is none of this name, or the file breaks its schema or names unknown transforms.
    """
    where = f"config/augmentations/{name}.yaml"
    files = _files("augmentations")
    if name not in files:
        known = ", ".join([*BUILT_IN, *sorted(files)])
        raise ValueError(f"{key}: unknown name {name!r}; known: {known}")
    value = check(read_yaml(files[name], where), "augmentation", where)
    check_augmentation(value, where)
    return value


def load_published(datasets: Iterable[str]) -> dict[str, dict]:
    """Read the published results of these data sets; those without a file have none.

    Raises
    ------
    ValueError
        If a file of ``config/published`` breaks its schema.
    """
    files = _files("published")
    found = {}
    for name in datasets:
        if name in files:
            where = f"config/published/{name}.yaml"
            found[name] = check(read_yaml(files[name], where), "published", where)
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
    _check_task(dataset, where)
    _check_codes(dataset, where)


def _check_task(dataset: dict, where: str) -> None:
    """Refuse a data set of classification without classes, or whose reference is no brain."""
    made = "brain" in dataset["reading"]
    if (dataset.get("task") == "classification") != made:
        raise ValueError(
            f"{where}: task: classification and reading.brain go together, found "
            f"{dataset.get('task', 'segmentation')!r} {'with' if made else 'without'} it"
        )
    if not made:
        return
    if len(dataset.get("classes", [])) < 2:
        raise ValueError(
            f"{where}: classes: classification needs two or more, found "
            f"{dataset.get('classes', 'none')}"
        )
    if dataset.get("labels") != BRAIN_LABELS or len(dataset["channels"]) != 1:
        raise ValueError(
            f"{where}: reading.brain needs one channel and labels {BRAIN_LABELS}, found "
            f"{dataset['channels']} and {dataset.get('labels')}"
        )


def check_model(model: dict, where: str) -> None:
    """Check what a schema cannot, and fill in the options of the network and the augmentation."""
    network, overrides = model["network"], model["overrides"]
    network["options"] = check_network(network, model["configuration"], where)
    check_training(model["training"], where)
    if network["name"] != NNUNET and (wrong := {"base_features", "max_features"} & {*overrides}):
        raise ValueError(
            f"{where}: overrides.{min(wrong)} goes with network {NNUNET}; the features of "
            f"{network['name']} are in network.options"
        )
    _check_resize(model, where)
    if "head" in model and not stages_of(network["name"]):
        able = ", ".join([NNUNET, *sorted(name for name in NETWORKS if stages_of(name))])
        raise ValueError(
            f"{where}: head: {network['name']} has no encoder with stages; allowed are {able}"
        )
    _check_classifier(model, where)
    if "pretrained" in network and not Path(network["pretrained"]).is_file():
        raise FileNotFoundError(
            f"{where}: network.pretrained: {network['pretrained']}: no such file; weights are "
            "never downloaded"
        )
    name = model["training"]["augmentation"]
    if name not in BUILT_IN:
        found = load_augmentation(name, f"{where}: training.augmentation")
        model["augmentation"] = {key: value for key, value in found.items() if key != "title"}
        if "mixing" in found and model.keys() & {"head", "classifier"}:
            raise ValueError(
                f"{where}: training.augmentation: {name} mixes patches of several cases, whose "
                "classes may differ; a model that tells classes needs one without"
            )


def _check_classifier(model: dict, where: str) -> None:
    """Refuse classifiers that segment, and what belongs to segmentation of those that do not."""
    name = model["network"]["name"]
    if not tells_classes(name) and "classifier" in model:
        able = ", ".join(sorted(other for other in NETWORKS if tells_classes(other)))
        raise ValueError(f"{where}: classifier: {name} segments; allowed are {able}")
    if not tells_classes(name):
        return
    if "classifier" not in model:
        raise ValueError(
            f"{where}: network.name: {name} tells the class of a case and segments nothing; it "
            "needs the key classifier, which may be empty: {}"
        )
    if "loss" in model["training"] or model["training"]["select_by"] != "dice":
        key = "loss" if "loss" in model["training"] else "select_by"
        raise ValueError(f"{where}: training.{key} is of segmentation, but {name} tells classes")


def _check_resize(model: dict, where: str) -> None:
    """Refuse a size of another dimension than the images of the model's configuration."""
    resize = model["planning"].get("resize")
    needed = {"2d": 2, "3d_fullres": 3}.get(model["configuration"], 0)
    if resize is not None and len(resize) != needed:
        raise ValueError(
            f"{where}: planning.resize: needs two numbers for configuration 2d or three for "
            f"3d_fullres, found {resize} for {model['configuration']}"
        )
    if resize is not None and "spacing_mm" in model["planning"]:
        raise ValueError(f"{where}: planning: resize and spacing_mm cannot both be")
    if resize is not None and model["network"]["name"] != NNUNET:
        what = f"{where}: planning.resize"
        check_patch(model["network"]["name"], model["network"]["options"], resize, what)


def _check_labels(dataset: dict, where: str) -> None:
    """Refuse labels with gaps, and regions without the order in which nnU-Net paints them."""
    values = foreground_values(dataset["labels"])
    if values != list(range(1, len(values) + 1)):
        raise ValueError(
            f"{where}: labels: values must be consecutive integers, found {values}; reading."
            "label_values brings others there"
        )
    ignored = ignored_value(dataset["labels"])
    if ignored not in (None, len(values) + 1):
        raise ValueError(
            f"{where}: labels.ignore: must be the highest value, {len(values) + 1}, found {ignored}"
        )
    _check_evaluated_regions(dataset, where)
    _check_lesions(dataset, where)
    regions = [value for value in dataset["labels"].values() if isinstance(value, list)]
    needed = len(foreground(dataset["labels"])) if regions else 0
    order = dataset.get("regions_class_order", [])
    if len(order) != needed:
        raise ValueError(
            f"{where}: regions_class_order: needs {needed} values, one for each label or region "
            f"but background and ignore (none if there are no regions), found {len(order)}"
        )


def _check_codes(dataset: dict, where: str) -> None:
    """Refuse codes of labels that are not declared."""
    known = list(foreground(dataset.get("labels", {})))
    for name in dataset["label_codes"]:
        if name not in known:
            raise ValueError(
                f"{where}: label_codes: no label {name!r} is declared; known: "
                f"{', '.join(known) or 'none'}"
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
    names = foreground(dataset["labels"]).keys() | regions.keys()
    if isinstance(tolerances, dict) and (wrong := sorted(tolerances.keys() ^ names)):
        raise ValueError(
            f"{where}: surface_tolerance_mm: needs one number, or one for each of "
            f"{', '.join(sorted(names))}; unknown or missing: {', '.join(wrong)}"
        )


def _check_lesions(dataset: dict, where: str) -> None:
    """Refuse lesions of labels that there are not, and overlaps that cannot be reached."""
    rule = dataset.get("lesions", {"labels": []})
    known = sorted(foreground(dataset["labels"]))
    for name in rule["labels"]:
        if name not in known:
            raise ValueError(
                f"{where}: lesions.labels: unknown name {name!r}; known: {', '.join(known)}"
            )
    if "froc" in dataset and not rule["labels"]:
        raise ValueError(f"{where}: froc: needs the key lesions, which says what is one")
    if rule.get("overlap") in ("iou", "dice") and rule["threshold"] > 1:
        raise ValueError(
            f"{where}: lesions.threshold: {rule['overlap']} is 1 at most, found {rule['threshold']}"
        )
