"""Extract nnU-Net's fingerprint of a data set (rule `extract_fingerprint`)."""

from pathlib import Path

from segflow.files.content import read_json, write_json
from segflow.files.manifests import read_converted
from segflow.jobs.logs import logged
from segflow.jobs.workers import count_workers
from segflow.models.fingerprint import extract_fingerprint
from segflow.models.nnunet import use_folders

# Memory for a voxel and channel: image and label are read and cropped as 4-byte numbers.
BYTES_PER_VOXEL = 24


def main(
    cases: Path,
    n_channels: int,
    results: Path,
    nnunet_name: str,
    threads: int,
    memory_mb: float,
    fingerprint: Path,
) -> None:
    """Write the fingerprint of `cases` where nnU-Net expects it, and to `fingerprint`."""
    use_folders(results)
    training = read_converted(cases, results / "nnUNet_raw" / nnunet_name)
    n_voxels = [case.n_voxels * (n_channels + 1) for case in training]
    megabytes = max(n_voxels) * BYTES_PER_VOXEL / 1e6
    workers = count_workers(threads, memory_mb, megabytes, len(training))
    extract_fingerprint(nnunet_name, workers, sum(n_voxels))
    folder = results / "nnUNet_preprocessed" / nnunet_name
    write_json(fingerprint, read_json(folder / "dataset_fingerprint.json"))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            cases=Path(snakemake.input.cases),
            n_channels=snakemake.params.n_channels,
            results=Path(snakemake.params.results),
            nnunet_name=snakemake.params.nnunet_name,
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb,
            fingerprint=Path(snakemake.output.fingerprint),
        )
