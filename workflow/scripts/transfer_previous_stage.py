"""Bring a cascade's previous stage to the preprocessed grid (rule `transfer_previous_stage`)."""

from pathlib import Path

from segflow.files.content import read_own_json
from segflow.files.manifests import read_finished, write_manifest
from segflow.jobs.logs import logged
from segflow.models.cascade import transfer_cases
from segflow.models.nnunet import lean_imports
from segflow.models.preprocessing import preprocessed_folder

with lean_imports():
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def main(
    predictions: Path,
    preprocessed: Path,
    plans: Path,
    data: Path,
    target: Path,
    workers: int,
    manifest: Path,
) -> None:
    """Write each label map beside `predictions` to `target`, on the grid of the case in `data`."""
    read = read_own_json(plans)
    keys = transfer_cases(
        read_finished(predictions, predictions.parent),
        predictions.parent,
        data,
        read_finished(preprocessed, data),
        target,
        PlansManager(read),
        read["segflow"]["configuration"],
        workers,
    )
    write_manifest(manifest, keys)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        where = Path(snakemake.params.results), snakemake.params.nnunet_name
        part = snakemake.wildcards.part
        main(
            predictions=Path(snakemake.input.predictions),
            preprocessed=Path(snakemake.input.preprocessed),
            plans=Path(snakemake.input.plans),
            data=preprocessed_folder(*where, snakemake.params.preprocessing, part),
            target=preprocessed_folder(*where, f"{snakemake.wildcards.model}_previous", part),
            workers=snakemake.threads,
            manifest=Path(snakemake.output.manifest),
        )
