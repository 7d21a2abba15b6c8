"""Show normalised brains beside their scores (rule `plot_brains`)."""

from pathlib import Path

import numpy as np
from PIL import Image

from segflow.datasets.normalisation import COLUMNS
from segflow.files.cases import read_rows
from segflow.jobs.logs import logged
from segflow.report.brain_figures import draw_brains
from segflow.report.drawing import save

N_SHOWN = 24


def main(table: Path, folder: Path, least_score: float, figure: Path) -> None:
    """Draw the scores of all brains, and the sheets of those with the lowest."""
    rows = read_rows(table, list(COLUMNS))
    scores = {row["case"]: float(row["score"]) for row in rows}
    lowest = sorted(scores, key=lambda case: (scores[case], case))[:N_SHOWN]
    sheets = {case: np.asarray(Image.open(folder / f"{case}.png")) for case in lowest}
    save(draw_brains(scores, sheets, least_score), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            table=Path(snakemake.input.table),
            folder=Path(snakemake.params.folder),
            least_score=snakemake.params.least_score,
            figure=Path(snakemake.output.figure),
        )
