"""Tell classes from features of predicted lesions (rule `classify_by_features`)."""

from pathlib import Path

import numpy as np

from segflow.files.cases import read_cases
from segflow.files.content import read_own_json
from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.predictors.classification import write_fold
from segflow.predictors.feature_classifiers import classify


def main(
    features: list[Path],
    cases: Path,
    splits: Path,
    fold: int,
    split: str,
    classes: list[str],
    method: str,
    seed: int,
    table: Path,
) -> None:
    """Fit the `method` to a fold's training cases and write what it says of a split's cases.

    The first table of `features` is of validation cases, each as networks that were not trained on
    it predict its lesion; the last is that of the `split`.

    Raises
    ------
    ValueError
        If a case to tell has no features, or the training cases with features are not of two
        classes at least.
    """
    known, divided = read_cases(cases), read_own_json(splits)[fold]
    label_of = {case.case: case.class_label for case in known}
    learned, told = (
        read_frame(path, ["case"]).set_index("case") for path in (features[0], features[-1])
    )
    training = [case for case in divided["train"] if case in learned.index and label_of[case]]
    wanted = divided["val"] if split == "val" else [c.case for c in known if c.split == "test"]
    if missing := sorted(set(wanted) - set(told.index)):
        raise ValueError(f"{features[-1]}: no features of case {missing[0]!r}")
    try:
        found = classify(
            learned.loc[training].to_numpy(float),
            np.array([classes.index(label_of[case]) for case in training], int),
            told.loc[wanted].reindex(columns=learned.columns).to_numpy(float),
            len(classes),
            method,
            seed,
        )
    except ValueError as error:
        raise ValueError(f"{features[0]}: fold {fold}: {error}") from None
    write_fold(table, dict(zip(wanted, found, strict=True)), classes)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            features=[Path(path) for path in snakemake.input.features],
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            fold=int(snakemake.wildcards.fold),
            split=snakemake.wildcards.split,
            classes=snakemake.params.classes,
            method=snakemake.params.method,
            seed=snakemake.params.seed,
            table=Path(snakemake.output.table),
        )
