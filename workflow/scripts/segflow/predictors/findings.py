"""What is said of segmented new images: volumes, warnings, a preview, and a DICOM segmentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segflow.files.cases import write_rows
from segflow.files.labels import Labels, foreground
from segflow.files.manifests import MEASURED, SEGMENTED
from segflow.files.words import counted
from segflow.images.dicom_headers import is_dicom
from segflow.images.nifti import Grid, read_image, read_labels
from segflow.images.sizes import image_axes, voxel_size
from segflow.predictors.components import find_pieces
from segflow.predictors.previews import draw_preview

PREVIEWS, SEGMENTATIONS = "previews", "dicom_seg"  # folders beside the label maps
COLUMNS = [
    *("case", "key", "label_map", "dicom_seg", "preview"),
    *("spacing_mm", "size", "orientation", "intensities", "warnings"),
]
VOLUME_COLUMNS = ["case", "label", "voxels", "volume_ml", "area_mm2", "components"]


@dataclass(frozen=True)
class Findings:
    """A segmented image.

    Parameters
    ----------
    case : str
        Its name.
    label_map, image : Path
        The label map, and the first channel of the converted image.
    source : Path
        The first file of the image, or the folder of its DICOM series.
    measured : dict
        What it is like, with its ``warnings``; see `segflow.predictors.training_ranges`.
    """

    case: str
    label_map: Path
    image: Path
    source: Path
    measured: dict[str, Any]


def describe_case(
    found: Findings, labels: Labels, codes: Mapping[str, Mapping[str, str]], ct: bool
) -> tuple[list[Path], dict[str, Any]]:
    """Measure a label map, draw its preview and, of a DICOM image, write a DICOM segmentation.

    Parameters
    ----------
    found : Findings
        The image.
    labels : mapping of str to int or list of int
        Labels of the data set.
    codes : mapping of str to mapping
        See `segflow.images.dicom_seg.segments_of`.
    ct : bool
        Whether the image has Hounsfield units.

    Returns
    -------
    files : list of Path
        Label map, preview and, if there is one, segmentation.
    facts : dict
        A row of each table, by its name.
    """
    label_map, grid = read_labels(found.label_map)
    volumes = measure_labels(label_map, grid, labels)
    folder = found.label_map.parent
    preview = folder / PREVIEWS / f"{found.case}.png"
    notes = {row["label"]: _say(row) for row in volumes}
    array, image_grid = read_image(found.image)
    image = (array[0], image_grid)
    draw_preview(preview, found.case, image, (label_map, grid), ct, labels, notes)
    files = [found.label_map, preview]
    warnings = list(found.measured["warnings"])
    if is_dicom(found.source):
        segmentation = folder / SEGMENTATIONS / f"{found.case}.dcm"
        if text := _write_segmentation(segmentation, label_map, grid, found.source, labels, codes):
            warnings.append(text)
        else:
            files.append(segmentation)
    row = {
        "label_map": found.label_map.name,
        "dicom_seg": "/".join(files[2].parts[-2:]) if len(files) > 2 else "",
        "preview": f"{PREVIEWS}/{preview.name}",
        "spacing_mm": _words(found.measured["spacing_mm"].values()),
        "size": _words(found.measured["size"].values()),
        "orientation": found.measured["orientation"],
        "intensities": "; ".join(_words(ends) for ends in found.measured["intensities"]),
        "warnings": "; ".join(warnings),
    }
    return files, {SEGMENTED: row, MEASURED: volumes, "warnings": warnings}


def _write_segmentation(
    path: Path,
    label_map: np.ndarray,
    grid: Grid,
    source: Path,
    labels: Labels,
    codes: Mapping[str, Mapping[str, str]],
) -> str:
    """Write a DICOM segmentation; return why there is none, if there is none."""
    # Imported here: few new images are DICOM.
    from segflow.images.dicom_seg import segments_of, write_segmentation

    try:
        write_segmentation(path, label_map, grid, source, segments_of(labels, codes))
    except ValueError as error:
        return f"no DICOM segmentation: {str(error).removeprefix(f'{source}: ')}"
    return ""


def measure_labels(label_map: np.ndarray, grid: Grid, labels: Labels) -> list[dict[str, Any]]:
    """Return size and number of components of each label and region.

    Components are connected through faces, edges and corners. Volumes are those of 3D images,
    areas those of 2D images.

    Parameters
    ----------
    label_map : ndarray of int
        Of shape (z, y, x).
    grid : Grid
        Where its voxels lie.
    labels : mapping of str to int or list of int
        Labels of the data set.
    """
    flat = len(image_axes(grid.shape)) == 2
    rows = []
    for name, values in foreground(labels).items():
        mask = np.isin(label_map, values)
        n_voxels = int(np.count_nonzero(mask))
        size = n_voxels * voxel_size(grid)
        _, _, pieces = find_pieces(mask.astype(np.uint8), with_holes=False)
        rows.append(
            {
                "label": name,
                "voxels": n_voxels,
                "volume_ml": "" if flat else round(size / 1000, 6),
                "area_mm2": round(size, 6) if flat else "",
                "components": len(pieces.values),
            }
        )
    return rows


def write_tables(output: Path, keys: dict[str, str], facts: dict[str, dict[str, Any]]) -> None:
    """Write the tables of the cases that are segmented.

    Parameters
    ----------
    output : Path
        Their folder.
    keys : dict of str to str
        Key of what each was made from.
    facts : dict of str to dict
        See `describe_case`.
    """
    rows = [{"case": case, "key": keys[case], **facts[case][SEGMENTED]} for case in sorted(keys)]
    write_rows(output / SEGMENTED, rows, COLUMNS)
    volumes = [{"case": case, **row} for case in sorted(keys) for row in facts[case][MEASURED]]
    write_rows(output / MEASURED, volumes, VOLUME_COLUMNS)


def _say(row: dict[str, Any]) -> str:
    """Return size and components of a label as people read them."""
    unit = "mm2" if row["volume_ml"] == "" else "mL"
    size = row["area_mm2"] if unit == "mm2" else row["volume_ml"]
    return f"{size:.4g} {unit}, {counted(row['components'], 'component')}"


def _words(values: Any) -> str:
    return " ".join(f"{value:.6g}" for value in values)
