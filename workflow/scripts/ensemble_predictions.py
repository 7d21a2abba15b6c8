"""Make a predictor's label maps from its members' probabilities (rule `ensemble_predictions`)."""

from pathlib import Path

from segflow.files.content import read_own_json
from segflow.files.manifests import read_finished, write_manifest
from segflow.images.nifti import SUFFIX
from segflow.jobs.logs import logged
from segflow.predictors.ensembling import ensemble_cases, gather_members


def main(
    tables: list[tuple[Path, str, int, float]],
    splits: Path | None,
    images: Path,
    regions_class_order: list[int] | None,
    workers: int,
    manifest: Path,
) -> None:
    """Average the members of `tables` (path, model, fold, weight) into label maps by `manifest`.

    Validation cases come with their `splits`.
    """
    for table, *_ in tables:
        read_finished(table, table.with_suffix(""))
    members = gather_members(tables, read_own_json(splits) if splits else None)
    references = {case: images / f"{case}_0000{SUFFIX}" for case in members}
    keys = ensemble_cases(members, references, manifest.parent, regions_class_order, workers)
    write_manifest(manifest, keys)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        validation = snakemake.wildcards.split == "val"
        main(
            tables=[
                (Path(path), *member)
                for path, member in zip(
                    snakemake.input.members, snakemake.params.members, strict=True
                )
            ],
            splits=Path(snakemake.input.splits) if validation else None,
            images=Path(snakemake.params.images, "imagesTr" if validation else "imagesTs"),
            regions_class_order=snakemake.params.regions_class_order,
            workers=snakemake.threads,
            manifest=Path(snakemake.output.manifest),
        )
