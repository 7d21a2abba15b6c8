"""Measure how well all classifiers tell classes (rule `summarise_classification`)."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from segflow.datasets.subgroups import divide
from segflow.evaluation.class_subgroups import COLUMNS as SUBGROUP_COLUMNS
from segflow.evaluation.class_subgroups import summarise_classes_by_subgroup
from segflow.evaluation.classification import COLUMNS, summarise_classes
from segflow.files.cases import read_cases
from segflow.files.content import replacing
from segflow.jobs.logs import logged
from segflow.predictors.classification import read_classifiers
from segflow.report.classes import (
    BASELINES,
    POOLED,
    READING,
    SUBGROUPS,
    class_overview,
    classes_by_subgroup,
    published_classes,
)
from segflow.report.tables import PUBLISHED, SPLITS, one_line
from segflow.report.web import page


def main(
    tables: dict[str, Path],
    cases: Path,
    classes: list[str],
    title: str,
    titles: dict[str, str],
    columns: list[str],
    seed: int,
    publications: dict[str, dict],
    output: dict[str, Path],
) -> None:
    """Write the measures of the `tables` of each classifier as CSV, Markdown and HTML.

    Beside them go, as CSV, those of subgroups by `columns` of the cases. `publications` are
    published results, of which those of classes are shown.
    """
    known = read_cases(cases)
    groups, divided = {case.case: case.group for case in known}, divide(known, columns)
    found = read_classifiers(tables, classes)
    parts = [
        summarise_classes(
            one.truth, one.probabilities, classes, np.array([groups[c] for c in one.cases]), seed
        ).assign(predictor=name, split=split)
        for split, classifiers in found.items()
        for name, one in classifiers.items()
    ]
    published = published_classes(publications, classes)
    names = ["predictor", "split", *COLUMNS, "published"]
    summary = pd.concat([*parts, published]).reindex(columns=names).astype({"n": "Int64"})
    by_subgroup = [
        summarise_classes_by_subgroup(
            one.cases, one.truth, one.probabilities, classes, divided, groups, seed
        ).assign(predictor=name, split=split)
        for split, classifiers in found.items()
        for name, one in classifiers.items()
    ]
    names = ["predictor", "split", *SUBGROUP_COLUMNS]
    subgroups = pd.concat(by_subgroup)[names] if by_subgroup else pd.DataFrame(columns=names)
    with replacing(output["csv"]) as path:
        summary.to_csv(path, index=False, float_format="%.6g")
    with replacing(output["subgroups"]) as path:
        subgroups.to_csv(path, index=False, float_format="%.6g")
    sections = {
        f"{SPLITS[split]}: {part}": table
        for split in found
        for part, table in class_overview(summary, split, classes, titles).items()
    }
    for split, column in product(found, columns):
        table = classes_by_subgroup(subgroups, column, split, classes, titles)
        sections[f"{SPLITS[split]}: by {column}"] = table
    notes = [READING, *([POOLED] if "val" in found else []), BASELINES]
    notes += [SUBGROUPS] if columns else []
    notes += [PUBLISHED] if len(published) else []
    markdown = [f"# {title}: classes of cases", *notes]
    for heading, table in sections.items():
        markdown += [f"## {heading}", one_line(table).to_markdown(index=False)]
    with replacing(output["markdown"]) as path:
        path.write_text("\n\n".join(markdown) + "\n")
    with replacing(output["html"]) as path:
        path.write_text(page(f"{title}: classes of cases", sections, notes))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.tables},
            cases=Path(snakemake.input.cases),
            classes=snakemake.params.classes,
            title=snakemake.params.title,
            titles=snakemake.params.titles,
            columns=snakemake.params.subgroups,
            seed=snakemake.params.seed,
            publications=snakemake.params.published,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
