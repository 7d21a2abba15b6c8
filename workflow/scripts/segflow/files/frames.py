"""Tables that the workflow made, as data frames."""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from segflow.files.content import Damaged


def read_frame(path: Path, texts: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table that the workflow made.

    Parameters
    ----------
    path : Path
        A CSV file.
    texts : iterable of str
        Columns of names, which may look like numbers or like missing values.

    Raises
    ------
    Damaged
        If the file is empty, ends within a row or is no table.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read() != b"\n":
            raise Damaged(
                f"{path}: the table is cut short (its {size} bytes end within a row)", path
            )
    names = set(texts)
    try:
        columns = pd.read_csv(path, nrows=0).columns
        missing = {name: [""] if name in names else ["", "nan"] for name in columns}
        return pd.read_csv(
            path, dtype=dict.fromkeys(names, str), keep_default_na=False, na_values=missing
        )
    except ValueError as error:
        raise Damaged(f"{path}: not a table ({error})", path) from None
