"""Run the checks for a machine with a GPU, without network and without the environment.

Run by `make gpu`, or by hand with the names of the checks to run (see ``CHECKS``). It needs what
`make gpu-bundle` gathered. Prints a table and writes it to ``results/gpu.csv``, and to the folder
that ``OUT`` names, if it is set; ``gpu.json`` beside it says on what it was measured.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
import zipfile
from dataclasses import asdict, fields
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUNDLE = ROOT / "gpu-bundle"
# Imported, and not needed for preprocessed data; their wheels are large.
STAND_INS = ("SimpleITK", "imagecodecs")
REHEARSED = "rehearsed"  # on the CPU, with an nvidia-smi that lists a device of its own


def main(arguments: list[str] | None = None) -> None:
    """Run the checks."""
    parser = argparse.ArgumentParser(prog="make gpu", description=main.__doc__)
    parser.add_argument("checks", nargs="*", help="names of the checks; all by default")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, try it on the CPU")
    options = parser.parse_args(arguments)
    there = torch.cuda.is_available()
    if not there and not options.rehearse:
        print("make gpu: PyTorch finds no CUDA device here; skipped")
        return
    if not (BUNDLE / "project").is_dir():
        sys.exit(f"{BUNDLE.name}/project is not there; run make gpu-bundle where there is network")
    with tempfile.TemporaryDirectory() as folder:
        paths = [*prepare_imports(Path(folder) / "site"), str(HERE), str(HERE.parent / "helpers")]
        sys.path[:0] = [*paths, str(ROOT / "workflow/scripts")]
        sys.exit(run_checks(options.checks, Path(folder), paths, rehearsal=not there))


def prepare_imports(site: Path) -> list[str]:
    """Unpack the wheels where the environment is not there; return where to import from."""
    if find_spec("nnunetv2"):
        return []
    for wheel in (BUNDLE / "wheels").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)
    for name in STAND_INS:
        if not find_spec(name):
            (site / f"{name}.py").touch()
    return [str(site)]


def run_checks(names: list[str], work: Path, paths: list[str], rehearsal: bool) -> int:
    """Run checks one after the other, and write their table; return the number that failed."""
    from checks import CHECKS, Row
    from experiment import Bench, fake_gpu, find_gpu
    from segflow.jobs.processes import end_cleanly

    end_cleanly()  # so that a limit of time leaves no trainings behind
    gpu = fake_gpu(work / "bin") if rehearsal else find_gpu()
    bench = Bench(BUNDLE / "project", work, paths, rehearsal, gpu)
    folder = ROOT / "results"
    folder.mkdir(exist_ok=True)
    about = describe_machine(rehearsal)
    (folder / "gpu.json").write_text(json.dumps(about, indent=2) + "\n")
    print(json.dumps(about), flush=True)
    n_failed, good = 0, REHEARSED if rehearsal else "yes"
    with (folder / "gpu.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        for name in names or CHECKS:
            start = time.monotonic()
            for row in rows_of(CHECKS[name], bench, Row):
                n_failed += not row.ok
                line = asdict(row) | {"ok": good if row.ok else "no"}
                line |= {k: f"{v:.4g}" for k, v in line.items() if isinstance(v, float)}
                writer.writerow(line)
                file.flush()
                print(" | ".join(map(str, line.values())), flush=True)
            print(f"  {name}: {time.monotonic() - start:.0f} s", flush=True)
            if out := os.environ.get("OUT"):
                for written in folder.glob("gpu.*"):
                    shutil.copy(written, out)
    return n_failed


def rows_of(check, bench, make_row):
    """Yield the rows of a check, and one more if it breaks off; the others still run."""
    try:
        yield from check(bench)
    except Exception as error:
        traceback.print_exc()
        first = str(error).splitlines()[0] if str(error) else ""
        yield make_row(check.__name__, f"{type(error).__name__}: {first}"[:200], ok=False)


def describe_machine(rehearsal: bool) -> dict[str, str]:
    """Return on what it is measured."""
    names = ("torch", "nnunetv2", "numpy", "blosc2", "batchgeneratorsv2")
    device = f"{REHEARSED} on the CPU" if rehearsal else torch.cuda.get_device_name()
    return {
        "device": device,
        "cuda": str(torch.version.cuda),
        "cpus": str(os.cpu_count()),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "date": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    main()
