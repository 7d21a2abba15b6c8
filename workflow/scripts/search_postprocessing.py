"""Choose post-processing steps on cross-validation predictions (rule `search_postprocessing`)."""

from pathlib import Path

from segflow.content import read_json, write_json
from segflow.images import SUFFIX
from segflow.job import logged
from segflow.manifests import read_manifest
from segflow.postprocessing import Scores, search


def main(
    predictions: Path, splits: Path, references: Path, labels: dict, workers: int, choice: Path
) -> None:
    """Search on the label maps beside `predictions` and write what was found to `choice`."""
    cases = read_manifest(predictions)
    folds = {case: fold for fold, split in enumerate(read_json(splits)) for case in split["val"]}
    scores = Scores(
        {case: references / f"{case}{SUFFIX}" for case in cases},
        {case: predictions.parent / f"{case}{SUFFIX}" for case in cases},
        labels,
        workers,
    )
    write_json(choice, search(scores, folds))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            predictions=Path(snakemake.input.predictions),
            splits=Path(snakemake.input.splits),
            references=Path(snakemake.params.references),
            labels=snakemake.params.labels,
            workers=snakemake.threads,
            choice=Path(snakemake.output.choice),
        )
