"""Extract nnU-Net's fingerprint of a data set (rule `extract_fingerprint`)."""

from pathlib import Path

from segflow.content import read_json, write_json
from segflow.fingerprint import extract_fingerprint
from segflow.job import logged
from segflow.nnunet import use_folders


def main(results: Path, nnunet_name: str, workers: int, fingerprint: Path) -> None:
    """Write the fingerprint where nnU-Net expects it, and to `fingerprint`."""
    use_folders(results)
    extract_fingerprint(nnunet_name, workers)
    folder = results / "nnUNet_preprocessed" / nnunet_name
    write_json(fingerprint, read_json(folder / "dataset_fingerprint.json"))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            results=Path(snakemake.params.results),
            nnunet_name=snakemake.params.nnunet_name,
            workers=snakemake.threads,
            fingerprint=Path(snakemake.output.fingerprint),
        )
