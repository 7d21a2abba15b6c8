"""Run every study in miniature, from raw files to report.

Run by `make studies`, or by hand with the names of studies. Each is its own configuration
(`config/studies`) and a small one on top: `miniature`, one of two folds (both where something
learns from what networks of other folds predict), and raw folders with samples where they lie
beside the project, else with drawn files in the exact layout. What comes out stays in
``results/studies``; ``results/studies.csv`` says what each took.
"""

import csv
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parents[2] / "workflow/scripts"))

import yaml

from project import ROOT
from studies import STUDIES, make_raw_folders

COLUMNS = ["study", "data_sets", "trainings", "seconds", "cpu_s"]
FOLDER = ROOT / "results" / "studies"
OTHERWISE = {
    # V-Net, of 45 million parameters and 5 x 5 x 5 convolutions, cannot be made smaller.
    "s0_breastdm": {"miniature": {"iterations_per_epoch": 1, "batch_size": 1}},
    # A plan of low resolution needs a patch that is much smaller than the images, which are small.
    "s4_cascade": {"datasets": ["amos22"], "miniature": {"gpu_memory_gb": 0.03}},
}


def run_study(name: str) -> dict[str, str | int]:
    """Run one study and return its row of the table.

    Raises
    ------
    RuntimeError
        If it does not get to its report, a predictor has no metrics, published rows are missing,
        or a second run would do something.
    """
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    study = yaml.safe_load(STUDIES[name].read_text())
    # Cascades and classifiers of lesions learn from what networks of other folds predict.
    described = (
        yaml.safe_load((ROOT / f"config/models/{model}.yaml").read_text())
        for model in study["models"]
    )
    learned = [*described, *study.get("feature_classifiers", {}).values()]
    needs_others = any(one.keys() & {"predictor", "previous_model"} for one in learned)
    n_folds = min(2, study["n_folds"])
    folds = list(range(n_folds)) if needs_others else [0]
    small = {"miniature": {}, "n_folds": n_folds, "folds": folds}
    study |= small | OTHERWISE.get(name, {})
    raw = make_raw_folders(study["datasets"], folder / "raw")
    overlay = {key: study[key] for key in (*small, "datasets")} | {"raw_folders": raw}
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    began, cpu_s = time.monotonic(), _cpu_seconds()
    _snakemake(folder, name)
    row = {"study": name, "data_sets": len(raw), "seconds": round(time.monotonic() - began)}
    row["cpu_s"] = round(_cpu_seconds() - cpu_s)
    results = folder / study["pathvars"]["results"]
    row["trainings"] = len(list(results.glob("*/*/fold_*/training.json")))
    _check(results, study)
    if "Nothing to be done" not in _snakemake(folder, name, "--dry-run"):
        raise RuntimeError(f"{name}: a second run would not do nothing")
    return row


def _snakemake(folder: Path, study: str, *options: str) -> str:
    """Run the workflow in a folder and return what it prints."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += ["--cores", os.environ.get("CORES", "all"), *options]
    command += ["--configfile", STUDIES[study], "overlay.yaml"]
    log = folder / "snakemake.log"
    with log.open("w") as file:
        done = subprocess.run(
            command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    text = log.read_text()
    if done.returncode:
        raise RuntimeError(f"{study}: {log} says why: {text[-3000:]}")
    return text


def _check(results: Path, study: dict) -> None:
    """Refuse results that lack something."""
    report = results / "report.html"
    if "A miniature" not in report.read_text():
        raise RuntimeError(f"{report}: does not say that it is a miniature")
    for dataset in study["datasets"]:
        rows = []
        for name in ("summary.csv", "classification_summary.csv"):
            path = results / dataset / name
            if path.exists():
                with path.open(newline="") as file:
                    rows += csv.DictReader(file)
        known = (ROOT / "config/published" / f"{dataset}.yaml").exists()
        if known != any(row["published"] for row in rows):
            raise RuntimeError(f"{results}: published rows of {dataset} are missing")
        ours = {row["predictor"] for row in rows if not row["published"]}
        if lacking := set(study["models"]) - ours:
            raise RuntimeError(f"{results}: {dataset} has no measures of {', '.join(lacking)}")


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(names: list[str]) -> None:
    """Run the named studies, or all."""
    if unknown := set(names) - set(STUDIES):
        sys.exit(f"unknown study {min(unknown)!r}; known: {', '.join(STUDIES)}")
    rows, failures = [], []
    for name in names or STUDIES:
        try:
            rows.append(run_study(name))
        except RuntimeError as error:  # the others are tried all the same
            failures.append(name)
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
            continue
        print("  ".join(f"{key}: {rows[-1][key]}" for key in COLUMNS), flush=True)
    with FOLDER.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    if failures:
        sys.exit(f"failed: {', '.join(failures)}")


if __name__ == "__main__":
    main(sys.argv[1:])
