"""Show how far the run in this folder is (`make status`)."""

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from segflow.run.configuration import Run
from segflow.run.record import FOLDER, Start, read_starts
from segflow.run.status import show
from segflow.run.status_page import write_page

WATCH_SECONDS = 5.0
WATCH_SHARE = 10  # when watching, at most this part of the time is spent on looking
PLAIN_COLUMNS = 200  # where there is no terminal
PAGE = "status.html"


def main(arguments: list[str] | None = None) -> None:
    """Show how far the run in this folder is."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--watch", action="store_true", help="show it again and again")
    parser.add_argument(
        "--page",
        action="store_true",
        help=f"write it to {PAGE} beside the results, again and again until the run ends",
    )
    options = parser.parse_args(arguments)
    # Names and logs hold what looks like markup, and are no code to be coloured.
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_COLUMNS
    try:
        if options.page:
            _keep_page(console)
            return
        while True:
            start = time.monotonic()
            run, starts = _look()
            if options.watch and console.is_terminal:
                console.clear()
            show(run, starts, console)
            if not options.watch:
                break
            time.sleep(_pause(start))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))


def _look() -> tuple[Run, list[Start]]:
    """Return the run in this folder and its starts, the last one first."""
    starts = read_starts(FOLDER)
    if not starts:
        sys.exit("nothing was started in this folder; snakemake -n shows what would run")
    return Run(starts[0].config), starts


def _pause(start: float) -> float:
    """Return the seconds to wait after a look that began at `start`."""
    return max(WATCH_SECONDS, WATCH_SHARE * (time.monotonic() - start))


def _keep_page(console: Console) -> None:
    """Write the page until Snakemake has ended."""
    told = None
    while True:
        start = time.monotonic()
        run, starts = _look()
        page = Path(run.config["pathvars"]["results"]) / PAGE
        page.parent.mkdir(parents=True, exist_ok=True)
        write_page(run, starts, page, None if starts[0].ended else WATCH_SECONDS)
        if page != told:
            console.print(f"{page}: open it in a browser; it shows by itself how the run goes on")
            told = page
        if starts[0].ended:
            break
        time.sleep(_pause(start))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
