"""Join the tables of training and test cases (rule `gather_cases`)."""

from dataclasses import asdict, fields
from pathlib import Path

from segflow.datasets.leaks import check_test_cases, leaking_images
from segflow.datasets.sources import Problem
from segflow.files.cases import read_cases, read_rows, write_cases, write_rows
from segflow.jobs.logs import logged

COLUMNS = [field.name for field in fields(Problem)]


def main(
    tables: list[Path], problem_tables: list[Path], published: bool, cases: Path, problems: Path
) -> None:
    """Write all cases of both `tables` and all problems, unless test cases leak into training.

    Of a published split that was asked for by name, the patients and groups on both sides are among
    the problems already; the images on both sides are known only here, and join them.
    """
    training, test = (read_cases(path) for path in tables)
    if not published:
        check_test_cases(training, test)
    write_cases(cases, training + test)
    rows = [row for path in problem_tables for row in read_rows(path, COLUMNS)]
    rows += map(asdict, leaking_images(training, test))
    write_rows(problems, rows, COLUMNS)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables=[Path(path) for path in snakemake.input.cases],
            problem_tables=[Path(path) for path in snakemake.input.problems],
            published=snakemake.params.published,
            cases=Path(snakemake.output.cases),
            problems=Path(snakemake.output.problems),
        )
