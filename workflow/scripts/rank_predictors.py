"""Rank all predictors over the data sets (rule `rank_predictors`)."""

from pathlib import Path

from segflow.evaluation.ranking import rank
from segflow.evaluation.summaries import KEYS
from segflow.files.content import replacing
from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.drawing import draw_message, save
from segflow.report.metric_figures import draw_ranking


def main(summaries: dict[str, Path], titles: dict[str, str], table: Path, figure: Path) -> None:
    """Rank predictors by the `summaries` of the data sets, to a `table` and a `figure`."""
    ranking = rank({name: read_frame(path, KEYS) for name, path in summaries.items()})
    with replacing(table) as path:
        ranking.to_csv(path, index=False, float_format="%.6g")
    ranked = ranking[ranking["predictor"].notna()]
    if len(ranked):
        save(draw_ranking(ranked, titles), figure)
    else:
        notes = [f"{row.split}: {row.note}" for row in ranking.itertuples()]
        save(draw_message("\n".join(notes)), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            summaries={Path(path).parent.name: Path(path) for path in snakemake.input.summaries},
            titles=snakemake.params.titles,
            table=Path(snakemake.output.table),
            figure=Path(snakemake.output.figure),
        )
