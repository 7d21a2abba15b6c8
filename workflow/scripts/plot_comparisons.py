"""Draw the comparisons of all predictors of a data set (rule `plot_comparisons`)."""

from pathlib import Path

from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.drawing import draw_message, save
from segflow.report.metric_figures import draw_comparisons


def main(table: Path, titles: dict[str, str], figure: Path) -> None:
    """Draw the comparisons of Dice after post-processing, over all labels, to `figure`."""
    comparisons = read_frame(table, ["predictor", "other", "label"])
    chosen = comparisons[
        (comparisons["stage"] == "postprocessed")
        & (comparisons["metric"] == "dice")
        & (comparisons["label"] == "all")
        & comparisons["p"].notna()
    ].replace({"predictor": titles, "other": titles})
    if len(chosen):
        save(draw_comparisons(chosen, "Dice"), figure)
    else:
        save(draw_message("There is one predictor, so there is nothing to compare."), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            table=Path(snakemake.input.comparisons),
            titles=snakemake.params.titles,
            figure=Path(snakemake.output.figure),
        )
