"""Choose the best predictor of a data set (rule `select_predictor`)."""

from pathlib import Path

from segflow.evaluation.metrics import METRICS
from segflow.evaluation.selection import select_predictor
from segflow.evaluation.summaries import arrange, read_metrics
from segflow.files.content import write_json
from segflow.jobs.logs import logged


def main(
    tables: dict[str, Path],
    members: dict[str, dict[str, float]],
    metric: str,
    regions: list[str],
    choice: Path,
) -> None:
    """Rank the predictors of the `tables` by a `metric` and write the `choice`.

    Evaluated `regions` have no part in it.
    """
    splits = arrange(read_metrics(tables), [metric], regions)
    write_json(choice, select_predictor(splits, members, metric, METRICS[metric]))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            members=snakemake.params.members,
            metric=snakemake.params.metric,
            regions=snakemake.params.regions,
            choice=Path(snakemake.output.choice),
        )
