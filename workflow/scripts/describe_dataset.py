"""Write nnU-Net's description of a data set (rule `describe_dataset`)."""

from pathlib import Path

from segflow.datasets.dataset_json import describe_for_nnunet
from segflow.files.cases import read_cases
from segflow.files.content import write_json
from segflow.jobs.logs import logged


def main(cases: Path, dataset: dict, results: Path, nnunet_name: str, description: Path) -> None:
    """Write the description where nnU-Net expects it, and to `description`."""
    made = describe_for_nnunet(dataset, read_cases(cases), results / "nnUNet_raw" / nnunet_name)
    for folder in ("nnUNet_raw", "nnUNet_preprocessed"):
        write_json(results / folder / nnunet_name / "dataset.json", made)
    write_json(description, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            cases=Path(snakemake.input.cases),
            dataset=snakemake.params.dataset,
            results=Path(snakemake.params.results),
            nnunet_name=snakemake.params.nnunet_name,
            description=Path(snakemake.output.description),
        )
