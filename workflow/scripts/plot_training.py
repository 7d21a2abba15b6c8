"""Draw the learning curves of all folds of a model (rule `plot_training`)."""

from pathlib import Path

from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.drawing import save
from segflow.report.model_figures import draw_training


def main(progress: dict[int, Path], title: str, figure: Path) -> None:
    """Draw the `progress` table of each fold to `figure`."""
    save(draw_training({fold: read_frame(path) for fold, path in progress.items()}, title), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            progress=dict(
                zip(snakemake.params.folds, map(Path, snakemake.input.progress), strict=True)
            ),
            title=snakemake.params.title,
            figure=Path(snakemake.output.figure),
        )
