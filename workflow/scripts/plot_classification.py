"""Draw what classifiers say and how well (rule `plot_classification`)."""

from pathlib import Path

from segflow.files.cases import read_cases
from segflow.jobs.logs import logged
from segflow.predictors.classification import read_classifiers
from segflow.report.class_figures import (
    draw_class_reliability,
    draw_confusion,
    draw_curves,
    draw_true_class,
)
from segflow.report.drawing import draw_message, save


def main(
    tables: dict[str, Path],
    cases: Path,
    classes: list[str],
    titles: dict[str, str],
    seed: int,
    output: dict[str, Path],
) -> None:
    """Draw the `tables` of all classifiers; without a case of known class, that there is none."""
    groups = {case.case: case.group for case in read_cases(cases)}
    found = {
        split: {titles[name]: classifiers[name] for name in titles if name in classifiers}
        for split, classifiers in read_classifiers(tables, classes).items()
    }
    if not found:
        for path in output.values():
            save(draw_message("The class of no case is known."), path)
        return
    save(draw_curves(found, classes, groups, seed), output["curves"])
    save(draw_confusion(found, classes), output["confusion"])
    save(draw_class_reliability(found, classes), output["reliability"])
    save(draw_true_class(found, classes), output["cases"])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.tables},
            cases=Path(snakemake.input.cases),
            classes=snakemake.params.classes,
            titles=snakemake.params.titles,
            seed=snakemake.params.seed,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
