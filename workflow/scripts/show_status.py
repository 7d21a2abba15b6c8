"""Show how far the run in this folder is (`make status`)."""

import argparse
import sys
import time
from contextlib import suppress

from rich.console import Console

from segflow.run.configuration import Run
from segflow.run.record import FOLDER, read_starts
from segflow.run.status import show

WATCH_SECONDS = 5.0
WATCH_SHARE = 10  # when watching, at most this part of the time is spent on looking
PLAIN_COLUMNS = 200  # where there is no terminal


def main(arguments: list[str] | None = None) -> None:
    """Show how far the run in this folder is."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--watch", action="store_true", help="show it again and again")
    options = parser.parse_args(arguments)
    # Names and logs hold what looks like markup, and are no code to be coloured.
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_COLUMNS
    try:
        while True:
            start = time.monotonic()
            starts = read_starts(FOLDER)
            if not starts:
                sys.exit("nothing was started in this folder; snakemake -n shows what would run")
            run = Run(starts[0].config)
            if options.watch and console.is_terminal:
                console.clear()
            show(run, starts, console)
            if not options.watch:
                break
            time.sleep(max(WATCH_SECONDS, WATCH_SHARE * (time.monotonic() - start)))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
