"""Show the same cases as all predictors see them (rule `plot_case_comparison`)."""

from pathlib import Path

import pandas as pd

from segflow.evaluation.summaries import read_metrics
from segflow.files.labels import blank_ignored
from segflow.images.nifti import SUFFIX, read_image, read_labels
from segflow.jobs.logs import logged
from segflow.report.case_figures import Panel, draw_cases
from segflow.report.drawing import draw_message, save

MOST_PREDICTORS = 8
N_DISPUTED = 2


def choose_cases(dice: pd.DataFrame) -> dict[str, str]:
    """Return the cases to show by what they are: best, median and worst, and the most disputed.

    Parameters
    ----------
    dice : DataFrame
        Dice of each case (rows) by each predictor (columns), without missing values.
    """
    ranking = dice.mean(axis=1).sort_values(kind="stable").index
    chosen = {"best": ranking[-1], "median": ranking[len(ranking) // 2], "worst": ranking[0]}
    spread = (dice.max(axis=1) - dice.min(axis=1)).drop(list({*chosen.values()}))
    disputed = spread[spread > 0].sort_values(ascending=False, kind="stable").index[:N_DISPUTED]
    return chosen | {f"disputed {number + 1}": case for number, case in enumerate(disputed)}


def main(
    metrics: dict[str, Path],
    split: str,
    titles: dict[str, str],
    labels: dict,
    channels: list[str],
    raw: Path,
    figure: Path,
) -> None:
    """Draw reference and post-processed predictions of chosen cases by the best predictors."""
    table = read_metrics(metrics)
    chosen = (table["split"] == split) & (table["stage"] == "postprocessed")
    table = table[chosen & table["label"].isin(list(labels))]
    dice = table.pivot_table("dice", "case", "predictor", "mean", observed=True).dropna()
    if dice.empty:
        save(draw_message(f"No {split} case has a reference and predictions of all."), figure)
        return
    shown = dice.mean().sort_values(ascending=False, kind="stable").index[:MOST_PREDICTORS]
    dice = dice[list(shown)]
    images, references = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"))[split == "test"]
    panels = []
    for name, case in choose_cases(dice).items():
        file = f"{case}{SUFFIX}"
        reference, grid = read_labels(raw / references / file)
        maps = {"reference": reference}
        for predictor in shown:
            folder = metrics[predictor].parent / "predictions" / split / "postprocessed"
            maps[titles[predictor]] = read_labels(folder / file)[0]
        blank_ignored(labels, *maps.values())
        panels.append(
            Panel(
                title=f"{name}: {case}",
                channels={channels[0]: read_image(raw / images / f"{case}_0000{SUFFIX}")[0][0]},
                label_maps=maps,
                spacing_mm=grid.spacing_mm,
                notes={titles[p]: f"Dice {dice.loc[case, p]:.3f}" for p in shown},
            )
        )
    save(draw_cases(panels, labels), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            metrics={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            split=snakemake.wildcards.split,
            titles=snakemake.params.titles,
            labels=snakemake.params.labels,
            channels=snakemake.params.channels,
            raw=Path(snakemake.params.raw),
            figure=Path(snakemake.output.figure),
        )
