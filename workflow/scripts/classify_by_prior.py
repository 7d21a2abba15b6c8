"""Say of cases what training cases say of all: how frequent classes are (rule `classify_by_prior`).

Without a look at any image. Whoever learns nothing gets there, so nobody should fall below.
"""

from pathlib import Path

from segflow.files.cases import read_cases
from segflow.files.content import read_own_json
from segflow.jobs.logs import logged
from segflow.predictors.baselines import class_prior, majority_class
from segflow.predictors.classification import write_fold

PREDICTED_BY = {"class_prior": class_prior, "majority_class": majority_class}


def main(
    cases: Path, splits: Path, baseline: str, fold: int, split: str, classes: list[str], table: Path
) -> None:
    """Write the probabilities by a `baseline`, from the training cases of a `fold` alone."""
    known, divided = read_cases(cases), read_own_json(splits)[fold]
    label_of = {case.case: case.class_label for case in known}
    found = PREDICTED_BY[baseline]([label_of[case] for case in divided["train"]], classes)
    tested = [case.case for case in known if case.split == "test"]
    write_fold(table, dict.fromkeys(divided["val"] if split == "val" else tested, found), classes)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            baseline=snakemake.wildcards.baseline,
            fold=int(snakemake.wildcards.fold),
            split=snakemake.wildcards.split,
            classes=snakemake.params.classes,
            table=Path(snakemake.output.table),
        )
