"""Apply the chosen post-processing steps to label maps (rule `apply_postprocessing`)."""

from pathlib import Path

from segflow.content import read_json
from segflow.job import logged
from segflow.manifests import read_manifest, write_manifest
from segflow.postprocessing import postprocess_cases


def main(predictions: Path, choice: Path, workers: int, manifest: Path) -> None:
    """Write the label maps beside `predictions`, post-processed, beside `manifest`."""
    keys = postprocess_cases(
        read_manifest(predictions),
        predictions.parent,
        manifest.parent,
        read_json(choice),
        workers,
    )
    write_manifest(manifest, keys)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            predictions=Path(snakemake.input.predictions),
            choice=Path(snakemake.input.choice),
            workers=snakemake.threads,
            manifest=Path(snakemake.output.manifest),
        )
