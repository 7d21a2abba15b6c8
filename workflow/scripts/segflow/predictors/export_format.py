"""What an exported predictor is called and says of itself, in the zip that holds it.

Beside the folders of its models, as nnU-Net exports them, lies a folder with what nnU-Net does not
know.
"""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

FORMAT = 1  # move it when an older version could not read what is written
DESCRIPTION = "predictor.json"
FOLDER = "segflow"  # beside those of the models
PLACE = re.compile(rf"(Dataset\d{{3}}_\w+)/{FOLDER}/{re.escape(DESCRIPTION)}")
NAME = re.compile(r"[a-z][a-z0-9_]*")
MOST_BYTES = 10_000_000  # of a description; a real one has some thousands


def read_description(archive: Path) -> dict[str, Any] | None:
    """Read what an exported predictor says of itself; None if the zip is no such export.

    Parameters
    ----------
    archive : Path
        Any file.

    Returns
    -------
    dict or None
        See `segflow.predictors.exports.write_export`.

    Raises
    ------
    ValueError
        If it is one that cannot be read, as it is damaged, or newer than this version.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            found = next((one for one in opened.infolist() if PLACE.fullmatch(one.filename)), None)
            if found is None:
                return None
            if found.file_size > MOST_BYTES:
                raise ValueError(f"{archive}: {found.filename} has {found.file_size} bytes")
            described = json.loads(opened.read(found))
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None  # whoever unpacks it says what is wrong
    except json.JSONDecodeError as error:
        raise ValueError(f"{archive}: {DESCRIPTION} is not valid JSON ({error})") from None
    _check(described, archive, PLACE.fullmatch(found.filename)[1])
    return described


def _check(described: Any, archive: Path, nnunet_name: str) -> None:
    """Refuse a description of another format, or with names that are no names."""
    where = f"{archive}: {DESCRIPTION}"
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        found = described.get("format") if isinstance(described, dict) else None
        raise ValueError(f"{where}: format {found!r} is not read; known: {FORMAT}")
    if described["nnunet_name"] != nnunet_name:
        raise ValueError(f"{where}: nnunet_name is not {nnunet_name!r}, the folder that it lies in")
    for name in (described["dataset"], *described["folds"], *described["members"]):
        if not NAME.fullmatch(name):
            raise ValueError(f"{where}: {name!r} is no name of a data set or model")
    for model, folds in described["folds"].items():
        if wrong := [fold for fold in folds if not (isinstance(fold, int) or fold == "all")]:
            raise ValueError(f"{where}: folds.{model}: {wrong[0]!r} is no fold")
    if unknown := sorted(described["members"].keys() - described["folds"].keys()):
        raise ValueError(f"{where}: members: {unknown[0]!r} has no folds")
