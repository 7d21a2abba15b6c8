"""Compare all classifiers of a data set on the same cases (rule `compare_classifiers`)."""

from pathlib import Path

import numpy as np
import pandas as pd

from segflow.evaluation.classifier_comparisons import COLUMNS, compare_classifiers
from segflow.evaluation.comparisons import READING
from segflow.files.cases import read_cases
from segflow.files.content import replacing
from segflow.jobs.logs import logged
from segflow.predictors.classification import read_classifiers
from segflow.report.classes import COMPARED, class_comparisons
from segflow.report.tables import SPLITS, one_line
from segflow.report.web import page

ON_VALIDATION = (
    "On the cross-validation cases p is approximate, for the networks of different folds share "
    "most of their training cases."
)


def main(
    tables: dict[str, Path],
    cases: Path,
    classes: list[str],
    title: str,
    titles: dict[str, str],
    seed: int,
    output: dict[str, Path],
) -> None:
    """Write the comparisons of the classifiers' `tables` as CSV, Markdown and HTML."""
    groups = {case.case: case.group for case in read_cases(cases)}
    parts = [pd.DataFrame(columns=["split", *COLUMNS])]
    for split, classifiers in read_classifiers(tables, classes).items():
        first = next(iter(classifiers.values()))
        table = compare_classifiers(
            first.truth,
            {name: one.probabilities for name, one in classifiers.items()},
            classes,
            np.array([groups[case] for case in first.cases]),
            seed,
        )
        table.insert(0, "split", split)
        parts.append(table)
    comparisons = pd.concat(parts[1:] or parts, ignore_index=True)
    with replacing(output["csv"]) as path:
        comparisons.to_csv(path, index=False, float_format="%.6g")
    sections = {
        SPLITS[split]: class_comparisons(comparisons, split, titles)
        for split in comparisons["split"].unique()
    }
    notes = [READING, *([ON_VALIDATION] if SPLITS["val"] in sections else []), COMPARED]
    heading = f"{title}: paired comparisons of classifiers"
    markdown = [f"# {heading}", *notes]
    for name, table in sections.items():
        markdown += [f"## {name}", one_line(table).to_markdown(index=False)]
    with replacing(output["markdown"]) as path:
        path.write_text("\n\n".join(markdown) + "\n")
    with replacing(output["html"]) as path:
        path.write_text(page(heading, sections, notes))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.tables},
            cases=Path(snakemake.input.cases),
            classes=snakemake.params.classes,
            title=snakemake.params.title,
            titles=snakemake.params.titles,
            seed=snakemake.params.seed,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
