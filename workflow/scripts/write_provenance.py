"""Record what the results were made from and with (rule `write_provenance`)."""

from pathlib import Path

from segflow.files.content import file_sha256, read_json, write_json
from segflow.jobs.logs import logged
from segflow.report.provenance import (
    describe_machine,
    git_commit,
    installed_versions,
    project_version,
)


def main(
    config: dict,
    datasets: dict,
    models: dict,
    procedures: dict[str, dict],
    inputs: list[Path],
    training: list[Path],
    project: Path,
    record: Path,
) -> None:
    """Write configuration, versions, hardware and hashes to `record`."""
    write_json(
        record,
        {
            "configuration": config,
            "datasets": datasets,
            "models": models,
            "seed": config["seed"],
            "procedures": procedures,
            "version": project_version(project),
            "git_commit": git_commit(project),
            "versions": installed_versions(),
            "machine": describe_machine(),
            "sha256": {str(path): file_sha256(path) for path in sorted(inputs)},
            "trainings": {str(path.parent): read_json(path) for path in sorted(training)},
        },
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        tables = (snakemake.input.cases, snakemake.input.splits, snakemake.input.summaries)
        main(
            config=snakemake.params.config,
            datasets=snakemake.params.datasets,
            models=snakemake.params.models,
            procedures=snakemake.params.procedures,
            inputs=[Path(path) for paths in tables for path in paths],
            training=[Path(path) for path in snakemake.input.training],
            project=Path(__file__).parents[2],
            record=Path(snakemake.output.record),
        )
