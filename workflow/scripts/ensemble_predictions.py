"""Make a predictor's label maps from its members' probabilities (rule `ensemble_predictions`)."""

from pathlib import Path

from segflow.ensembling import Member, ensemble_cases
from segflow.images import SUFFIX
from segflow.job import logged
from segflow.manifests import read_manifest, write_manifest


def main(
    members: list[tuple[Path, float]],
    images: Path,
    regions_class_order: list[int] | None,
    workers: int,
    manifest: Path,
) -> None:
    """Average `members` (tables of predicted cases, and weights) into label maps by `manifest`."""
    chosen: dict[str, list[Member]] = {}
    for table, weight in members:
        for case, key in read_manifest(table).items():
            path = table.with_suffix("") / f"{case}.b2nd"
            chosen.setdefault(case, []).append((path, weight, key))
    references = {case: images / f"{case}_0000{SUFFIX}" for case in chosen}
    keys = ensemble_cases(chosen, references, manifest.parent, regions_class_order, workers)
    write_manifest(manifest, keys)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        weights = [
            weight
            for weight in snakemake.params.weights.values()
            for _ in range(snakemake.params.n_folds)
        ]
        split = snakemake.wildcards.split
        main(
            members=[
                (Path(path), weight)
                for path, weight in zip(snakemake.input.members, weights, strict=True)
            ],
            images=Path(snakemake.params.images, "imagesTr" if split == "val" else "imagesTs"),
            regions_class_order=snakemake.params.regions_class_order,
            workers=snakemake.threads,
            manifest=Path(snakemake.output.manifest),
        )
