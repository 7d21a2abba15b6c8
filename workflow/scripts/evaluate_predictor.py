"""Compare a predictor's label maps with their references (rule `evaluate_predictor`)."""

from pathlib import Path

from segflow.evaluation.all_cases import Comparison, evaluate_cases
from segflow.evaluation.lesions import LesionRule, lesion_columns
from segflow.evaluation.metrics import columns
from segflow.evaluation.one_case import Settings
from segflow.files.cases import write_rows
from segflow.files.content import read_own_json
from segflow.files.manifests import check_finished, read_converted, read_manifest
from segflow.images.nifti import SUFFIX
from segflow.jobs.logs import logged
from segflow.jobs.workers import count_workers

KEYS = ["split", "stage", "fold", "case", "label"]
BYTES_PER_VOXEL = 18  # of the largest case, where one label, of lesions, fills the whole image


def main(
    predictions: list[Path],
    cases: Path,
    splits: Path,
    folds: list[int],
    labels: dict,
    tolerances_mm: dict[str, float],
    lesion_rule: dict | None,
    options: list[str],
    boundary_mm: float | None,
    raw: Path,
    threads: int,
    memory_mb: float,
    metrics: Path,
    lesions: Path,
) -> None:
    """Evaluate the cases of all `predictions` tables, each in a folder ``SPLIT/STAGE``.

    Validation cases are those of `folds`. Test cases without a reference are left out.

    Raises
    ------
    FileNotFoundError
        If a case has no prediction.
    ValueError
        If there is a prediction of a case that is not expected.
    """
    divided = read_own_json(splits)
    known = read_converted(
        cases, raw, *(cases.parent / "cases" / f"{part}.csv" for part in ("train", "test"))
    )
    tested = {case.case: case for case in known if case.split == "test"}
    expected: dict[str, dict[str, int | str]] = {
        "val": {case: fold for fold in folds for case in divided[fold]["val"]},
        "test": {name: "all" for name, case in tested.items() if case.label},
    }
    unlabelled = {"val": set(), "test": tested.keys() - expected["test"].keys()}
    comparisons = []
    for table in predictions:
        stage, split = table.parent.name, table.parent.parent.name
        references = raw / ("labelsTr" if split == "val" else "labelsTs")
        found = read_manifest(table)
        if missing := sorted(expected[split].keys() - found.keys()):
            raise FileNotFoundError(f"{table}: cases without a prediction: {', '.join(missing)}")
        if extra := sorted(found.keys() - expected[split].keys() - unlabelled[split]):
            raise ValueError(f"{table}: predictions of cases not expected: {', '.join(extra)}")
        check_finished(found, table, table.parent)
        for case, fold in sorted(expected[split].items()):
            name = f"{case}{SUFFIX}"
            about = {"split": split, "stage": stage, "fold": fold, "case": case}
            comparisons.append(Comparison(references / name, table.parent / name, about))
    flat = all("1" in case.shape.split() for case in known)
    rule = lesion_rule and LesionRule(**{**lesion_rule, "labels": tuple(lesion_rule["labels"])})
    settings = Settings(labels, tolerances_mm, rule, flat, tuple(sorted(options)), boundary_mm)
    case_mb = max(case.n_voxels for case in known) * BYTES_PER_VOXEL / 1e6
    workers = count_workers(threads, memory_mb, case_mb, len(comparisons))
    folder = metrics.parent / "evaluation"
    rows, lesion_rows = evaluate_cases(comparisons, settings, folder, workers)
    write_rows(metrics, rows, [*KEYS, *columns(flat, options)])
    write_rows(lesions, lesion_rows, [*KEYS, *lesion_columns(flat)])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            predictions=[Path(path) for path in snakemake.input.predictions],
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            folds=snakemake.params.folds,
            labels=snakemake.params.labels,
            tolerances_mm=snakemake.params.tolerances_mm,
            lesion_rule=snakemake.params.lesions,
            options=snakemake.params.options,
            boundary_mm=snakemake.params.boundary_mm,
            raw=Path(snakemake.params.raw),
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb,
            metrics=Path(snakemake.output.metrics),
            lesions=Path(snakemake.output.lesions),
        )
