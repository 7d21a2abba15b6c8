"""What is found in raw files: tables of problems, and the one error that lists them."""

from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from pathlib import Path

from segflow.datasets.sources import Problem
from segflow.files.cases import read_rows, write_rows
from segflow.files.words import counted, enumerate_some

COLUMNS = [column.name for column in fields(Problem)]
SHOWN = 20  # problems that an error lists; the table has all
REPEATED = 3  # as many equal notes become one


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write a table of problems."""
    write_rows(path, map(asdict, problems), COLUMNS)


def read_problems(path: Path) -> list[Problem]:
    """Read a table of problems."""
    return [Problem(**row) for row in read_rows(path, COLUMNS)]


def failed_cases(problems: Iterable[Problem]) -> set[str]:
    """Return the cases with a problem that conversion cannot repair."""
    return {problem.case for problem in problems if problem.severity == "error"}


def join_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems without doubles; notes that repeat become one with the number of cases."""
    distinct = list(dict.fromkeys(problems))
    cases: dict[tuple[str, str], list[str]] = {}
    for problem in distinct:
        if problem.severity == "note" and problem.case:
            cases.setdefault((problem.problem, problem.action), []).append(problem.case)
    joined = []
    for problem in distinct:
        same = cases.get((problem.problem, problem.action), [])
        if problem.severity != "note" or len(same) < REPEATED:
            joined.append(problem)
        elif problem.case == same[0]:
            text = f"{problem.problem} ({counted(len(same), 'case')}: {enumerate_some(same)})"
            joined.append(replace(problem, case="", file="", problem=text))
    return joined


def table_of_part(cases: Path) -> Path:
    """Return the table of the problems of one part, which lies beside that of its cases."""
    return cases.with_name(f"{cases.stem}_problems.csv")


def join_parts(tables: Iterable[Path], joined: Path, more: Iterable[Problem] = ()) -> list[Problem]:
    """Join the problems of the parts that were looked at, and return them.

    Parameters
    ----------
    tables : iterable of Path
        Tables of the cases of each part.
    joined : Path
        The table to write.
    more : iterable of Problem
        What was found beside them.
    """
    found = [
        problem
        for path in map(table_of_part, tables)
        if path.exists()
        for problem in read_problems(path)
    ]
    problems = join_problems([*found, *more])
    write_problems(joined, problems)
    return problems


def raise_problems(
    problems: Iterable[Problem], where: str, table: str = "", advice: str = ""
) -> None:
    """Raise one error that lists what conversion cannot repair.

    Parameters
    ----------
    problems : iterable of Problem
        What was found.
    where : str
        Where, for the message.
    table : str
        The table that lists all of them, if there is one.
    advice : str
        What to do where nothing can be mended, if there is anything.

    Raises
    ------
    ValueError
        If anything cannot be repaired.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        shown = errors[:SHOWN] if table else errors
        lines = [f"  {one.file or one.case}: {one.problem} ({one.action})" for one in shown]
        if len(errors) > len(shown):
            lines.append(f"  and {len(errors) - len(shown)} more; all are in {table}")
        title = f"{where}: {counted(len(errors), 'problem')}"
        raise ValueError("\n".join(filter(None, [title, *lines, advice])))
