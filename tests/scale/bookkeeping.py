"""What Segflow does around the work on cases, for one data set with very many, very small ones.

Usage: bookkeeping.py STEP FOLDER N. Steps read what those before them have written.
"""

import gzip
import os
import sys
from pathlib import Path

import nibabel
import numpy as np
from measure import ROOT, timed

sys.path.insert(0, str(ROOT / "workflow/scripts"))

from segflow.run.configuration import Run

N_FOLDS = 5
LABELS = {"background": 0, "one": 1, "two": 2, "three": 3}
WORKERS = os.cpu_count()
SUMMARIES = (
    *("csv", "markdown", "latex", "html", "volumes", "lesions", "structures", "subgroups"),
    "flow",
)
HEADER = ["split", "stage", "fold", "case", "label"]


def make_files(folder: Path, n: int) -> None:
    """Write the published files: an image and a label map of 8 x 8 x 8 voxels for each case."""
    image = nibabel.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4))
    image.header.set_xyzt_units("mm")
    header = image.to_bytes()[: -image.get_fdata().size]
    for name in ("imagesTr", "labelsTr"):
        (folder / "raw" / name).mkdir(parents=True)
        for number in range(n):
            # No two cases are equal: the bits of the number are drawn with labels 2 and 3.
            array = np.zeros((8, 8, 8), np.uint8)
            array[1:7, 1:7, 1:7] = 1
            array[2, 1:7, 1:7].flat[:32] = [2 + (number >> bit & 1) for bit in range(32)]
            path = folder / "raw" / name / f"hippocampus_{number:05d}.nii.gz"
            path.write_bytes(gzip.compress(header + array.tobytes(), 1))


def describe(folder: Path) -> tuple[dict, Path, dict]:
    """Return the description of the data set, its raw folder, and how it is divided."""
    config = {"datasets": ["hippocampus"], "models": [], "n_folds": N_FOLDS}
    run = Run({**config, "raw_folders": {"hippocampus": str(folder / "raw")}})
    dataset = {**run.datasets["hippocampus"], "labels": LABELS}
    return dataset, folder / "raw", run.part_rule("hippocampus")


def look_at_start(folder: Path, n: int) -> None:
    """What Snakemake does at each start: the state of the raw files."""
    from segflow.datasets.parts import cases_of_part
    from segflow.datasets.sources import state_of_sources

    dataset, raw, rule = describe(folder)
    with timed():
        cases = cases_of_part(dataset, raw, rule, "train")
        state_of_sources(raw, cases, folder / "cases/train_sources.json")
    assert len(cases) == n


def touch(folder: Path, n: int) -> None:
    """Touch all published files, so that the next start has to hash them."""
    for path in (folder / "raw").rglob("*.nii.gz"):
        path.touch()


def convert(folder: Path, n: int) -> None:
    """Check and convert all cases; those that are finished are left as they are."""
    import convert_dataset

    dataset, raw, rule = describe(folder)
    with timed():
        convert_dataset.main(
            raw=raw,
            dataset=dataset,
            rule=rule,
            pairs=None,
            part="train",
            state="state",
            folder=folder / "converted",
            workers=WORKERS,
            cases=folder / "cases/train.csv",
            problems=folder / "problems.csv",
            sources=folder / "cases/train_sources.json",
        )


def gather_and_split(folder: Path, n: int) -> None:
    """Join the tables of cases and divide the cases into folds."""
    import gather_cases
    import make_splits
    from segflow.files.cases import COLUMNS, write_rows

    tables = [folder / "cases/train.csv", folder / "cases/test.csv"]
    write_rows(tables[1], [], COLUMNS)
    with timed():
        gather_cases.main(tables, False, [], folder / "cases.csv", folder / "problems.csv")
        make_splits.main(
            tables[0], None, False, N_FOLDS, 1, folder / "splits.json", folder / "nnunet.json"
        )


def finish(folder: Path, n: int) -> None:
    """Enter cases into the ledger of a step whose work is to write a byte, or find them there."""
    from segflow.files.cases import read_cases
    from segflow.files.manifests import read_manifest, write_manifest
    from segflow.jobs.workers import finish_cases

    target = folder / "step"
    target.mkdir(exist_ok=True)
    with timed():
        keys = {case.case: case.content for case in read_cases(folder / "cases.csv")}
        finish_cases(target, keys, keys, lambda item: _write_byte(target, item), 1, "step")
        write_manifest(target / "step.csv", keys)
        read_manifest(target / "step.csv")


def _write_byte(target: Path, item: tuple[str, str]) -> list[Path]:
    path = target / f"{item[0]}.bin"
    path.write_bytes(b"1")
    return [path]


def evaluate(folder: Path, n: int) -> None:
    """Compare the predictions of all cases, which are their references, before post-processing."""
    import evaluate_predictor
    from segflow.files.ledger import Ledger
    from segflow.files.manifests import write_manifest

    predictions = folder / "predictor/predictions/val/raw"
    predictions.mkdir(parents=True, exist_ok=True)
    names = [f"hippocampus_{number:05d}" for number in range(n)]
    for name in names:
        path = predictions / f"{name}.nii.gz"
        if not path.exists():
            os.link(folder / f"converted/labelsTr/{name}.nii.gz", path)
            Ledger(predictions).enter(name, "key", [path])
    write_manifest(predictions / "predictions.csv", dict.fromkeys(names, "key"))
    with timed():
        evaluate_predictor.main(
            predictions=[predictions / "predictions.csv"],
            cases=folder / "cases.csv",
            splits=folder / "splits.json",
            folds=list(range(N_FOLDS)),
            labels=LABELS,
            tolerances_mm=dict.fromkeys(LABELS, 1.0),
            lesion_rule=None,
            options=[],
            boundary_mm=None,
            raw=folder / "converted",
            threads=WORKERS,
            memory_mb=8000,
            metrics=folder / "predictor/metrics.csv",
            lesions=folder / "predictor/lesions.csv",
        )


def invent_metrics(folder: Path, n: int) -> None:
    """Write the metrics of two predictors in both stages: random ones, of the real columns."""
    import pandas as pd

    found = pd.read_csv(folder / "predictor/metrics.csv", keep_default_na=False, na_values=[""])
    random = np.random.default_rng(1)
    names = [name for name in found if name not in HEADER and found[name].dtype == float]
    for predictor in ("first", "second"):
        stages = []
        for stage in ("raw", "postprocessed"):
            rows = found.assign(stage=stage)
            rows[names] = random.uniform(0.5, 1, (len(rows), len(names)))
            stages.append(rows)
        (folder / predictor).mkdir(exist_ok=True)
        pd.concat(stages).to_csv(folder / predictor / "metrics.csv", index=False)


def _tables(folder: Path) -> dict[str, Path]:
    return {name: folder / name / "metrics.csv" for name in ("first", "second")}


def summarise(folder: Path, n: int) -> None:
    """Summarise the metrics of two predictors."""
    import summarise_metrics

    output = {kind: folder / f"summary.{kind}" for kind in SUMMARIES}
    titles = {"first": "First", "second": "Second"}
    with timed():
        summarise_metrics.main(
            tables=_tables(folder),
            cases=folder / "cases.csv",
            titles=titles,
            title="Many cases",
            regions=[],
            seed=1,
            rule=None,
            penalty_mm=None,
            columns=[],
            excluded={},
            publications={},
            classes=[],
            output=output,
        )


def compare(folder: Path, n: int) -> None:
    """Compare two predictors."""
    import compare_predictors

    output = {kind: folder / f"comparisons.{kind}" for kind in ("csv", "html")}
    titles = {"first": "First", "second": "Second"}
    with timed():
        compare_predictors.main(
            _tables(folder), folder / "cases.csv", titles, "Many cases", [], None, output
        )


STEPS = (
    make_files,
    look_at_start,
    touch,
    convert,
    gather_and_split,
    finish,
    evaluate,
    invent_metrics,
    summarise,
    compare,
)

if __name__ == "__main__":
    step, folder, n = sys.argv[1:]
    {function.__name__: function for function in STEPS}[step](Path(folder), int(n))
