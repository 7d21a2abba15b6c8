"""nnU-Net's description of a converted data set, ``dataset.json``."""

from pathlib import Path

from segflow.files.cases import Case
from segflow.files.suffixes import suffix
from segflow.images.nifti import SUFFIX, read_grid
from segflow.images.orientation import orientation_of

READER, REORIENTING_READER = "SimpleITKIO", "SimpleITKIOWithReorient"  # of nnU-Net
AS_STORED = "stored"  # what an orientation that is not given has always meant


def choose_reader(cases: list[Case], folder: Path, reading: dict) -> str:
    """Return the name of the nnU-Net reader that brings images to one orientation, where it can.

    It cannot with 2D images, nor with slices of 3D images that would lose z as their flat axis.

    Parameters
    ----------
    cases : list of Case
        The training cases.
    folder : Path
        Folder of the data set in nnU-Net's raw layout.
    reading : dict
        The rules of the data set.
    """
    if reading.get("orientation", AS_STORED) == AS_STORED:
        return READER
    for case in cases:
        if not case.orientation:
            return READER
        if case.shape.startswith("1 "):
            grid = read_grid(folder / "imagesTr" / f"{case.case}_0000{SUFFIX}")
            if orientation_of(grid)[2] not in "SI":
                return READER
    return REORIENTING_READER


def describe_for_nnunet(dataset: dict, cases: list[Case], folder: Path) -> dict:
    """Return ``dataset.json`` of training cases that are converted into `folder`."""
    return make_dataset_json(dataset, cases, choose_reader(cases, folder, dataset["reading"]))


def make_dataset_json(dataset: dict, cases: list[Case], reader: str = READER) -> dict:
    """Return nnU-Net's ``dataset.json`` of a data set.

    Parameters
    ----------
    dataset : dict
        Description of the data set (``config/datasets``).
    cases : list of Case
        The training cases.
    reader : str
        nnU-Net's reader; see `choose_reader`.
    """
    files = [Path(name) for case in cases for name in case.images.split(";")]
    description = {
        "channel_names": {str(number): name for number, name in enumerate(dataset["channels"])},
        "labels": dataset.get("labels", {"background": 0}),
        "numTraining": len(cases),
        "file_ending": SUFFIX,
        "overwrite_image_reader_writer": reader,
        "name": dataset["title"],
        "licence": dataset["license"],
        "reference": dataset["source"],
        # So that new images are read in the same way and compared with the training cases.
        "reading": dataset["reading"],
        "dimensions": sorted({3 if case.orientation else 2 for case in cases}),
        "formats": sorted(set(map(suffix, files))),
    }
    if "regions_class_order" in dataset:
        description["regions_class_order"] = dataset["regions_class_order"]
    return description
