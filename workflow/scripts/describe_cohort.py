"""Compare age, sex and scores between classes and parts (rule `describe_cohort`)."""

from pathlib import Path

from segflow.datasets.cohort import COLUMNS, describe_cohort
from segflow.files.cases import read_cases, write_rows
from segflow.files.content import read_json
from segflow.jobs.logs import logged


def main(cases: Path, splits: Path, classes: list[str], table: Path) -> None:
    """Write and print what each part of each fold, and the test cases, hold of each class."""
    rows = describe_cohort(read_cases(cases), read_json(splits), classes)
    write_rows(table, rows, COLUMNS)
    widths = {name: max(len(str(row[name])) for row in [*rows, {name: name}]) for name in COLUMNS}
    for row in [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows]:
        print("  ".join(str(row[name]).ljust(widths[name]) for name in COLUMNS).rstrip())


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            classes=snakemake.params.classes,
            table=Path(snakemake.output.table),
        )
