"""Check the published files of one part of a data set and convert them (rule `convert_dataset`)."""

from dataclasses import asdict, fields
from pathlib import Path

from segflow.cases import write_cases, write_rows
from segflow.content import write_json
from segflow.convert import Problem, Target, convert_cases, make_dataset_json, raise_problems
from segflow.job import logged
from segflow.labels import foreground_values
from segflow.sources import find_cases, record_sources


def main(
    raw: Path,
    dataset: dict,
    part: str,
    state: str,
    folder: Path,
    workers: int,
    cases: Path,
    problems: Path,
    sources: Path,
) -> None:
    """Convert the cases of `part` below `raw` into `folder` and write the three tables."""
    values = frozenset({0, *foreground_values(dataset["labels"])})
    target = Target(raw, folder, len(dataset["channels"]), values)
    found = [case for case in find_cases(dataset["converter"], raw) if case.split == part]
    converted, reported, sha256 = convert_cases(found, part, target, workers)
    raise_problems(reported, str(raw))
    if part == "train":
        write_json(folder / "dataset.json", make_dataset_json(dataset, len(converted)))
    write_rows(problems, map(asdict, reported), [field.name for field in fields(Problem)])
    write_json(sources, {"state": state, **record_sources(raw, found, sha256)})
    write_cases(cases, converted)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            raw=Path(snakemake.params.raw),
            dataset=snakemake.params.dataset,
            part=snakemake.wildcards.part,
            state=snakemake.params.state,
            folder=Path(snakemake.params.folder),
            workers=snakemake.threads,
            cases=Path(snakemake.output.cases),
            problems=Path(snakemake.output.problems),
            sources=Path(snakemake.output.sources),
        )
