"""Join the tables of training and test cases (rule `gather_cases`)."""

from pathlib import Path

from segflow.datasets.leaks import check_test_cases, leaking_images
from segflow.datasets.problems import join_parts
from segflow.datasets.subgroups import divide
from segflow.files.cases import read_cases, write_cases
from segflow.jobs.logs import logged


def main(
    tables: list[Path], published: bool, columns: list[str], cases: Path, problems: Path
) -> None:
    """Write all cases of both `tables` and all problems, unless test cases leak into training.

    The `columns` by which results will be summarised must divide the cases.

    Of a published split that was asked for by name, the patients and groups on both sides are among
    the problems already; the images on both sides are known only here, and join them.
    """
    training, test = (read_cases(path) for path in tables)
    join_parts(tables, problems, leaking_images(training, test))
    divide(training + test, columns)
    if not published:
        check_test_cases(training, test)
    write_cases(cases, training + test)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables=[Path(path) for path in snakemake.input.cases],
            published=snakemake.params.published,
            columns=snakemake.params.subgroups,
            cases=Path(snakemake.output.cases),
            problems=Path(snakemake.output.problems),
        )
