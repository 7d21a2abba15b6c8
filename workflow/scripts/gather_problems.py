"""Join what was found in the training and test cases (rule `gather_problems`)."""

from pathlib import Path

from segflow.datasets.leaks import leaking_images
from segflow.datasets.problems import join_problems, read_problems, write_problems
from segflow.files.cases import read_cases
from segflow.jobs.logs import logged


def main(tables: list[Path], problem_tables: list[Path], problems: Path) -> None:
    """Write one table of all problems of both parts, whatever they are.

    Images on both sides of a published split are known only here, and join them.
    """
    training, test = (read_cases(path) for path in tables)
    found = [problem for path in problem_tables for problem in read_problems(path)]
    write_problems(problems, join_problems([*found, *leaking_images(training, test)]))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables=[Path(path) for path in snakemake.input.cases],
            problem_tables=[Path(path) for path in snakemake.input.problems],
            problems=Path(snakemake.output.problems),
        )
