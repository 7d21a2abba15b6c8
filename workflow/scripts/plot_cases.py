"""Show the best, a median and the worst case of a predictor (rule `plot_cases`)."""

from pathlib import Path

from segflow.evaluation.summaries import read_metrics
from segflow.files.labels import blank_ignored
from segflow.images.nifti import SUFFIX, read_image, read_labels
from segflow.jobs.logs import logged
from segflow.report.figures import Panel, draw_cases, draw_message, save


def main(
    metrics: Path, split: str, labels: dict, channels: list[str], raw: Path, figure: Path
) -> None:
    """Draw channels, reference, prediction and post-processed prediction of three cases."""
    table = read_metrics({"": metrics})
    chosen = (table["split"] == split) & (table["stage"] == "postprocessed")
    table = table[chosen & table["label"].isin(list(labels))]
    ranking = table.groupby("case")["dice"].mean().dropna().sort_values(kind="stable")
    if ranking.empty:
        save(draw_message(f"No {split} case has a reference."), figure)
        return
    images, references = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"))[split == "test"]
    places = {"best": len(ranking) - 1, "median": len(ranking) // 2, "worst": 0}
    panels = []
    for name, place in places.items():
        case = ranking.index[place]
        file = f"{case}{SUFFIX}"
        predictions = metrics.parent / "predictions" / split
        reference, grid = read_labels(raw / references / file)
        shown = [read_labels(predictions / stage / file)[0] for stage in ("raw", "postprocessed")]
        blank_ignored(labels, reference, *shown)
        panels.append(
            Panel(
                title=f"{name}: {case}\nDice {ranking.iloc[place]:.3f}",
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
