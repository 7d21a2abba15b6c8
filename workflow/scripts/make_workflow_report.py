"""Let Snakemake gather all results into a page of its own (rule `make_workflow_report`)."""

import subprocess
import sys
from pathlib import Path

import yaml

from segflow.files.content import replacing
from segflow.jobs.logs import logged


def main(results: list[Path], config: dict, snakefile: Path, merged: Path, report: Path) -> None:
    """Write the merged configuration to `merged` and the report on `results` to `report`."""
    with replacing(merged) as path:
        path.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile]
    command += ["--configfile", merged, "--workflow-profile", "none", "--nolock"]
    with replacing(report) as path:
        run = subprocess.run(
            [*command, "--report", path, "--", *results],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(run.stdout)
        if run.returncode:
            raise RuntimeError(f"Snakemake made no report: {run.stdout.strip()[-1000:]}")


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            results=[Path(path) for path in snakemake.input],
            config={**snakemake.params.config, "pathvars": snakemake.params.pathvars},
            snakefile=Path(snakemake.params.snakefile),
            merged=Path(snakemake.output.config),
            report=Path(snakemake.output.report),
        )
