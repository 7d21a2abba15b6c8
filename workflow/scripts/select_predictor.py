"""Choose the best predictor of a data set (rule `select_predictor`)."""

from pathlib import Path

from segflow.evaluation.metrics import METRICS
from segflow.evaluation.selection import select_predictor
from segflow.evaluation.stability import rank_stability
from segflow.evaluation.summaries import arrange, penalties_mm, read_metrics
from segflow.files.cases import read_cases
from segflow.files.content import replacing, write_json
from segflow.jobs.logs import logged


def main(
    tables: dict[str, Path],
    members: dict[str, dict[str, float]],
    metric: str,
    regions: list[str],
    cases: Path,
    penalty_mm: float | None,
    seed: int,
    choice: Path,
    stability: Path,
) -> None:
    """Rank the predictors of the `tables` by a `metric` and write the `choice`.

    The shares of resamples in which each predictor has each rank go to the table `stability`.
    Evaluated `regions` have no part in it. An infinite distance counts as the penalty in penalised
    means, or as the image's diagonal.
    """
    known = read_cases(cases)
    penalties = penalties_mm(known, penalty_mm)
    splits = arrange(read_metrics(tables), [metric], regions, penalties)
    write_json(choice, select_predictor(splits, members, metric, METRICS[metric]))
    groups = {case.case: case.group for case in known}
    n_members = {predictor: len(models) for predictor, models in members.items()}
    with replacing(stability) as path:
        rank_stability(splits, n_members, METRICS[metric], groups, seed).to_csv(
            path, index=False, float_format="%.6g"
        )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            members=snakemake.params.members,
            metric=snakemake.params.metric,
            regions=snakemake.params.regions,
            cases=Path(snakemake.input.cases),
            penalty_mm=snakemake.params.penalty_mm,
            seed=snakemake.params.seed,
            choice=Path(snakemake.output.choice),
            stability=Path(snakemake.output.stability),
        )
