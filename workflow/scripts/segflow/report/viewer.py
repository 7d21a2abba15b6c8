"""Cases as the report's viewer shows them: pictures and label maps in one script for each.

A page that is opened as a file may load scripts that lie beside it, and nothing else.
"""

import base64
import gzip
import io
import json
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from segflow.files.labels import Labels, blank_ignored
from segflow.images.nifti import Grid
from segflow.images.orientation import orientation_of, reorient, reorient_grid

# As slices are usually shown: x grows towards the left of the body, y backwards, z upwards.
SHOWN = "LPS"
MOST_VOXELS = 4_000_000  # of a case; of a larger one not every voxel is shown
CT_WINDOW_HU = (-175.0, 275.0)  # soft tissue, and what contrast agent fills
PERCENTILES = (0.5, 99.5)
JPEG_QUALITY = 85


@dataclass(frozen=True)
class ViewedCase:
    """A case to look at.

    Parameters
    ----------
    name : str
        ``DATASET/CASE``.
    channels : dict of str to ndarray
        Images by name, each of shape (z, y, x).
    ct : frozenset of str
        Channels whose values are Hounsfield units.
    label_maps : dict of str to ndarray of int
        Label maps by name, of the same shape, with values up to 255; the first is the reference,
        if there is one.
    grid : Grid
        Where the voxels lie.
    """

    name: str
    channels: dict[str, np.ndarray]
    ct: frozenset[str]
    label_maps: dict[str, np.ndarray]
    grid: Grid


def write_script(case: ViewedCase, labels: Labels) -> str:
    """Return a script that hands a case to the viewer.

    Images become 8-bit pictures, their slices in rows and columns of one JPEG; label maps are
    compressed without loss, and equal ones are there once. Nothing is averaged: of large images
    every other voxel (third, ...) along the axes of finest spacing is shown.

    Parameters
    ----------
    case : ViewedCase
        The case.
    labels : dict of str to int or list of int
        Labels of the data set; what they call ignored is shown as background.
    """
    steps = steps_of(case.grid)
    kept = tuple(slice(None, None, step) for step in steps)
    maps = {name: array[kept].astype(np.uint8) for name, array in case.label_maps.items()}
    if "reference" in maps:
        blank_ignored(labels, *maps.values())
    packed: dict[str, str] = {}
    for name, array in maps.items():
        text = _packed(_turned(array, case.grid))
        same = next((other for other, known in packed.items() if known == text), None)
        packed[name] = text if same is None else f"={same}"
    shown = _turned_grid(
        replace(
            case.grid,
            shape=next(iter(case.channels.values()))[kept].shape,
            spacing_mm=tuple(np.multiply(case.grid.spacing_mm, steps).tolist()),
        )
    )
    content = {
        "shape": shown.shape,
        "spacing": [round(size, 4) for size in shown.spacing_mm],
        "full": _turned_grid(case.grid).shape,
        "images": {
            name: _mosaic(_turned(windowed(array, name in case.ct)[kept], case.grid))
            for name, array in case.channels.items()
        },
        "maps": packed,
    }
    return f"segflowCase({json.dumps(case.name)},{json.dumps(content, separators=(',', ':'))});\n"


def steps_of(grid: Grid) -> list[int]:
    """Return every which voxel along (z, y, x) is shown, so that at most `MOST_VOXELS` are."""
    steps = [1] * len(grid.shape)
    while np.prod(-(-np.array(grid.shape) // steps)) > MOST_VOXELS:
        sizes = [
            spacing * step if size > 1 else np.inf
            for size, spacing, step in zip(grid.shape, grid.spacing_mm, steps, strict=True)
        ]
        finest = min(sizes)
        steps = [step + (size <= finest * 1.001) for step, size in zip(steps, sizes, strict=True)]
    return steps


def windowed(image: np.ndarray, ct: bool) -> np.ndarray:
    """Return an image with grey values from 0 to 255, of type uint8.

    CT has the window `CT_WINDOW_HU`; of other images it spans the `PERCENTILES` of the voxels that
    are not 0. Values that are no numbers are black.
    """
    image = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
    low, high = CT_WINDOW_HU
    if not ct:
        inside = image[image != 0]
        low, high = np.percentile(inside, PERCENTILES) if inside.size else (0, 1)
    grey = (image - low) * (255 / max(high - low, 1e-6))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _flat_axis(grid: Grid) -> int | None:
    return grid.shape.index(1) if 1 in grid.shape else None


def _turned(array: np.ndarray, grid: Grid) -> np.ndarray:
    """Return an array in the orientation `SHOWN`, or with its only slice first."""
    flat = _flat_axis(grid)
    source = orientation_of(grid)
    if flat is not None or not source:
        return np.ascontiguousarray(np.moveaxis(array, flat or 0, 0))
    return np.ascontiguousarray(reorient(array, source, SHOWN))


def _turned_grid(grid: Grid) -> Grid:
    """Return shape and spacing of a turned array."""
    flat = _flat_axis(grid)
    if flat is None and orientation_of(grid):
        return reorient_grid(grid, SHOWN)
    order = [flat or 0, *(axis for axis in range(3) if axis != (flat or 0))]
    return replace(
        grid,
        shape=tuple(grid.shape[axis] for axis in order),
        spacing_mm=tuple(grid.spacing_mm[axis] for axis in order),
    )


def _packed(label_map: np.ndarray) -> str:
    return base64.b64encode(gzip.compress(label_map.tobytes(), 6, mtime=0)).decode()


def _mosaic(image: np.ndarray) -> str:
    """Return the slices of an image (z, y, x) of type uint8, in rows and columns, as a data URL."""
    depth, height, width = image.shape
    columns = columns_of(depth)
    rows = -(-depth // columns)
    sheet = np.zeros((rows * columns, height, width), np.uint8)
    sheet[:depth] = image
    sheet = sheet.reshape(rows, columns, height, width).swapaxes(1, 2)
    buffer = io.BytesIO()
    picture = Image.fromarray(sheet.reshape(rows * height, columns * width))
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def columns_of(depth: int) -> int:
    """Return how many slices of an image are beside each other in its picture."""
    return int(np.ceil(np.sqrt(depth)))
