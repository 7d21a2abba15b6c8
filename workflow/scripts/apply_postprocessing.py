"""Apply the chosen post-processing steps to label maps (rule `apply_postprocessing`)."""

import math
from pathlib import Path

from segflow.files.content import read_own_json
from segflow.files.manifests import read_finished, write_manifest
from segflow.images.nifti import SUFFIX, read_grid
from segflow.jobs.logs import logged
from segflow.jobs.workers import count_workers
from segflow.predictors.postprocessing import postprocess_cases
from segflow.predictors.steps import VOXEL_BYTES


def main(predictions: Path, choice: Path, threads: int, memory_mb: float, manifest: Path) -> None:
    """Write the label maps beside `predictions`, post-processed, beside `manifest`."""
    keys = read_finished(predictions, predictions.parent)
    grids = (read_grid(predictions.parent / f"{case}{SUFFIX}") for case in keys)
    largest = max((math.prod(grid.shape) for grid in grids), default=0)
    keys = postprocess_cases(
        keys,
        predictions.parent,
        manifest.parent,
        read_own_json(choice),
        count_workers(threads, memory_mb, VOXEL_BYTES * largest / 1e6, len(keys)),
    )
    write_manifest(manifest, keys)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            predictions=Path(snakemake.input.predictions),
            choice=Path(snakemake.input.choice),
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb,
            manifest=Path(snakemake.output.manifest),
        )
