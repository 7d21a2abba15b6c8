"""Join the tables of training and test cases (rule `gather_cases`)."""

from pathlib import Path

from segflow.datasets.leaks import check_test_cases
from segflow.datasets.problems import raise_problems, read_problems
from segflow.files.cases import read_cases, write_cases
from segflow.jobs.logs import logged


def main(tables: list[Path], problems: Path, raw: str, published: bool, cases: Path) -> None:
    """Write all cases of both `tables`, unless something is wrong that must be mended.

    That is an error among the `problems`, or a test case that training could have seen. Such
    leaks of a published split that was asked for by name are kept, as problems.
    """
    raise_problems(read_problems(problems), raw, str(problems))
    training, test = (read_cases(path) for path in tables)
    if not published:
        check_test_cases(training, test)
    write_cases(cases, training + test)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables=[Path(path) for path in snakemake.input.cases],
            problems=Path(snakemake.input.problems),
            raw=snakemake.params.raw,
            published=snakemake.params.published,
            cases=Path(snakemake.output.cases),
        )
