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
from segflow.images.display import turned, turned_grid, windowed
from segflow.images.nifti import Grid

MOST_VOXELS = 4_000_000  # of a case; of a larger one not every voxel is shown
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
        text = _packed(turned(array, case.grid))
        same = next((other for other, known in packed.items() if known == text), None)
        packed[name] = text if same is None else f"={same}"
    shown = turned_grid(
        replace(
            case.grid,
            shape=next(iter(case.channels.values()))[kept].shape,
            spacing_mm=tuple(np.multiply(case.grid.spacing_mm, steps).tolist()),
        )
    )
    content = {
        "shape": shown.shape,
        "spacing": [round(size, 4) for size in shown.spacing_mm],
        "full": turned_grid(case.grid).shape,
        "images": {
            name: _mosaic(turned(windowed(array, name in case.ct)[kept], case.grid))
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
