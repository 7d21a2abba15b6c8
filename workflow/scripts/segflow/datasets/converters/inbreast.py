"""INbreast, full-field digital mammograms with contours of their findings.

``AllDICOMs/<image>_<patient>_MG_<L or R>_<view>_ANON.dcm`` holds an image. The view is ``CC``,
``ML`` for what the table calls ``MLO``, or ``FB``. ``AllXML/<image>.xml``, an Apple property list,
holds its regions of interest (ROIs); a normal image has none. ``INbreast.csv`` gives density (ACR)
and assessment (BI-RADS) by image number. Which patient an image shows is said by its name only:
the table has ``removed`` there.

Moreira et al., INbreast: Toward a Full-field Digital Mammographic Database, Academic Radiology
2012, doi:10.1016/j.acra.2011.09.014.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.folders import visible
from segflow.files.words import counted
from segflow.images.inbreast_xml import MIN_POINTS, plain, read_images

OPTIONS: dict[str, dict] = {
    "cases": {
        "enum": ["masses", "all"],
        "default": "masses",
        "description": "the images with at least one wanted ROI, or all images",
    },
    "rois": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "uniqueItems": True,
        "default": ["Mass"],
        "description": "names of the wanted ROIs; case and blanks around them do not matter",
    },
}
NAME = re.compile(r"(\d+)_([^_]+)_MG_([LR])_([A-Z]+)_ANON\.dcm")
TABLE = "INbreast.csv"
COLUMNS = ("Laterality", "View", "File Name", "ACR", "Bi-Rads")
CLASSES = {
    "benign": ("1", "2", "3"),
    "malignant": ("4", "4a", "4b", "4c", "5", "6"),
}
MAX_SHOWN = 8  # files that one problem names


def find_cases(raw: Path, cases: str = "masses", rois: Sequence[str] = ("Mass",)) -> Catalogue:
    """Return one case for each image. The data set has no published split.

    The class of a case is what its assessment says, not what pathology found: ``benign`` for
    BI-RADS 1 to 3, ``malignant`` for 4a to 6, empty where the table gives none. The covariates
    are laterality, view, density (``acr``) and assessment (``birads``); ages and dates of the
    table are left out.

    Parameters
    ----------
    raw : Path
        The folder with ``AllDICOMs``, ``AllXML`` and ``INbreast.csv``.
    cases : {'masses', 'all'}
        The images with at least one wanted ROI that encloses an area, or all. An image without
        XML file has an empty reference.
    rois : sequence of str
        Names of the wanted ROIs.

    Raises
    ------
    FileNotFoundError
        If `raw` has no ``AllDICOMs`` with images or no ``AllXML`` with contours.
    """
    files = visible(raw / "AllDICOMs", "*.dcm")
    contours = {path.stem: path for path in visible(raw / "AllXML", "*.xml")}
    if not files or not contours:
        raise no_cases(raw, f"AllDICOMs/*_MG_*_ANON.dcm, AllXML/*.xml and {TABLE} of INbreast")
    names = {path: NAME.fullmatch(path.name) for path in files}
    rows, problems = _read_table(raw)
    problems += [
        Problem(
            "",
            f"AllDICOMs/{path.name}",
            "error",
            "is not named <image>_<patient>_MG_<L or R>_<view>_ANON.dcm",
            "rename it or take it away",
        )
        for path, name in names.items()
        if not name
    ]
    images = {name[1] for name in names.values() if name}
    problems += _unpaired(contours.keys() - images, "AllXML", "have no DICOM file", "left out")
    if rows:
        problems += _unpaired(rows.keys() - images, TABLE, "have no DICOM file", "left out")
        problems += _unpaired(images - rows.keys(), TABLE, "are not listed", "no class, no ACR")
    found = []
    for path, name in names.items():
        if name:
            row = rows.get(name[1], {})
            case = _make_case(path, name, contours.get(name[1]), row)
            problems += _contradictions(case, row)
            if cases == "all" or _is_wanted(case, rois, problems):
                found.append(case)
    return Catalogue(found, problems)


def _read_table(raw: Path) -> tuple[dict[str, dict[str, str]], list[Problem]]:
    """Return the rows of the table by image number, without blanks around names and values."""
    path = raw / TABLE
    if not path.is_file():
        text = "the table is missing"
        return {}, [Problem("", TABLE, "note", text, "no class, no ACR, no BI-RADS")]
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = [[cell.strip() for cell in line] for line in csv.reader(file, delimiter=";")]
    header, *body = [line for line in lines if any(line)] or [[]]
    if missing := [name for name in COLUMNS if name not in header]:
        text = f"has no column {', '.join(map(repr, missing))} (separated by semicolons)"
        return {}, [Problem("", TABLE, "error", text, "mend the table")]
    rows: dict[str, dict[str, str]] = {}
    problems = []
    for line in body:
        row = dict(zip(header, line, strict=False))
        image = row.get("File Name", "")
        if rows.setdefault(image, row) != row:
            text = f"image {image!r} is listed twice, with different values"
            problems.append(Problem("", TABLE, "error", text, "mend the table"))
    return rows, problems


def _make_case(
    path: Path, name: re.Match, contours: Path | None, row: dict[str, str]
) -> SourceCase:
    image, patient, laterality, view = name.groups()
    birads = row.get("Bi-Rads", "").lower()
    classes = [label for label, members in CLASSES.items() if birads in members]
    return SourceCase(
        case=f"{image}_{laterality}_{view}",
        patient=patient,
        split="train",
        images=(path,),
        labels=(contours,) if contours else (),
        class_label="".join(classes),
        covariates={
            "laterality": laterality,
            "view": "MLO" if view == "ML" else view,
            "acr": row.get("ACR", ""),
            "birads": birads,
        },
    )


def _contradictions(case: SourceCase, row: dict[str, str]) -> Iterable[Problem]:
    """Yield where table, names and XML files do not agree about a case."""
    if not row:
        return
    file = f"AllDICOMs/{case.images[0].name}"
    for column, key in (("Laterality", "laterality"), ("View", "view")):
        if (value := row.get(column, "")) not in ("", case.covariates[key]):
            text = f"{TABLE} has {column} {value!r}, the name says {case.covariates[key]!r}"
            yield Problem(case.case, file, "note", text, "used the name")
    if not case.class_label:
        text = f"BI-RADS {case.covariates['birads']!r} is none of 1, 2, 3, 4a, 4b, 4c, 5, 6"
        yield Problem(case.case, TABLE, "note", text, "no class")
    # In the published set the normal images, and no others, have no XML file.
    elif case.covariates["birads"] != "1" and not case.labels:
        text = f"has no XML file, although its BI-RADS is {case.covariates['birads']}"
        yield Problem(case.case, file, "note", text, "taken as an image without findings")


def _is_wanted(case: SourceCase, names: Sequence[str], problems: list[Problem]) -> bool:
    """Say whether an image has a wanted ROI that encloses an area."""
    if not case.labels:
        return False
    file = f"AllXML/{case.labels[0].name}"
    try:
        images = read_images(case.labels[0])
    except ValueError as error:
        text = str(error).removeprefix(f"{case.labels[0]}: ")
        problems.append(Problem(case.case, file, "error", text, "get the file again"))
        return False
    wanted = {plain(name) for name in names}
    sizes = [
        len(roi.get("Point_px", []))
        for rois in images
        for roi in rois
        if plain(roi.get("Name", "")) in wanted
    ]
    if sizes and max(sizes) < MIN_POINTS:
        text = f"fewer than {MIN_POINTS} points in each of {counted(len(sizes), 'wanted ROI')}"
        problems.append(Problem(case.case, file, "note", text, "left the image out"))
    return max(sizes, default=0) >= MIN_POINTS


def _unpaired(names: Iterable[str], file: str, problem: str, action: str) -> list[Problem]:
    """Return one problem for all images that lack a partner."""
    names = sorted(names)
    if not names:
        return []
    shown = ", ".join(names[:MAX_SHOWN])
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return [Problem("", file, "note", f"{len(names)} image(s) {problem}: {shown}{more}", action)]
