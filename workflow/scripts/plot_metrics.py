"""Draw Dice, and differences of volumes, of every predictor and label (rule `plot_metrics`)."""

from pathlib import Path

from segflow.evaluation.summaries import read_metrics
from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.drawing import save
from segflow.report.metric_figures import draw_agreement, draw_metrics


def main(
    tables: dict[str, Path], agreement: Path, titles: dict[str, str], figure: Path, volumes: Path
) -> None:
    """Draw the metrics of each predictor, after post-processing.

    Box plots of Dice go to `figure`, and to `volumes` the differences of volumes with the limits
    of the table `agreement`.
    """
    shown, limits = (
        table[table["stage"] == "postprocessed"].replace({"predictor": titles})
        for table in (read_metrics(tables), read_frame(agreement, ["predictor", "label"]))
    )
    save(draw_metrics(shown, "dice", "Dice"), figure)
    save(draw_agreement(shown, limits), volumes)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            agreement=Path(snakemake.input.agreement),
            titles=snakemake.params.titles,
            figure=Path(snakemake.output.figure),
            volumes=Path(snakemake.output.volumes),
        )
