"""A picture of one segmented image: the slice with most of it, alone and with its labels."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segflow.files.content import replacing
from segflow.files.labels import Labels, foreground
from segflow.images.display import turned, turned_grid, windowed
from segflow.images.nifti import Grid
from segflow.images.palette import label_colours, label_names

SIZE = 480  # pixels of the longer side of a slice: two slices fit on a page and on a screen
SHARE = 0.4  # of a label's colour over the image, as in the report's viewer
MARGIN, LINE, SWATCH = 10, 20, 12  # pixels
FONT_SIZE = 14
PAPER, INK, SOFT = (255, 255, 255), (0, 0, 0), (110, 110, 110)


def draw_preview(
    path: Path,
    title: str,
    image: tuple[np.ndarray, Grid],
    label_map: tuple[np.ndarray, Grid],
    ct: bool,
    labels: Labels,
    notes: dict[str, str],
) -> None:
    """Draw a PNG of an image and its label map.

    Parameters
    ----------
    path : Path
        The file.
    title : str
        Name of the case.
    image, label_map : (ndarray, Grid)
        Of shape (z, y, x), with where their voxels lie; these are the same places.
    ct : bool
        Whether the image has Hounsfield units.
    labels : dict of str to int or list of int
        Labels of the data set.
    notes : dict of str to str
        What to say of each label or region.
    """
    values = turned(*label_map)
    places = (values > 0).sum((1, 2))
    place = int(places.argmax()) if places.any() else len(values) // 2
    grey = windowed(turned(*image)[place], ct)
    spacing_mm = turned_grid(label_map[1]).spacing_mm
    extent = np.multiply(values.shape[1:], spacing_mm[1:])
    height, width = (max(1, round(side * SIZE / extent.max())) for side in extent)
    colours = label_colours(labels)

    def shown(pixels: np.ndarray, how: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).resize((width, height), how))

    plain = np.repeat(shown(grey, Image.Resampling.BILINEAR)[..., None], 3, axis=2)
    seen = shown(values[place].astype(np.int32), Image.Resampling.NEAREST)
    over = plain.astype(float)
    for value, colour in colours.items():
        inside = seen == value
        over[inside] = (1 - SHARE) * over[inside] + SHARE * np.array(colour)
    lines = _legend(labels, notes)
    sheet = Image.new(
        "RGB",
        (2 * width + 3 * MARGIN, height + LINE * (1 + len(lines)) + 3 * MARGIN),
        PAPER,
    )
    sheet.paste(Image.fromarray(plain), (MARGIN, LINE + MARGIN))
    sheet.paste(
        Image.fromarray(np.rint(over).astype(np.uint8)), (width + 2 * MARGIN, LINE + MARGIN)
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    of = f", slice {place + 1} of {len(values)}" if len(values) > 1 else ""
    pen.text((MARGIN, MARGIN // 2), f"{title}{of}", INK, font)
    for number, (colour, text) in enumerate(lines):
        top = height + LINE * (1 + number) + 2 * MARGIN
        if colour:
            box = (MARGIN, top + 2, MARGIN + SWATCH, top + 2 + SWATCH)
            pen.rectangle(box, fill=colour, outline=SOFT)
        pen.text((2 * MARGIN + SWATCH, top), text, INK, font)
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def _legend(labels: Labels, notes: dict[str, str]) -> list[tuple[tuple[int, int, int] | None, str]]:
    """Return colour, if it has one, and text of each line of the legend."""
    colours, regions = label_colours(labels), foreground(labels)
    lines = [
        (colours[values[0]] if len(values) == 1 else None, f"{name}: {notes[name]}")
        for name, values in regions.items()
    ]
    others = {value: name for value, name in label_names(labels).items() if name not in regions}
    return lines + [(colours[value], name) for value, name in others.items()]
