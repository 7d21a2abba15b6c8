"""Draw what post-processing thresholds are worth, and component sizes (rule `plot_postprocessing`).

A row of the figure for each scope: all foreground, then each label or region.
"""

from pathlib import Path

import pandas as pd

from segflow.content import read_json
from segflow.figures import draw_postprocessing, save
from segflow.job import logged


def main(choice: Path, components: Path, title: str, figure: Path) -> None:
    """Draw the trials of `choice` and the sizes in `components` to `figure`."""
    # Names may look like numbers or like missing values.
    names = dict.fromkeys(["case", "scope", "kind"], str)
    sizes = pd.read_csv(components, dtype=names, keep_default_na=False)
    save(draw_postprocessing(read_json(choice), sizes, title), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            choice=Path(snakemake.input.choice),
            components=Path(snakemake.input.components),
            title=snakemake.params.title,
            figure=Path(snakemake.output.figure),
        )
