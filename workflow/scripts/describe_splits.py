"""Say what each fold of one data set holds (rule `describe_splits`)."""

from pathlib import Path

from segflow.datasets.folds import describe_folds
from segflow.files.cases import read_cases, write_rows
from segflow.files.content import read_json
from segflow.files.labels import Labels
from segflow.jobs.logs import logged, warn


def main(cases: Path, splits: Path, labels: Labels, table: Path) -> None:
    """Write a row for training and validation of each fold, and warn of labels that one lacks."""
    rows = describe_folds(read_json(splits), read_cases(cases), labels)
    for row in rows:
        if row["lacks"]:
            part = "training" if row["part"] == "train" else "validation"
            warn(f"{splits}: fold {row['fold']} has no {row['lacks']} in {part}")
    write_rows(table, rows, list(rows[0]))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            labels=snakemake.params.labels,
            table=Path(snakemake.output.table),
        )
