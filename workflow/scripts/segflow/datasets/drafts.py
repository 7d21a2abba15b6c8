"""A first table and description of a folder of somebody's own images: guesses, and what is unclear.

Names are read as words. Words such as mask, seg or label make a file a reference, words such as
train or test name its part; what is left of a path names its case. Images of one case that differ
in their last word are its channels.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from segflow.datasets.converters.table import SUFFIXES
from segflow.files.suffixes import DICOM, IMAGES, PICTURES, stem, suffix
from segflow.files.words import counted, enumerate_some
from segflow.images.dicom_headers import is_dicom

WORD = re.compile(r"[A-Za-z0-9]+")
MARKED = re.compile(
    r"(?:(?P<label>labels?|seg|segs|segmentations?|masks?|gt|ground_?truths?|truth|annotations?|"
    r"rois?|contours?)|(?P<image>images?|imgs?|imaging|scans?|volumes?))(?P<part>tr|ts|va)?"
    r"(?P<rest>\d*)",
    re.IGNORECASE,
)
PARTS = {"tr": "train", "ts": "test", "va": "val"} | {
    name: part
    for part, names in {
        "train": ("train", "training"),
        "val": ("val", "valid", "validation"),
        "test": ("test", "testing"),
    }.items()
    for name in names
}
MODALITIES = {"t1", "t1c", "t1ce", "t1n", "t1w", "t2", "t2f", "t2w", "flair", "adc", "dwi", "swi"}
MODALITIES |= {"pd", "ct", "pet", "mr", "mri"}
MOST_CLASSES, CASES_A_CLASS = 6, 5
LOOKED_AT = 5  # references whose values are read
CT_BELOW = -200  # no other common image holds less


@dataclass(frozen=True)
class _File:
    """A file, the words of its path that name its case, and what the others say."""

    path: Path
    words: tuple[str, ...]
    folders: tuple[str, ...]
    is_label: bool
    part: str


@dataclass
class Draft:
    """A first table and description.

    Attributes
    ----------
    converter : str
        ``table``, or that of a layout that was recognised.
    rows : list of dict
        The table, one row a case.
    channels : list of str
        Names of the channels.
    labels : dict of str to int
        Values of the labels that were found.
    reading : dict
        What the formats leave open.
    classes : list of str
        Classes of cases, if folders seem to name them.
    unclear : list of str
        What somebody must look at.
    """

    converter: str = "table"
    rows: list[dict[str, str]] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    reading: dict[str, object] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


def draft(raw: Path) -> Draft:
    """Guess what lies in a folder.

    Raises
    ------
    ValueError
        If there is no image in it.
    """
    if (raw / "dataset.json").is_file() and (raw / "imagesTr").is_dir():
        numbered = any(re.search(r"_000\d$", stem(path)) for path in (raw / "imagesTr").iterdir())
        note = "the layout is nnU-Net's" if numbered else "the layout is the Decathlon's"
        unclear = [f"{note}; channels and labels come from dataset.json, and no table is needed"]
        return Draft("nnunet" if numbered else "msd", unclear=unclear)
    found, passed_over = _find(raw)
    images = [file for file in found if not file.is_label]
    if not images:
        kinds = ", ".join(SUFFIXES)
        raise ValueError(f"{raw}: no image was found in it; known are {kinds}, and DICOM folders")
    result = Draft()
    if passed_over:
        names = ", ".join(sorted(passed_over))
        result.unclear.append(f"{names} files are there, which a table cannot name")
    channels, cases = _group(images)
    result.channels = channels or ["image"]
    if channels and not {name.lower() for name in channels} <= MODALITIES:
        result.unclear.append(f"files that end in {', '.join(channels)} are taken for channels")
    labels = _match([file for file in found if file.is_label], cases, result)
    _write_rows(raw, cases, labels, result)
    _look_at_values(cases, labels, result)
    return result


def _find(raw: Path) -> tuple[list[_File], set[str]]:
    """Return images and references below a folder, and endings of those that are of no use."""
    found, passed_over, series = [], set(), set()
    for path in sorted(raw.rglob("*")):
        inside = path.relative_to(raw).parts
        if any(name.startswith(".") for name in inside) or not path.is_file():
            continue
        if path.parent in series:
            continue
        if suffix(path) in DICOM or _is_bare_dicom(path):
            if path.parent != raw:
                series.add(path.parent)
                found.append(_read_name(path.parent, inside[:-1]))
        elif suffix(path) in SUFFIXES:
            found.append(_read_name(path, (*inside[:-1], stem(path))))
        elif suffix(path) in IMAGES:
            passed_over.add(suffix(path))
    return found, passed_over


def _is_bare_dicom(path: Path) -> bool:
    """Say whether a file without a suffix, or whose name is a UID, is DICOM by its first bytes."""
    bare = not path.suffix or path.suffix[1:].isdigit()
    return bare and path.name != "DICOMDIR" and is_dicom(path)


def _read_name(path: Path, names: tuple[str, ...]) -> _File:
    words: list[str] = []
    folders: list[str] = []
    kind, part = "image", ""
    above: list[str] = []
    for place, name in enumerate(names):
        kept = []
        for word in WORD.findall(name):
            is_folder = place < len(names) - 1
            if marked := MARKED.fullmatch(word):
                kind = "label" if marked["label"] else "image"
                part = PARTS.get((marked["part"] or "").lower(), part)
                kept += [marked["rest"]] if marked["rest"] else []
            elif is_folder and word.lower() in PARTS:
                part = PARTS[word.lower()]
            else:
                kept.append(word)
        if kept and place < len(names) - 1:
            folders.append("_".join(kept))
        # Many files say again what their folder is called.
        repeated = len(above) if above and kept[: len(above)] == above else 0
        words += kept[repeated:]
        above = kept or above
    return _File(path, tuple(words), tuple(folders), kind == "label", part)


def _group(images: list[_File]) -> tuple[list[str], dict[tuple[str, ...], list[_File]]]:
    """Return the names of channels, if files are channels, and the images of each case."""
    ends: dict[tuple[str, ...], dict[str, _File]] = {}
    for image in images:
        ends.setdefault(image.words[:-1], {})[image.words[-1] if image.words else ""] = image
    sets = Counter(tuple(sorted(group)) for group in ends.values())
    common, count = sets.most_common(1)[0]
    numbers = tuple(f"{number:04d}" for number in range(len(common)))
    named = len(common) > 1 and not any(word.isdigit() for word in common)
    known = {word.lower() for word in common} <= MODALITIES
    if common == numbers or (named and (known or count > 1) and 3 * count >= 2 * len(ends)):
        grouped = {
            words: [group[name] for name in common if name in group]
            for words, group in ends.items()
        }
        names = list(common) if common != numbers or len(common) > 1 else []
        return ["channel_" + n if n.isdigit() else n for n in names], grouped
    cases: dict[tuple[str, ...], list[_File]] = {}
    for image in images:
        cases.setdefault(image.words, []).append(image)
    return [], {
        (*words, str(number)) if len(files) > 1 else words: [file]
        for words, files in cases.items()
        for number, file in enumerate(files)
    }


def _match(
    labels: list[_File], cases: dict[tuple[str, ...], list[_File]], result: Draft
) -> dict[tuple[str, ...], list[Path]]:
    """Return the references of each case: those whose words begin with the case's.

    A reference that has fewer words belongs to the only case whose words begin with its own.
    """
    matched: dict[tuple[str, ...], list[Path]] = {}
    alone = []
    for label in labels:
        starts = (label.words[:length] for length in range(len(label.words), 0, -1))
        case = next((words for words in starts if words in cases), None)
        if case is None and label.words:
            below = [words for words in cases if words[: len(label.words)] == label.words]
            case = below[0] if len(below) == 1 else None
        if case is None:
            alone.append(label.path.name)
        else:
            matched.setdefault(case, []).append(label.path)
    if alone:
        text = f"{counted(len(alone), 'reference')} without an image: {enumerate_some(alone)}"
        result.unclear.append(text)
    if without := [words for words in cases if words not in matched]:
        names = enumerate_some("_".join(words) for words in without)
        result.unclear.append(f"{counted(len(without), 'case')} without a reference: {names}")
    several = sum(len(paths) > 1 for paths in matched.values())
    if several:
        text = f"{counted(several, 'case')} with several references, which are united"
        result.unclear.append(f"{text}; if each is another label, write NAME=FILE")
    return matched


def _write_rows(
    raw: Path,
    cases: dict[tuple[str, ...], list[_File]],
    labels: dict[tuple[str, ...], list[Path]],
    result: Draft,
) -> None:
    tops = Counter(files[0].folders[0] for files in cases.values() if files[0].folders)
    whole = sum(tops.values()) == len(cases)
    as_class = whole and 1 < len(tops) <= MOST_CLASSES and min(tops.values()) >= CASES_A_CLASS
    as_patient = whole and not as_class and len(tops) > 1 and max(tops.values()) > 1
    if as_class:
        result.classes = sorted(tops)
        result.unclear.append(f"the folders {', '.join(sorted(tops))} are taken for classes")
    if as_patient:
        text = "the upper folders are taken for patients, who stay together in every split"
        result.unclear.append(text)
    elif len(cases) > 1:
        text = "no patient is known: every case counts as one; fill in the column patient if not"
        result.unclear.append(text)
    taken: Counter[str] = Counter()
    for words, files in sorted(cases.items()):
        name = "_".join(words) or "case"
        taken[name] += 1
        name = f"{name}_{taken[name]}" if taken[name] > 1 else name
        paths = [file.path.relative_to(raw).as_posix() for file in files]
        references = [path.relative_to(raw).as_posix() for path in labels.get(words, [])]
        result.rows.append(
            {
                "case": name,
                "image": "|".join(paths),
                "label": "|".join(references),
                "patient": files[0].folders[0] if as_patient else "",
                "split": files[0].part,
                "class": files[0].folders[0] if as_class else "",
            }
        )
    lengths = {len(files) for files in cases.values()}
    if len(lengths) > 1:
        result.unclear.append("not every case has every channel; the conversion will refuse these")
    if not any(row["split"] == "test" for row in result.rows):
        result.unclear.append("there are no test cases; held_out: 0.2 holds some out by patient")


def _look_at_values(
    cases: dict[tuple[str, ...], list[_File]],
    labels: dict[tuple[str, ...], list[Path]],
    result: Draft,
) -> None:
    """Guess labels from a few references, and whether an image is a CT."""
    values: set[int] = set()
    for path in [paths[0] for paths in labels.values()][:LOOKED_AT]:
        read = _read(path)
        if read is None:
            result.unclear.append(f"{path.name}: the values of references were not read")
            break
        values |= {int(value) for value in np.unique(np.rint(read))}
    values.discard(0)
    if values and max(values) > 20 and len(values) < 200 and suffix(path) in PICTURES:
        result.labels = {"background": 0, "lesion": 1}
        result.reading["label_threshold"] = 127
        result.unclear.append("references are pictures: what is above 127 is the label lesion")
    else:
        result.labels = {"background": 0} | {f"label_{value}": value for value in sorted(values)}
        if sorted(values) != list(range(1, len(values) + 1)):
            text = f"values {', '.join(map(str, sorted(values)))} of labels are not 1, 2, 3, ..."
            result.unclear.append(f"{text}; see reading.label_values")
        if values:
            result.unclear.append("labels have numbers for names: say what they are")
    first = _read(next(iter(cases.values()))[0].path)
    if result.channels == ["image"] and first is not None and first.min() < CT_BELOW:
        result.channels = ["CT"]
    elif result.channels == ["image"]:
        result.unclear.append("if the images are CTs, call the channel CT: it is normalised so")


def _read(path: Path) -> np.ndarray | None:
    """Return the voxels of a file; None of a folder of DICOM files."""
    if path.is_dir():
        return None
    if suffix(path) in PICTURES:
        with Image.open(path) as image:
            return np.asarray(image.convert("I" if image.mode.startswith("I") else "L"))
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
