"""The report: one page that opens without a network, and the figures and tables on it.

Templates, style and scripts are files of the folder ``page_files``.
"""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml
from PIL import Image

from segflow.report.page_folder import FOLDER

WEBP_QUALITY = 82
PHOTO_PIXELS = 2_200  # of the longer side of a picture


@dataclass(frozen=True)
class Picture:
    """A figure as the page holds it.

    Parameters
    ----------
    title, text : str
        What it is, in short and in a sentence.
    address : str
        Data URL.
    width, height : int
        Of the picture, in pixels.
    """

    title: str
    text: str
    address: str
    width: int
    height: int


def embed(path: Path, title: str, text: str) -> Picture:
    """Return a figure of the run as a picture that lies within the page.

    Parameters
    ----------
    path : Path
        A PNG file.
    title, text : str
        See `Picture`.
    """
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.thumbnail((PHOTO_PIXELS, PHOTO_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    address = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(title, text, address, *image.size)


def render(content: dict[str, Any], data: dict[str, Any], inline: dict[str, str]) -> str:
    """Return the page.

    Parameters
    ----------
    content : dict
        What the template ``report.html.j2`` names.
    data : dict
        What the page's scripts read.
    inline : dict of str to str
        Scripts of the cases that lie within the page, by ``DATASET/CASE``.
    """
    return (
        _environment(escape=True)
        .get_template("report.html.j2")
        .render(
            **content,
            css=(FOLDER / "page.css").read_text(),
            page_js=(FOLDER / "page.js").read_text(),
            viewer_js=(FOLDER / "viewer.js").read_text(),
            data=as_json(data),
            inline={name: script.replace("<", "\\u003c") for name, script in inline.items()},
        )
    )


def as_json(value: Any) -> str:
    """Return JSON that may stand in a script of a page; what is no number is null or text."""
    text = json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    """Return a value without NumPy's types; NaN is None, infinities are ``inf`` and ``-inf``."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if np.isnan(value):
            return None
        return float(f"{value:.5g}") if np.isfinite(value) else ("inf" if value > 0 else "-inf")
    return value


def write_methods(facts: dict[str, Any]) -> str:
    """Return the methods of a run as text, from the template ``methods.txt.j2``."""
    return _environment(escape=False).get_template("methods.txt.j2").render(**facts).strip() + "\n"


def fill_checklist(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the checklists, each item with what is known of it, or nothing."""
    environment = _environment(escape=False)
    parts = yaml.safe_load((FOLDER / "checklist.yaml").read_text())
    return [
        {
            "title": part["title"],
            "items": [
                {
                    **item,
                    "here": " ".join(
                        environment.from_string(item.get("here", "")).render(**facts).split()
                    ),
                }
                for item in part["items"]
            ],
        }
        for part in parts
    ]


def references(text: str, datasets: dict[str, dict]) -> str:
    """Return the BibTeX entries that a text cites as ``[@KEY]``, those of data sets among them.

    Parameters
    ----------
    text : str
        The methods.
    datasets : dict of str to dict
        Descriptions of data sets, whose key is ``data_NAME``.
    """
    entries = (FOLDER / "references.bib").read_text().split("\n\n")
    known = {entry.split("{", 1)[1].split(",", 1)[0]: entry.strip() for entry in entries}
    for name, described in datasets.items():
        known[f"data_{name}"] = (
            f"@misc{{data_{name},\n  title = {{{described['title']}}},\n"
            f"  note = {{{described['citation']}}},\n  howpublished = {{{described['source']}}}\n}}"
        )
    return "\n\n".join(entry for key, entry in known.items() if f"@{key}]" in text) + "\n"


def _environment(escape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def heat(values: pd.DataFrame) -> list[tuple[str, list[dict[str, str]]]]:
    """Return the cells of a heat map, each row with colours of its own.

    Parameters
    ----------
    values : DataFrame
        A row for each data set, a column for each predictor.

    Returns
    -------
    list of (str, list of dict)
        Name of each row, and text and colour of its cells: from a dark to a bright blue, on both
        of which black can be read.
    """
    rows = []
    for name, row in values.iterrows():
        low, high = row.min(), row.max()
        shares = (row - low) / (high - low) if high > low else row * 0 + 0.5
        rows.append(
            (
                name,
                [
                    {
                        "text": "-" if np.isnan(value) else f"{value:.3f}",
                        "colour": "" if np.isnan(value) else f"hsl(203 75% {52 + 42 * share:.0f}%)",
                    }
                    for value, share in zip(row, shares, strict=True)
                ],
            )
        )
    return rows
