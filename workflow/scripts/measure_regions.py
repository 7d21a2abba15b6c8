"""Measure tissue volumes in regions of normalised brains (rule `measure_regions`)."""

from functools import partial
from pathlib import Path

from segflow.files.cases import read_cases, write_rows
from segflow.images.nifti import SUFFIX, read_image, read_labels
from segflow.jobs.logs import logged
from segflow.jobs.workers import map_cases
from segflow.predictors.region_volumes import measure_regions


def main(cases: Path, raw: Path, workers: int, table: Path) -> None:
    """Write the volumes of all `cases`, whose images and masks lie in nnU-Net's `raw` folder."""
    known = {case.case: "Ts" if case.split == "test" else "Tr" for case in read_cases(cases)}
    work = partial(_measure, raw=raw)
    found = dict(map_cases(work, sorted(known.items()), workers, "measure"))
    rows = [{"case": case} | volumes for (case, _), volumes in sorted(found.items())]
    write_rows(table, rows, list(rows[0]))


def _measure(item: tuple[str, str], raw: Path) -> dict[str, float]:
    case, part = item
    image, grid = read_image(raw / f"images{part}" / f"{case}_0000{SUFFIX}")
    mask, _ = read_labels(raw / f"labels{part}" / f"{case}{SUFFIX}")
    return measure_regions(image[0], mask, grid)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            cases=Path(snakemake.input.cases),
            raw=Path(snakemake.params.raw),
            workers=snakemake.threads,
            table=Path(snakemake.output.table),
        )
