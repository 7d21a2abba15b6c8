"""Measure what the training cases are like (rule `measure_training`)."""

from functools import partial
from pathlib import Path
from typing import Any

from segflow.datasets.dataset_json import REORIENTING_READER
from segflow.files.content import read_own_json, write_json
from segflow.files.manifests import read_converted
from segflow.images.nifti import SUFFIX
from segflow.jobs.logs import logged
from segflow.jobs.workers import count_workers, map_cases
from segflow.predictors.training_ranges import gather_ranges, measure_image

BYTES_PER_VOXEL = 16  # a channel as it is stored, and what is drawn from it


def measure_case(case: str, images: Path, n_channels: int, reoriented: bool) -> dict[str, Any]:
    """Measure the converted image of a case."""
    files = [images / f"{case}_{number:04d}{SUFFIX}" for number in range(n_channels)]
    return measure_image(files, reoriented)


def main(
    cases: Path, channels: list[str], raw: Path, threads: int, memory_mb: float, ranges: Path
) -> None:
    """Write the `ranges` of the training cases, which new images are compared with."""
    training = read_converted(cases, raw)
    reader = read_own_json(raw / "dataset.json")["overwrite_image_reader_writer"]
    reoriented = reader == REORIENTING_READER
    measure = partial(
        measure_case,
        images=raw / "imagesTr",
        n_channels=len(channels),
        reoriented=reoriented,
    )
    largest = max(case.n_voxels for case in training) * BYTES_PER_VOXEL / 1e6
    workers = count_workers(threads, memory_mb, largest, len(training))
    names = [case.case for case in training]
    measured = dict(map_cases(measure, names, workers, "measure"))
    write_json(ranges, gather_ranges([measured[name] for name in names], channels, reoriented))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            cases=Path(snakemake.input.cases),
            channels=snakemake.params.channels,
            raw=Path(snakemake.params.raw),
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb,
            ranges=Path(snakemake.output.ranges),
        )
