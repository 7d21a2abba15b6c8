"""Side by side with nnU-Net's commands and other peers: seconds and memory of the same work.

Run by `make bench`, or by hand with the names of the parts to run (see ``PARTS``). Prints ratios
(peer over ours: larger is better) and writes ``results/benchmarks.csv``.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parents[2] / "workflow/scripts"))

from bench_conversion import bench_convert
from bench_evaluation import (
    bench_distances,
    bench_ensemble,
    bench_evaluate,
    bench_growth,
    bench_large,
    bench_search,
)
from bench_inference import bench_export, bench_inference
from bench_workflow import bench_dry_run, bench_experiment, bench_prepare
from costs import COLUMNS
from project import ROOT

PARTS = {
    "convert": bench_convert,
    "prepare": bench_prepare,
    "experiment": bench_experiment,
    "dry_run": bench_dry_run,
    "inference": bench_inference,
    "export": bench_export,
    "evaluate": bench_evaluate,
    "distances": bench_distances,
    "large": bench_large,
    "growth": bench_growth,
    "search": bench_search,
    "ensemble": bench_ensemble,
}


def main(names: list[str]) -> None:
    """Run the benchmarks and print and write their table."""
    path = ROOT / "results/benchmarks.csv"
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for name in names or PARTS:
            print(name, flush=True)
            for line in PARTS[name](Path(folder) / name):
                writer.writerow(line)
                print(json.dumps(line), flush=True)
            file.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
