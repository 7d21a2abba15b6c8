"""Tell what each predictor costs to train and to use (rule `count_costs`)."""

from pathlib import Path

import blosc2

from segflow.files.cases import write_rows
from segflow.files.content import read_own_json
from segflow.files.manifests import read_manifest
from segflow.jobs.logs import logged
from segflow.models.costs import Cost, count_cost

COLUMNS = [
    "predictor",
    "networks",  # trained folds, of all members
    "parameters",  # of one network of each member
    "windows_per_case",  # of a validation case: one network of each member
    "gflops_per_case",
    "epochs",
    "training_seconds",  # of all networks, one after the other
    "peak_mb",  # of the largest training
    "devices",
]


def main(
    plans: dict[str, Path],
    trainings: dict[str, list[Path]],
    preprocessed: dict[str, tuple[Path, Path]],
    dataset_json: Path,
    predictors: dict[str, list[str]],
    table: Path,
) -> None:
    """Write the costs of models, and of ensembles as the sum of their members.

    `plans` and `trainings` are those of each model, `preprocessed` the table and the folder of its
    preprocessed training cases, `predictors` the members of each predictor.
    """
    described = read_own_json(dataset_json)
    costs: dict[str, Cost] = {}
    for model, path in plans.items():
        manifest, folder = preprocessed[model]
        shapes = [
            blosc2.open(str(folder / f"{case}.b2nd"), mode="r").shape[1:]
            for case in read_manifest(manifest)
        ]
        costs[model] = count_cost(read_own_json(path), described, shapes)
        print(f"{model}: {costs[model]}", flush=True)
    trained = {model: [read_own_json(path) for path in paths] for model, paths in trainings.items()}
    rows = []
    for predictor, members in predictors.items():
        manifests = [manifest for member in members for manifest in trained[member]]
        known = all("seconds" in manifest for manifest in manifests)  # others are of an old version
        rows.append(
            {
                "predictor": predictor,
                "networks": len(manifests),
                "parameters": sum(costs[member].parameters for member in members),
                "windows_per_case": f"{sum(costs[member].windows for member in members):.6g}",
                "gflops_per_case": f"{sum(costs[member].flops for member in members) / 1e9:.6g}",
                "epochs": sum(manifest["epochs"] for manifest in manifests),
                "training_seconds": f"{sum(m['seconds'] for m in manifests):.6g}" if known else "",
                "peak_mb": f"{max(m['peak_mb'] for m in manifests):.6g}" if known else "",
                "devices": ", ".join(sorted({manifest["device"] for manifest in manifests})),
            }
        )
    write_rows(table, rows, COLUMNS)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        models = snakemake.params.models
        folder = Path(snakemake.params.results, "nnUNet_preprocessed", snakemake.params.nnunet_name)
        main(
            plans=dict(zip(models, map(Path, snakemake.input.plans), strict=True)),
            trainings={
                model: [Path(path) for path in snakemake.input.trainings if f"/{model}/" in path]
                for model in models
            },
            preprocessed={
                model: (Path(path), folder / Path(path).parent.name)
                for model, path in zip(models, snakemake.input.preprocessed, strict=True)
            },
            dataset_json=folder / "dataset.json",
            predictors=snakemake.params.predictors,
            table=Path(snakemake.output.table),
        )
