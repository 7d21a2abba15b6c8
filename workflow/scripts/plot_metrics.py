"""Draw box plots of the Dice of every predictor and label (rule `plot_metrics`)."""

from pathlib import Path

from segflow.evaluation.summaries import read_metrics
from segflow.jobs.logs import logged
from segflow.report.figures import draw_metrics, save


def main(tables: dict[str, Path], titles: dict[str, str], figure: Path) -> None:
    """Draw the metrics of each predictor, after post-processing, to `figure`."""
    metrics = read_metrics(tables)
    chosen = metrics[metrics["stage"] == "postprocessed"].replace({"predictor": titles})
    save(draw_metrics(chosen, "dice", "Dice"), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            titles=snakemake.params.titles,
            figure=Path(snakemake.output.figure),
        )
