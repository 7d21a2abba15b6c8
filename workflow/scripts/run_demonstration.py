"""Run the demonstration and say how far it is (`make demo`)."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

LOG = Path(".snakemake/segflow/demonstration.log")
LOOK_SECONDS = 1.0
PLAIN_SECONDS = 30.0  # between lines where there is no terminal
TAIL = 25  # lines of the log that a failure shows
HELLO = """\
The demonstration trains two small networks on 50 hippocampus cases in three folds, combines,
post-processes and tests them, and writes the report. It takes some minutes, works without a network
and without a GPU, and goes on where it was if you stop it. What Snakemake says goes to
{log}.
"""


def main(arguments: list[str] | None = None) -> None:
    """Run Snakemake on the demonstration, with one line of progress, and print its results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cores", default="all", help="cores to use")
    options = parser.parse_args(arguments)
    print(HELLO.format(log=LOG), flush=True)
    from rich.console import Console  # what takes a moment to load comes after the first words

    from segflow.run.configuration import Run
    from segflow.run.demonstration import result_table

    console = Console(highlight=False)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    since = time.time()
    with LOG.open("w") as log:
        command = [sys.executable, "-m", "snakemake", "--cores", options.cores]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            run = _watch(process, console, since)
        except KeyboardInterrupt:
            process.wait()
            sys.exit("stopped; `make demo` goes on where it was")
    if process.returncode:
        print("\n".join(LOG.read_text().splitlines()[-TAIL:]), file=sys.stderr)
        sys.exit(f"the demonstration failed; {LOG} says more")
    if run is None:  # nothing was started
        from segflow.run.record import FOLDER, read_starts

        run = Run(read_starts(FOLDER)[0].config)
    results = Path(run.config["pathvars"]["results"])
    for dataset in run.datasets:
        console.print(result_table(run, dataset, results), "", sep="\n")
    console.print(f"Open {results / 'report.html'}. To run snakemake yourself: ", end="")
    console.print("source .venv/bin/activate")


def _watch(process: subprocess.Popen, console, since: float):
    """Show how far a start is until it ends, and return its run; None if it started nothing."""
    from segflow.run.configuration import Run
    from segflow.run.demonstration import describe_progress
    from segflow.run.record import FOLDER, read_starts

    run, said, told = None, "", 0.0
    with console.status("looking at what there is to do ...") as status:
        while process.poll() is None:
            time.sleep(LOOK_SECONDS)
            starts = read_starts(FOLDER)
            if not starts or starts[0].since < since:
                continue
            run = run or Run(starts[0].config)
            line = describe_progress(run, starts[0], time.time() - starts[0].since)[1]
            status.update(line)
            if not console.is_terminal and line != said and time.time() - told > PLAIN_SECONDS:
                console.print(line)
                said, told = line, time.time()
    return run


if __name__ == "__main__":
    main()
