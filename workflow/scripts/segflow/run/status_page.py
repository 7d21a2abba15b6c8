"""How far a run is, as a page that asks for itself again: a file, served by nothing."""

import io
import time
from pathlib import Path

from rich.console import Console

from segflow.files.content import replacing
from segflow.run.configuration import Run
from segflow.run.record import Start
from segflow.run.status import show

COLUMNS = 200  # a page scrolls, so lines need not be broken
# Braces are those of `str.format`, by which rich fills in the text.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
REFRESH<title>Segflow: how far the run is</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 1.5rem; }}
pre {{ font-size: 0.85rem; line-height: 1.4; overflow-x: auto; }}
</style>
</head>
<body>
<h1>How far the run is</h1>
<p>SAID</p>
<pre tabindex="0">{code}</pre>
</body>
</html>
"""


def write_page(run: Run, starts: list[Start], path: Path, seconds: float | None) -> None:
    """Write what `segflow.run.status.show` prints as a page, whole or not at all.

    Parameters
    ----------
    run : Run
        What the configuration asks for.
    starts : list of Start
        Its recorded starts, the last one first.
    path : Path
        The page.
    seconds : float or None
        After how long a browser loads it again; never for None, when nothing will change any more.
    """
    console = Console(
        file=io.StringIO(), record=True, width=COLUMNS, markup=False, highlight=False, emoji=False
    )
    show(run, starts, console)
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    said = f"Written at {now}; "
    if seconds is None:
        refresh, said = "", said + "Snakemake has ended, and the page stays as it is."
    else:
        refresh = f'<meta http-equiv="refresh" content="{round(seconds)}">\n'
        said += "the page loads itself again as long as make status is running."
    template = PAGE.replace("REFRESH", refresh).replace("SAID", said)
    with replacing(path) as file:
        file.write_text(console.export_html(code_format=template, inline_styles=True))
