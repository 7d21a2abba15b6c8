"""Check the published files of one part of a data set and convert them (rule `convert_dataset`)."""

from dataclasses import replace
from pathlib import Path

from segflow.datasets.conversion import (
    convert_cases,
    missing_labels,
    note_orientations,
    remove_other_cases,
    target_of,
)
from segflow.datasets.dataset_json import describe_for_nnunet
from segflow.datasets.leaks import contradictions, find_copies
from segflow.datasets.near_duplicates import group_pairs, read_pairs
from segflow.datasets.parts import PartRule, assign_parts, cases_of_part
from segflow.datasets.problems import (
    failed_cases,
    join_parts,
    raise_problems,
    table_of_part,
    write_problems,
)
from segflow.datasets.sources import find_cases, record_sources
from segflow.files.cases import write_cases
from segflow.files.content import file_sha256, write_json
from segflow.jobs.logs import logged

ADVICE = "a case that cannot be mended is left out by `exclude` in the data set's description"


def main(
    raw: Path,
    dataset: dict,
    rule: dict,
    pairs: Path | None,
    part: str,
    state: str,
    folder: Path,
    workers: int,
    cases: Path,
    problems: Path,
    sources: Path,
    brains: Path | None = None,
) -> None:
    """Convert the cases of `part` below `raw` into `folder` and write the tables.

    What must be mended is raised together with what is known of the other part.
    """
    table_of_part(cases).unlink(missing_ok=True)
    catalogue = find_cases(dataset, raw)
    names = [case.case for case in catalogue.cases]
    duplicates = read_pairs(pairs) if pairs else []
    groups = group_pairs(names, duplicates) if pairs else {}
    try:
        assigned, leaks = assign_parts(catalogue.cases, groups, PartRule(**rule))
    except ValueError:
        raise_problems(catalogue.problems, str(raw))  # cases that cannot be read may be why
        raise
    if rule["published"]:
        assigned = [replace(case, published_split=case.split) for case in assigned]
    chosen = [case for case in assigned if (case.split == "test") == (part == "test")]
    target = target_of(dataset, raw, folder, brains)
    converted, reported, sha256 = convert_cases(chosen, target, workers)
    if part == "train" and not any(problem.severity == "error" for problem in reported):
        reported += missing_labels(converted, dataset.get("labels", {}))
    reported += note_orientations(converted, dataset["reading"]["orientation"])
    reported += find_copies(converted, rule["published"]) + contradictions(converted, duplicates)
    # What was found before the files were read is listed once, with the training cases.
    here = {case.case for case in chosen}
    errors = [p for p in catalogue.problems if p.severity == "error" and p.case in here]
    reported = (catalogue.problems + leaks if part == "train" else errors) + reported
    write_problems(table_of_part(cases), reported)
    tables = [cases.with_name(f"{part}.csv") for part in ("train", "test")]
    together = join_parts(tables, problems)
    if failed_cases(reported):
        raise_problems(together, str(raw), str(problems), ADVICE)
    remove_other_cases(chosen, part, target)
    if part == "train":
        write_json(folder / "dataset.json", describe_for_nnunet(dataset, converted, folder))
    counted = cases_of_part(dataset, raw, rule, part)
    unread = {path for case in counted for path in case.files} - sha256.keys()
    sha256 |= {path: file_sha256(path) for path in unread}
    write_json(sources, {"state": state, **record_sources(raw, counted, sha256)})
    write_cases(cases, converted)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            raw=Path(snakemake.params.raw),
            dataset=snakemake.params.dataset,
            rule=snakemake.params.rule,
            pairs=Path(snakemake.input.pairs) if snakemake.input.pairs else None,
            part=snakemake.wildcards.part,
            state=snakemake.params.state,
            folder=Path(snakemake.params.folder),
            workers=snakemake.threads,
            cases=Path(snakemake.output.cases),
            problems=Path(snakemake.params.problems),
            sources=Path(snakemake.output.sources),
            brains=Path(snakemake.params.brains) if snakemake.input.brains else None,
        )
