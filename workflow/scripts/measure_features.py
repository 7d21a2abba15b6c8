"""Measure features of the lesions that a predictor sees (rule `measure_features`)."""

from functools import partial
from pathlib import Path

import numpy as np

from segflow.files.cases import write_rows
from segflow.files.manifests import read_finished
from segflow.images.nifti import SUFFIX, read_image, read_labels
from segflow.jobs.logs import logged
from segflow.jobs.workers import map_cases
from segflow.predictors.lesion_features import measure_lesion


def main(
    predictions: Path, images: Path, values: list[int], n_channels: int, workers: int, table: Path
) -> None:
    """Write the features of the label `values` in each case of the table of `predictions`."""
    cases = sorted(read_finished(predictions, predictions.parent))
    work = partial(_measure, folder=predictions.parent, images=images, values=values, n=n_channels)
    found = dict(map_cases(work, cases, workers, "measure"))
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    blank = dict.fromkeys(names, "")
    rows = [{"case": case, **blank, **found[case]} for case in cases]
    write_rows(table, rows, ["case", *names])


def _measure(case: str, folder: Path, images: Path, values: list[int], n: int) -> dict[str, float]:
    label_map, grid = read_labels(folder / f"{case}{SUFFIX}")
    channels = [read_image(images / f"{case}_{c:04d}{SUFFIX}")[0][0] for c in range(n)]
    return measure_lesion(np.isin(label_map, values), channels, grid.spacing_mm)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        part = "imagesTr" if snakemake.wildcards.split == "val" else "imagesTs"
        main(
            predictions=Path(snakemake.input.predictions),
            images=Path(snakemake.params.raw, part),
            values=snakemake.params["values"],
            n_channels=snakemake.params.channels,
            workers=snakemake.threads,
            table=Path(snakemake.output.table),
        )
