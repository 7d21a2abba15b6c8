"""Choose post-processing steps on cross-validation predictions (rule `search_postprocessing`)."""

from pathlib import Path

from segflow.evaluation.lesions import LesionRule
from segflow.files.cases import read_cases, write_rows
from segflow.files.content import read_own_json, write_json
from segflow.files.manifests import check_finished, read_manifest
from segflow.images.nifti import SUFFIX
from segflow.jobs.logs import logged
from segflow.jobs.workers import count_workers
from segflow.predictors.component_tables import (
    COLUMNS,
    TABLE_BYTES,
    describe_components,
    tabulate_cases,
)
from segflow.predictors.pooled_cases import Cohort
from segflow.predictors.postprocessing_search import Search, nothing_to_search, search


def main(
    predictions: list[Path],
    splits: Path,
    cases: Path,
    references: Path,
    labels: dict,
    what: Search,
    rule: LesionRule | None,
    threads: int,
    memory_mb: float,
    choice: Path,
    components: Path,
) -> None:
    """Search on the label maps beside the one table of `predictions`, if there is one.

    Writes the `choice` and a table of components.
    """
    if not predictions:
        write_rows(components, [], COLUMNS)
        write_json(choice, nothing_to_search(what))
        return
    (table,) = predictions
    keys = read_manifest(table)
    folds = {
        case: fold for fold, split in enumerate(read_own_json(splits)) for case in split["val"]
    }
    known = {case.case: case for case in read_cases(cases)}
    if strange := sorted(keys.keys() - (folds.keys() & known.keys())):
        raise ValueError(f"{table}: case {strange[0]!r} is in no validation fold")
    check_finished(keys, table, table.parent)
    largest = max((known[case].n_voxels for case in keys), default=0)
    tables = tabulate_cases(
        choice.parent / "components",
        {case: references / f"{case}{SUFFIX}" for case in keys},
        {case: table.parent / f"{case}{SUFFIX}" for case in keys},
        keys,
        labels,
        count_workers(threads, memory_mb, TABLE_BYTES * largest / 1e6, len(keys)),
    )
    cohort = Cohort(tables, labels, rule)
    write_rows(components, describe_components(cohort), COLUMNS)
    groups = {case: known[case].group for case in keys}
    write_json(choice, search(cohort, what, folds, groups))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        options, lesions = snakemake.params.options, snakemake.params.lesions
        main(
            predictions=[Path(path) for path in snakemake.input.predictions],
            splits=Path(snakemake.input.splits),
            cases=Path(snakemake.input.cases),
            references=Path(snakemake.params.references),
            labels=snakemake.params.labels,
            what=Search(
                objective=options["objective"],
                adopt=options["adopt"],
                operations=tuple(options["operations"]),
                seed=snakemake.params.seed,
            ),
            rule=LesionRule(**{**lesions, "labels": tuple(lesions["labels"])}) if lesions else None,
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb,
            choice=Path(snakemake.output.choice),
            components=Path(snakemake.output.components),
        )
