"""Describe the run in the words of other tools: a Workflow Run RO-Crate (rule `write_crate`)."""

import shutil
from pathlib import Path

from segflow.files.cases import read_cases
from segflow.files.content import read_json, replacing, write_json
from segflow.jobs.logs import logged
from segflow.report.crate import describe_crate


def main(
    results: Path,
    files: list[Path],
    record: Path,
    cases: list[Path],
    snakefile: Path,
    workflow: Path,
    crate: Path,
) -> None:
    """Write the crate's metadata to `crate` and a copy of the Snakefile to `workflow`."""
    with replacing(workflow) as path:
        shutil.copyfile(snakefile, path)
    described = describe_crate(
        results,
        workflow,
        [*files, record, *cases],
        read_json(record),
        {path.parent.name: read_cases(path) for path in cases},
    )
    write_json(crate, described)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            results=Path(snakemake.output.crate).parent,
            files=[Path(path) for path in snakemake.input.files],
            record=Path(snakemake.input.record),
            cases=[Path(path) for path in snakemake.input.cases],
            snakefile=Path(snakemake.params.snakefile),
            workflow=Path(snakemake.output.workflow),
            crate=Path(snakemake.output.crate),
        )
