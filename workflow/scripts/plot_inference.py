"""Draw speed against Dice of several ways to predict (rule `plot_inference`)."""

from pathlib import Path

from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.drawing import save
from segflow.report.model_figures import draw_inference


def main(table: Path, titles: dict[str, str], figure: Path) -> None:
    """Draw the `table` of settings to `figure`."""
    save(draw_inference(read_frame(table, ["model", "setting"]), titles), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            table=Path(snakemake.input.table),
            titles=snakemake.params.titles,
            figure=Path(snakemake.output.figure),
        )
