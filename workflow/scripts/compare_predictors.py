"""Compare all predictors of a data set on the same cases (rule `compare_predictors`)."""

from pathlib import Path

from segflow.evaluation.comparisons import METHOD, PERFECT, READING, compare
from segflow.evaluation.metrics import METRICS
from segflow.evaluation.summaries import arrange, read_metrics
from segflow.files.cases import read_cases
from segflow.files.content import replacing
from segflow.jobs.logs import logged
from segflow.report.tables import SPLITS, compared, left_out
from segflow.report.web import page


def main(
    tables: dict[str, Path],
    cases: Path,
    titles: dict[str, str],
    title: str,
    regions: list[str],
    seed: int,
    output: dict[str, Path],
) -> None:
    """Write the comparisons of the predictors' `tables` as CSV and HTML.

    Evaluated `regions` have no part in the mean over labels.
    """
    groups = {case.case: case.group for case in read_cases(cases)}
    splits = arrange(read_metrics(tables), list(PERFECT), regions)
    better = {name: METRICS[name].better for name in PERFECT}
    comparisons = compare(splits, better, groups, seed)
    with replacing(output["csv"]) as path:
        comparisons.to_csv(path, index=False, float_format="%.6g")
    if len(comparisons):
        notes = [READING, *left_out(regions), METHOD]
        sections = {
            f"{SPLITS[split.split]}, after post-processing": compared(
                comparisons, split.split, titles
            )
            for split in splits
        }
    else:
        notes, sections = ["There is one predictor, so there is nothing to compare."], {}
    with replacing(output["html"]) as path:
        path.write_text(page(f"{title}: paired comparisons", sections, notes))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            cases=Path(snakemake.input.cases),
            titles=snakemake.params.titles,
            title=snakemake.params.title,
            regions=snakemake.params.regions,
            seed=snakemake.params.seed,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
