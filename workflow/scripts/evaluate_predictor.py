"""Compare a predictor's label maps with their references (rule `evaluate_predictor`)."""

from pathlib import Path

from segflow.cases import read_cases, write_rows
from segflow.content import read_json
from segflow.images import SUFFIX
from segflow.job import logged
from segflow.manifests import read_manifest
from segflow.metrics import COUNTS, METRICS, VOLUMES, Comparison, evaluate_cases

COLUMNS = ["split", "stage", "fold", "case", "label", *METRICS, *COUNTS, *VOLUMES]


def main(
    predictions: list[Path],
    cases: Path,
    splits: Path,
    folds: list[int],
    labels: dict,
    raw: Path,
    workers: int,
    metrics: Path,
) -> None:
    """Evaluate the cases of all `predictions` tables, each in a folder ``SPLIT/STAGE``.

    Validation cases are those of `folds`. Test cases without a reference are left out.

    Raises
    ------
    FileNotFoundError
        If a case has no prediction.
    """
    divided = read_json(splits)
    fold_of: dict[str, int | str] = {case: fold for fold in folds for case in divided[fold]["val"]}
    tested = [case.case for case in read_cases(cases) if case.split == "test" and case.label]
    expected = {"val": fold_of, "test": dict.fromkeys(tested, "all")}
    comparisons = []
    for table in predictions:
        stage, split = table.parent.name, table.parent.parent.name
        references = raw / ("labelsTr" if split == "val" else "labelsTs")
        missing = sorted(expected[split].keys() - read_manifest(table).keys())
        if missing:
            raise FileNotFoundError(f"{table}: cases without a prediction: {', '.join(missing)}")
        for case, fold in sorted(expected[split].items()):
            name = f"{case}{SUFFIX}"
            about = {"split": split, "stage": stage, "fold": fold, "case": case}
            comparisons.append(Comparison(references / name, table.parent / name, about))
    rows = evaluate_cases(comparisons, labels, workers)
    write_rows(metrics, rows, COLUMNS)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            predictions=[Path(path) for path in snakemake.input.predictions],
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            folds=snakemake.params.folds,
            labels=snakemake.params.labels,
            raw=Path(snakemake.params.raw),
            workers=snakemake.threads,
            metrics=Path(snakemake.output.metrics),
        )
