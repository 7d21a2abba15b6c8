"""Say what every column of every table is (rule `describe_tables`)."""

from pathlib import Path
from typing import Any

from segflow.files.content import write_json
from segflow.jobs.logs import logged
from segflow.report.data_dictionary import describe_tables


def main(tables: list[Path], datasets: dict[str, dict[str, Any]], package: Path) -> None:
    """Write a Data Package of the tables to `package`, to whose folder its paths are relative."""
    write_json(package, describe_tables(tables, package.parent, datasets))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables=[Path(path) for path in snakemake.input.tables],
            datasets=snakemake.params.datasets,
            package=Path(snakemake.output.package),
        )
