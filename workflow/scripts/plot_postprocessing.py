"""Draw what post-processing thresholds are worth, and component sizes (rule `plot_postprocessing`).

A row of the figure for each scope: all foreground, then each label or region.
"""

from pathlib import Path

from segflow.files.content import read_own_json
from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.drawing import save
from segflow.report.postprocessing_figures import draw_postprocessing


def main(choice: Path, components: Path, title: str, figure: Path) -> None:
    """Draw the trials of `choice` and the sizes in `components` to `figure`."""
    sizes = read_frame(components, ["case", "scope", "kind"])
    save(draw_postprocessing(read_own_json(choice), sizes, title), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            choice=Path(snakemake.input.choice),
            components=Path(snakemake.input.components),
            title=snakemake.params.title,
            figure=Path(snakemake.output.figure),
        )
