"""Draw the learning curves of all models side by side (rule `plot_learning_curves`)."""

from pathlib import Path

from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.drawing import save
from segflow.report.model_figures import draw_learning_curves


def main(progress: list[Path], titles: dict[str, str], figure: Path) -> None:
    """Draw the `progress` tables of all folds of all models to `figure`."""
    tables: dict[str, list] = {}
    for path in progress:  # MODEL/fold_N/progress.csv
        tables.setdefault(titles[path.parents[1].name], []).append(read_frame(path))
    save(draw_learning_curves(tables), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            progress=[Path(path) for path in snakemake.input.progress],
            titles=snakemake.params.titles,
            figure=Path(snakemake.output.figure),
        )
