"""Bring the heads of a data set into template space (rule `normalise_brain`)."""

from pathlib import Path

from segflow.datasets.conversion import target_of
from segflow.datasets.normalisation import COLUMNS, check_cases, normalise_cases
from segflow.datasets.parts import PartRule, assign_parts
from segflow.datasets.problems import join_problems, raise_problems, write_problems
from segflow.datasets.sources import find_cases, record_sources
from segflow.files.cases import write_rows
from segflow.files.content import write_json
from segflow.jobs.logs import logged
from segflow.jobs.workers import count_workers

CASE_MB = 1500  # of a head of 1 mm
ADVICE = "a case that cannot be mended is left out by `exclude` in the data set's description"


def main(
    raw: Path,
    dataset: dict,
    rule: dict,
    state: str,
    folder: Path,
    workers: int,
    table: Path,
    sources: Path,
    problems: Path,
) -> None:
    """Normalise the brains of all cases below `raw` into `folder`, and write their `table`.

    What is wrong with tables and images is raised in one error, before anything is normalised.
    """
    catalogue = find_cases(dataset, raw)
    target = target_of(dataset, raw, folder, folder)
    keys, sha256, found = check_cases(catalogue.cases, target, workers)
    together = join_problems([*catalogue.problems, *found])
    write_problems(problems, together)
    raise_problems(together, str(raw), str(problems), ADVICE)
    used, _ = assign_parts(catalogue.cases, {}, PartRule(**rule))
    rows, found = normalise_cases(used, keys, target, workers)
    together = join_problems([*together, *found])
    write_problems(problems, together)
    raise_problems(together, str(raw), str(problems), ADVICE)
    for row in rows:
        if row["flagged"]:
            print(f"{row['case']}: registration failed, score {row['score']:.2f}", flush=True)
    write_json(sources, {"state": state, **record_sources(raw, catalogue.cases, sha256)})
    write_rows(table, rows, list(COLUMNS))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            raw=Path(snakemake.params.raw),
            dataset=snakemake.params.dataset,
            rule=snakemake.params.rule,
            state=snakemake.params.state,
            folder=Path(snakemake.params.folder),
            workers=count_workers(
                snakemake.threads, snakemake.resources.mem_mb, CASE_MB, snakemake.threads
            ),
            table=Path(snakemake.output.table),
            sources=Path(snakemake.output.sources),
            problems=Path(snakemake.params.problems),
        )
