"""Show the best, a median and the worst case of a predictor (rule `plot_cases`)."""

from pathlib import Path

from segflow.evaluation.summaries import read_metrics
from segflow.files.labels import blank_ignored
from segflow.images.nifti import SUFFIX, read_image, read_labels
from segflow.jobs.logs import logged
from segflow.report.case_figures import Panel, draw_cases
from segflow.report.drawing import draw_message, save
from segflow.report.first_cases import three_cases


def main(
    metrics: Path, split: str, labels: dict, channels: list[str], raw: Path, figure: Path
) -> None:
    """Draw channels, reference, prediction and post-processed prediction of three cases."""
    chosen = three_cases(read_metrics({"": metrics}), split, list(labels))
    if not chosen:
        save(draw_message(f"No {split} case has a reference."), figure)
        return
    images, references = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"))[split == "test"]
    panels = []
    for name, (case, dice) in chosen.items():
        file = f"{case}{SUFFIX}"
        predictions = metrics.parent / "predictions" / split
        reference, grid = read_labels(raw / references / file)
        shown = [read_labels(predictions / stage / file)[0] for stage in ("raw", "postprocessed")]
        blank_ignored(labels, reference, *shown)
        panels.append(
            Panel(
                title=f"{name}: {case}\nDice {dice:.3f}",
                channels={
                    channel: read_image(raw / images / f"{case}_{number:04d}{SUFFIX}")[0][0]
                    for number, channel in enumerate(channels)
                },
                label_maps={
                    "reference": reference,
                    "prediction": shown[0],
                    "post-processed": shown[1],
                },
                spacing_mm=grid.spacing_mm,
            )
        )
    save(draw_cases(panels, labels), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            metrics=Path(snakemake.input.metrics),
            split=snakemake.wildcards.split,
            labels=snakemake.params.labels,
            channels=snakemake.params.channels,
            raw=Path(snakemake.params.raw),
            figure=Path(snakemake.output.figure),
        )
