"""BreastDM: breast tumours in dynamic contrast-enhanced MRI, as volumes or as slices.

Volumes (``layout='seg3D'``) are ``SPLIT/images/PATIENT/SEQUENCE.npy`` below ``seg3D``, where SPLIT
is ``train``, ``val`` or ``test`` and PATIENT is ``BreaDM-Be-NNNN`` (benign) or ``BreaDM-Ma-NNNN``
(malignant). Each sequence has a mask of its own at the same place below ``labels``; that of SUB2,
the subtraction, is the reference.

Slices (``layout='seg'``) are pictures below ``seg/SPLIT/images`` whose path begins with the
patient: ``PATIENT/SEQUENCE/SLICE.jpg`` as published, ``PATIENT/SLICE.jpg``, or
``PATIENT-SLICE.jpg``. The mask has the same path below ``labels``, and may end in another suffix.

The raw folder is ``seg3D`` or ``seg``, or the folder around them. ``train/labels`` has masks of
patients whose images are in ``test``: what counts are the images. Some patients of the slices are
in ``train`` and in ``test``, with the same pictures; they keep both splits here.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segflow.datasets.converters._pairing import inner_folder, missing, relative
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.folders import visible
from segflow.files.words import counted, enumerate_some

LAYOUTS = ["seg3D", "seg"]
SEQUENCES = ["VIBRANT", "VIBRANT+C2", "SUB2"]
OPTIONS: dict[str, dict] = {
    "layout": {
        "description": "seg3D takes the volumes, seg the slices.",
        "enum": LAYOUTS,
        "default": "seg3D",
    },
    "sequences": {
        "description": "The sequences of the volumes, in the order of the channels.",
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "minItems": 1,
        "uniqueItems": True,
        "default": SEQUENCES,
    },
}
REFERENCE = "SUB2"
SPLITS = ("train", "val", "test")
PICTURES = (".jpg", ".jpeg", ".png")
PATIENT = re.compile(r"BreaDM-(Be|Ma)-\d+")
CLASSES = {"Be": "benign", "Ma": "malignant"}


def find_cases(raw: Path, layout: str = "seg3D", sequences: Sequence[str] = SEQUENCES) -> Catalogue:
    """Return the cases: patients with one channel for each sequence, or single slices.

    Parameters
    ----------
    raw : Path
        The raw folder.
    layout : {'seg3D', 'seg'}
        Volumes or slices.
    sequences : sequence of str
        The sequences of the volumes, in the order of the channels. Slices of all sequences that
        are there are cases of their own.

    Raises
    ------
    FileNotFoundError
        If `raw` has no images of this layout.
    """
    folders = [inner_folder(raw, layout) / split for split in SPLITS]
    problems: list[Problem] = []
    if layout == "seg3D":
        cases = [c for folder in folders for c in _volumes(raw, folder, sequences, problems)]
        expected = f"seg3D/train/images/BreaDM-Be-NNNN/{sequences[0]}.npy"
    else:
        cases = _with_split([c for folder in folders for c in _slices(raw, folder, problems)])
        expected = "seg/train/images/BreaDM-Be-NNNN/SEQUENCE/SLICE.jpg"
    if not cases and all(problem.severity != "error" for problem in problems):
        raise no_cases(raw, f"{expected} of BreastDM")
    return Catalogue(cases, problems)


def _volumes(
    raw: Path, folder: Path, sequences: Sequence[str], problems: list[Problem]
) -> list[SourceCase]:
    """Return the patients of the folder of one split."""
    images, labels = folder / "images", folder / "labels"
    patients = [path.name for path in visible(images) if PATIENT.fullmatch(path.name)]
    orphans = [path for path in visible(labels, "*/*.npy") if path.parent.name not in patients]
    problems += _note_orphans(raw, labels, orphans)
    others = [sequence for sequence in sequences if sequence != REFERENCE]
    cases = []
    for patient in patients:
        case = SourceCase(
            patient,
            patient,
            folder.name,
            tuple(images / patient / f"{sequence}.npy" for sequence in sequences),
            (labels / patient / f"{REFERENCE}.npy",),
            class_label=_class(patient),
            other_labels=tuple(labels / patient / f"{sequence}.npy" for sequence in others),
        )
        lost = [path for path in case.files if not path.is_file()]
        problems += [missing(raw, patient, path) for path in lost]
        if not lost:
            cases.append(case)
    return cases


def _slices(raw: Path, folder: Path, problems: list[Problem]) -> list[SourceCase]:
    """Return the slices of the folder of one split; cases are named after their paths."""
    images, labels = folder / "images", folder / "labels"
    masks = defaultdict(list)
    for path in _pictures(labels):
        masks[_place(labels, path)].append(path)
    places = {path: _place(images, path) for path in _pictures(images)}
    orphans = masks.keys() - set(places.values())
    problems += _note_orphans(raw, labels, [path for place in orphans for path in masks[place]])
    cases = []
    for picture, place in places.items():
        patient = PATIENT.match(place)
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", place)
        if patient is None:
            text = "the path does not begin with a patient"
            action = "put it into a folder BreaDM-Be-NNNN or BreaDM-Ma-NNNN"
            problems.append(Problem(name, relative(raw, picture), "error", text, action))
            continue
        reference = tuple(masks.get(place, ()))
        if len(reference) != 1:
            text = f"the picture has {len(reference)} masks"
            action = f"have one mask, {relative(raw, labels)}/{place}.png or .jpg"
            problems.append(Problem(name, relative(raw, picture), "error", text, action))
            continue
        kind = _class(place)
        case = SourceCase(name, patient[0], folder.name, (picture,), reference, class_label=kind)
        cases.append(case)
    return cases


def _with_split(cases: list[SourceCase]) -> list[SourceCase]:
    """Return cases whose names also tell the split where two splits have the same name."""
    splits = defaultdict(set)
    for case in cases:
        splits[case.case].add(case.split)
    return [
        replace(case, case=f"{case.case}_{case.split}") if len(splits[case.case]) > 1 else case
        for case in cases
    ]


def _pictures(folder: Path) -> list[Path]:
    return [path for path in visible(folder, "**/*") if path.suffix.lower() in PICTURES]


def _place(folder: Path, path: Path) -> str:
    """Return what the paths of a picture and its mask share."""
    return path.relative_to(folder).with_suffix("").as_posix()


def _class(patient: str) -> str:
    return CLASSES[PATIENT.match(patient)[1]]


def _note_orphans(raw: Path, labels: Path, masks: list[Path]) -> list[Problem]:
    """Return the note on masks whose images are not there."""
    if not masks:
        return []
    places = (_place(labels, path) for path in masks)
    owners = {match[0] if (match := PATIENT.match(place)) else place for place in places}
    lost = f"{counted(len(masks), 'mask')} of {counted(len(owners), 'patient')}"
    text = f"{lost} without images: {enumerate_some(owners)}"
    return [Problem("", relative(raw, labels), "note", text, "left them out")]
