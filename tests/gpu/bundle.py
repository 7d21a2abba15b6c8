"""Gather what `make gpu` needs on a machine without network and without this environment.

Run by `make gpu-bundle`. Wheels in the versions of the lock, and a miniature project of which all
that comes before training is done, go to the folder ``gpu-bundle``.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from project import ROOT, TINY, make_project

BUNDLE = ROOT / "gpu-bundle"
LIMIT_MB = 60
PYTHON = "3.12"
# What training, prediction and status import beside PyTorch and the usual scientific packages.
WHEELS = [
    "acvl-utils",
    "batchgenerators",
    "batchgeneratorsv2",
    "dynamic-network-architectures",
    "nnunetv2",
    "blosc2",
    "ndindex",
    "numexpr",
    "connected-components-3d",
    "edt",
    "isal",
    "nibabel",
    "pydicom",
    "jsonschema",
    "jsonschema-specifications",
    "referencing",
    "rpds-py",
]
FROM_SOURCE = ["acvl-utils"]  # of which there is no wheel
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17, 12, 5)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
COMMON = {
    "configuration": "3d_fullres",
    "threads": 1,
    "prediction": {"mirroring": False},
    "training": {
        "schedule": "nnunet",
        "augmentation": "nnunet",
        "compile": False,  # it takes a minute
        "epochs": 5,
        "iterations_per_epoch": 100,
        "validation_iterations_per_epoch": 5,
    },
}
MODELS = {
    "full": {**COMMON, "title": "nnU-Net's own network, for a GPU", "overrides": {}},
    "tiny": {
        **COMMON,
        "title": "A tiny network, for a rehearsal on the CPU",
        "overrides": {"base_features": 4, "batch_size": 2},
        "training": {**COMMON["training"], **TINY["training"], "epochs": 3},
    },
}
N_CASES, N_FOLDS = 16, 2


def gather_wheels(folder: Path) -> None:
    """Fetch the wheels that such a machine lacks, by the hashes of the lock, or build them."""
    folder.mkdir(parents=True)
    lock = (ROOT / "envs/requirements.txt").read_text()
    entries = re.findall(r"^[\w-]+==(?:.*\\\n)*.*$", lock, re.MULTILINE)
    locked = {entry.split("==")[0]: entry for entry in entries}
    fetched = sorted({*WHEELS} - {*FROM_SOURCE})
    options = ["--only-binary", ":all:", "--python-version", PYTHON, "--dest", folder]
    options += [f"--platform={name}" for name in PLATFORMS]
    _run_pip("download", [locked[name] for name in fetched], *options)
    _run_pip("wheel", [locked[name] for name in FROM_SOURCE], "--wheel-dir", folder)


def _run_pip(command: str, requirements: list[str], *options: str | Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements))
        file.flush()
        pip = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, *options, "--requirement", file.name], check=True)


def gather_project(folder: Path) -> None:
    """Let the workflow do all that comes before training, and keep what training needs."""
    with tempfile.TemporaryDirectory() as temporary:
        project = make_project(Path(temporary, "project"), MODELS, N_CASES, 1, N_FOLDS)
        project.snakemake("preprocess", "split", "plan")
        record = next((project.folder / ".snakemake/segflow").glob("*.jsonl"))
        config = json.loads(record.read_text().splitlines()[0])["config"]
        ignored = shutil.ignore_patterns("nnUNet_raw", "gt_segmentations")
        shutil.copytree(project.results, folder / "results", ignore=ignored)
        shutil.copytree(project.folder / "config", folder / "config")
        (folder / "config.json").write_text(json.dumps(config))


def main() -> None:
    """Gather everything anew."""
    shutil.rmtree(BUNDLE, ignore_errors=True)
    gather_wheels(BUNDLE / "wheels")
    gather_project(BUNDLE / "project")
    size = sum(path.stat().st_size for path in BUNDLE.rglob("*") if path.is_file()) / 1e6
    print(f"{BUNDLE.name}: {size:.0f} MB")
    if size > LIMIT_MB:
        sys.exit(f"{BUNDLE.name}: {size:.0f} MB; allowed are {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
