"""Summarise the metrics of all predictors of a data set (rule `summarise_metrics`)."""

from pathlib import Path

import pandas as pd

from segflow.datasets.subgroups import divide
from segflow.evaluation.agreement import volume_agreement
from segflow.evaluation.comparisons import changes
from segflow.evaluation.detection import (
    LESION_COLUMNS,
    VOXEL_COUNTS,
    lesion_detection,
    structure_detection,
)
from segflow.evaluation.flow import case_flow
from segflow.evaluation.metrics import AREAS, METRICS, VOLUMES
from segflow.evaluation.subgroups import summarise_subgroups
from segflow.evaluation.summaries import COUNTS, arrange, penalties_mm, read_metrics, summarise
from segflow.files.cases import read_cases
from segflow.files.content import replacing
from segflow.jobs.logs import logged
from segflow.report.published import published_results
from segflow.report.tables import (
    AGREEMENT,
    BEFORE_AND_AFTER,
    CHANGE,
    DETECTION,
    MAIN,
    PUBLISHED,
    READING,
    SHOWN,
    SPLITS,
    agreed,
    bands,
    before_and_after,
    by_subgroup,
    detected_lesions,
    detected_structures,
    infinite_note,
    left_out,
    one_line,
    overview,
    penalty_note,
)
from segflow.report.web import page


def main(
    tables: dict[str, Path],
    cases: Path,
    titles: dict[str, str],
    title: str,
    regions: list[str],
    seed: int,
    rule: dict | None,
    penalty_mm: float | None,
    columns: list[str],
    excluded: dict[str, str],
    publications: dict[str, dict],
    classes: list[str],
    output: dict[str, Path],
) -> None:
    """Write the summary of the `tables` of each predictor as CSV, Markdown, LaTeX and HTML.

    Beside it go, as CSV, summaries of subgroups, by `columns` of the cases, and tables of what is
    no mean over cases: the agreement of volumes, the detection of lesions and of structures, and
    the flow of cases, those that were `excluded` (reason by name) included.

    Evaluated `regions` have no part in the mean over labels. The `rule` of clinical bands may be
    None. An infinite distance counts as the penalty in penalised means, or as the image's diagonal.
    `publications` are published results, of which those of `classes` of cases are left out.
    """
    metrics = read_metrics(tables)
    known = read_cases(cases)
    groups = {case.case: case.group for case in known}
    penalties = penalties_mm(known, penalty_mm)
    splits = arrange(metrics, [*METRICS, *VOLUMES, *AREAS], regions, penalties)
    published = published_results(publications, classes)
    summary = summarise(splits, groups, seed)
    summary = pd.concat([summary, published], ignore_index=True)
    summary = summary.astype(dict.fromkeys(COUNTS, "Int64"))
    counted = arrange(metrics, [*VOLUMES, *AREAS, *VOXEL_COUNTS, *LESION_COLUMNS], regions)
    agreement = volume_agreement(counted, groups, seed)
    lesions = lesion_detection(counted, groups, seed)
    structures = structure_detection(counted, groups)
    subgroups = summarise_subgroups(splits, divide(known, columns), groups, seed)
    written = {
        "csv": summary,
        "volumes": agreement,
        "lesions": lesions,
        "structures": structures,
        "subgroups": subgroups,
        "flow": case_flow(known, excluded, {split.split: split.cases for split in splits}),
    }
    for name, table in written.items():
        with replacing(output[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")
    changed = changes(arrange(metrics, BEFORE_AND_AFTER, regions), groups, seed)
    others = [name for name in SHOWN if name not in MAIN]
    sections = {}
    for split in splits:
        name, where = split.split, SPLITS[split.split]
        shown = {
            f"{where}: after post-processing": overview(summary, name, MAIN, titles),
            f"{where}: before and after post-processing": before_and_after(
                summary, changed, name, titles
            ),
        }
        if rule:
            shown[f"{where}: clinical bands of {METRICS[rule['metric']].title}"] = bands(
                split, rule, titles
            )
        for column in columns:
            shown[f"{where}: by {column}"] = by_subgroup(subgroups, column, name, titles)
        shown[f"{where}: volumes, prediction against reference"] = agreed(agreement, name, titles)
        shown[f"{where}: lesions, counted over all cases"] = detected_lesions(lesions, name, titles)
        shown[f"{where}: cases with and without a structure"] = detected_structures(
            structures, name, titles
        )
        shown[f"{where}: further metrics"] = overview(summary, name, others, titles)
        sections |= {heading: table for heading, table in shown.items() if len(table)}
    notes = [
        READING,
        infinite_note(),
        penalty_note(penalty_mm),
        *left_out(regions),
        CHANGE,
        AGREEMENT,
        DETECTION,
    ]
    notes += [PUBLISHED] if publications else []
    markdown, latex = [f"# {title}", *notes], []
    for heading, table in sections.items():
        plain = one_line(table)
        markdown += [f"## {heading}", plain.to_markdown(index=False)]
        latex.append(plain.to_latex(index=False, caption=f"{title}. {heading}.", escape=True))
    with replacing(output["markdown"]) as path:
        path.write_text("\n\n".join(markdown) + "\n")
    with replacing(output["latex"]) as path:
        path.write_text("\n".join(latex))
    with replacing(output["html"]) as path:
        path.write_text(page(title, sections, notes))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            cases=Path(snakemake.input.cases),
            titles=snakemake.params.titles,
            title=snakemake.params.title,
            regions=snakemake.params.regions,
            seed=snakemake.params.seed,
            rule=snakemake.params.bands,
            penalty_mm=snakemake.params.penalty_mm,
            columns=snakemake.params.subgroups,
            excluded=snakemake.params.excluded,
            publications=snakemake.params.published,
            classes=snakemake.params.classes,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
