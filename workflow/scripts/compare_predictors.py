"""Compare all predictors of a data set on the same cases (rule `compare_predictors`)."""

from pathlib import Path

from segflow.evaluation.comparisons import METHOD, ON_VALIDATION, PERFECT, READING, compare
from segflow.evaluation.metrics import METRICS
from segflow.evaluation.summaries import arrange, penalties_mm, read_metrics
from segflow.files.cases import read_cases
from segflow.files.content import replacing
from segflow.jobs.logs import logged
from segflow.report.tables import SPLITS, compared, left_out, penalty_note
from segflow.report.web import page


def main(
    tables: dict[str, Path],
    cases: Path,
    titles: dict[str, str],
    title: str,
    regions: list[str],
    penalty_mm: float | None,
    output: dict[str, Path],
) -> None:
    """Write the comparisons of the predictors' `tables` as CSV and HTML.

    Evaluated `regions` have no part in the mean over labels. An infinite distance counts as the
    penalty in penalised means, or as the image's diagonal.
    """
    known = read_cases(cases)
    groups = {case.case: case.group for case in known}
    penalties = penalties_mm(known, penalty_mm)
    splits = arrange(read_metrics(tables), list(PERFECT), regions, penalties)
    better = {name: METRICS[name].better for name in PERFECT}
    comparisons = compare(splits, better, groups)
    with replacing(output["csv"]) as path:
        comparisons.to_csv(path, index=False, float_format="%.6g")
    if len(comparisons):
        validated = [ON_VALIDATION] if any(split.split == "val" for split in splits) else []
        notes = [READING, *validated, *left_out(regions), METHOD, penalty_note(penalty_mm)]
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
            penalty_mm=snakemake.params.penalty_mm,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
