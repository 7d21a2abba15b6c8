"""Write the network of a trained fold in ONNX (rule `export_onnx`)."""

from pathlib import Path

import torch

from segflow.files.content import read_own_json
from segflow.jobs.logs import logged
from segflow.models.folds import read_fold
from segflow.models.nnunet import use_folders
from segflow.models.onnx_export import export_network
from segflow.models.prediction import load_predictor
from segflow.models.training import fold_folder


def main(
    plans: Path, training: Path, results: Path, nnunet_name: str, fold: int | str, network: Path
) -> None:
    """Write the network of one fold to `network`, and say how far its logits are off."""
    use_folders(results)
    described = read_own_json(plans)
    folder = fold_folder(results, nnunet_name, described, fold).parent
    predictor = load_predictor(folder, {fold: training}, described, torch.device("cpu"))
    difference = export_network(predictor, network)
    print(f"{network}: logits differ by at most {difference:.2g} of the largest")


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        torch.set_num_threads(snakemake.threads)
        main(
            plans=Path(snakemake.input.plans),
            training=Path(snakemake.input.training),
            results=Path(snakemake.params.results),
            nnunet_name=snakemake.params.nnunet_name,
            fold=read_fold(snakemake.wildcards.fold),
            network=Path(snakemake.output.network),
        )
