"""Zip archives of trained networks: of nnU-Net, from elsewhere, and exported predictors."""

import re
from pathlib import Path
from typing import Any

from segflow.datasets.dataset_json import AS_STORED, READER, REORIENTING_READER
from segflow.files.content import file_sha256, read_json, write_json
from segflow.images.nifti import SUFFIX
from segflow.models.checkpoints import FINAL
from segflow.models.prediction_settings import NNUNET_SETTINGS
from segflow.models.training import fold_folder
from segflow.models.trust import check_architecture, load_checkpoint, unpack_archive
from segflow.predictors.export_format import FOLDER, read_description
from segflow.predictors.exports import exported_name
from segflow.predictors.segmentation import Predictor
from segflow.predictors.training_ranges import ranges_of_fingerprint

PROCEDURE = 3  # move it when segmentations would come out differently
NAME = "foreign"  # of the data set and of the model, in folders that are removed at the end
NNUNET_NAME = "Dataset001_foreign"
FINGERPRINT = "dataset_fingerprint.json"
# DATASET/TRAINER__PLANS__CONFIGURATION/..., as nnUNetv2_export_model_to_zip writes it.
MEMBER = re.compile(
    r"[^/]+/(?P<model>[^/]+__[^/]+__[^/]+)/"
    rf"(?:plans\.json|dataset\.json|dataset_fingerprint\.json|fold_(?:\d+|all)/{re.escape(FINAL)})"
)


def install(archive: Path, configuration: str, reading: dict, results: Path) -> Predictor:
    """Unpack a model, or a predictor that this project exported, as of a finished run.

    Of an exported predictor `configuration` may single out one model, which then is one as any
    other from elsewhere: read in the same way as they are, without post-processing.

    Parameters
    ----------
    archive : Path
        Zip archive of a trained model.
    configuration : str
        Which of the archive's configurations to use; may be empty if there is one.
    reading : dict
        How the images are read; see `segflow.images.raw_files`.
    results : Path
        Folder of the run to be; what is in it is replaced.

    Returns
    -------
    Predictor
        Its one member has all trained folds; ``all``, a network of all cases, only if there is no
        other.

    Raises
    ------
    ValueError
        If the archive holds no such model, a cascade, or anything that could do harm; see
        `segflow.models.trust`.
    """
    unpacked = results / "unpacked"
    described = None if configuration else read_description(archive)
    if described is not None:
        return _install_exported(archive, described, unpacked, results)
    found: dict[str, list[Path]] = {}
    for path in unpack_archive(archive, unpacked, lambda name: bool(MEMBER.fullmatch(name))):
        match = MEMBER.fullmatch(path.relative_to(unpacked).as_posix())
        found.setdefault(match["model"], []).append(path)
    chosen = [name for name in found if not configuration or name.endswith(f"__{configuration}")]
    if len(chosen) != 1:
        raise ValueError(
            f"{archive}: new_images.configuration must single out one of its models "
            f"{sorted(found)}, found {configuration!r}"
        )
    (model,) = chosen
    wanted = model.rpartition("__")[2]
    files = {path.name: path for path in found[model] if path.suffix == ".json"}
    checkpoints = sorted(path for path in found[model] if path.name == FINAL)
    if len(checkpoints) > 1:  # nnU-Net, too, takes the network of all cases only alone
        checkpoints = [path for path in checkpoints if path.parent.name != "fold_all"]
    names = [*files, *(path.name for path in checkpoints)]
    if missing := sorted({"plans.json", "dataset.json", FINAL}.difference(names)):
        raise ValueError(f"{archive}: {model} has no {' and no '.join(missing)}")
    plans, dataset_json = (read_json(files[name]) for name in ("plans.json", "dataset.json"))
    check_architecture(plans, files["plans.json"])
    if "cascade" in wanted or plans["configurations"][wanted].get("previous_stage"):
        raise ValueError(f"{archive}: {model} is the second stage of a cascade, which is not read")

    # Readers of one kind give the same array of what conversion writes.
    reorients = "Reorient" in plans.get("image_reader_writer", "")
    reader = REORIENTING_READER if reorients else READER
    plans["image_reader_writer"] = reader
    plans["plans_name"] = NAME
    plans["segflow"] = {
        "model": NAME,
        "configuration": wanted,
        "previous_model": None,
        "prediction": NNUNET_SETTINGS,
    }
    write_json(results / NAME / NAME / "plans.json", plans)
    dataset_json |= {
        "channel_names": dataset_json.get("channel_names") or dataset_json["modality"],
        "file_ending": SUFFIX,
        "overwrite_image_reader_writer": reader,
        "reading": reading | {"orientation": AS_STORED},
    }
    write_json(results / "nnUNet_raw" / NNUNET_NAME / "dataset.json", dataset_json)
    folds = []
    for checkpoint in checkpoints:
        load_checkpoint(checkpoint)
        fold = checkpoint.parent.name.removeprefix("fold_")
        folds.append(int(fold) if fold.isdigit() else fold)
        target = fold_folder(results, NNUNET_NAME, plans, folds[-1])
        target.mkdir(parents=True, exist_ok=True)
        checkpoint.replace(target / FINAL)
        write_json(
            results / NAME / NAME / target.name / "training.json",
            {"checkpoints": {"final": file_sha256(target / FINAL)}},
        )
    write_json(target.parent / "plans.json", plans)
    write_json(target.parent / "dataset.json", dataset_json)
    channels = [str(name) for name in dataset_json["channel_names"].values()]
    known = read_json(files[FINGERPRINT]) if FINGERPRINT in files else plans
    return Predictor(
        results=results,
        dataset=NAME,
        nnunet_name=NNUNET_NAME,
        members={NAME: 1.0},
        folds={NAME: [tuple(folds)]},
        steps={"steps": []},
        classes=[],
        ranges=ranges_of_fingerprint(known, channels),
        codes={},
    )


def _install_exported(
    archive: Path, described: dict[str, Any], unpacked: Path, results: Path
) -> Predictor:
    """Lay out an exported predictor as the run left it.

    Raises
    ------
    ValueError
        If a file is missing or another one than was exported, or could do harm.
    """
    sha256 = described["sha256"]
    dataset, nnunet_name = described["dataset"], described["nnunet_name"]
    prefix = f"{nnunet_name}/"

    def wanted(name: str) -> bool:
        inside = name.removeprefix(prefix)
        return inside in sha256 and not inside.startswith(f"{FOLDER}/")

    unpack_archive(archive, unpacked, wanted)
    source = unpacked / nnunet_name
    for name, expected in sha256.items():
        if name.startswith(f"{FOLDER}/"):
            continue
        found = file_sha256(source / name) if (source / name).is_file() else "nothing"
        if found != expected:
            raise ValueError(
                f"{archive}: {name}: expected SHA-256 {expected[:12]}, found {found[:12]}"
            )
    folders = {path.name.split("__")[1]: path for path in source.glob("*__*__*")}
    for model, folds in described["folds"].items():
        if model not in folders:
            raise ValueError(f"{archive}: no folder of the model {model!r}")
        folder = folders[model]
        plans, dataset_json = (read_json(folder / f"{name}.json") for name in ("plans", "dataset"))
        check_architecture(plans, folder / "plans.json")
        if plans["segflow"]["model"] != model or exported_name(plans) != folder.name:
            raise ValueError(f"{archive}: {folder.name}: its plans are of another model")
        for fold in folds:
            checkpoint = folder / f"fold_{fold}" / FINAL
            if not checkpoint.is_file():
                raise ValueError(f"{archive}: {model} has no fold {fold}")
            load_checkpoint(checkpoint)
            target = fold_folder(results, nnunet_name, plans, fold)
            target.mkdir(parents=True, exist_ok=True)
            checkpoint.replace(target / FINAL)
            write_json(
                results / dataset / model / target.name / "training.json",
                {"checkpoints": {"final": file_sha256(target / FINAL)}},
            )
        write_json(results / dataset / model / "plans.json", plans)
        write_json(target.parent / "plans.json", plans)
        write_json(target.parent / "dataset.json", dataset_json)
    write_json(results / "nnUNet_raw" / nnunet_name / "dataset.json", dataset_json)
    return Predictor(
        results=results,
        dataset=dataset,
        nnunet_name=nnunet_name,
        members=described["members"],
        folds={model: [(fold,) for fold in folds] for model, folds in described["folds"].items()},
        steps=described["postprocessing"],
        classes=described["classes"],
        ranges=described["training_ranges"],
        codes=described["label_codes"],
    )
