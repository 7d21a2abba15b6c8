"""Write the cross-validation folds of one data set (rule `make_splits`)."""

from pathlib import Path

from segflow.datasets.folds import baseline_only, check_folds, make_folds, published_folds
from segflow.files.cases import read_cases
from segflow.files.content import read_json, write_json
from segflow.jobs.logs import logged


def main(
    cases: Path,
    given: Path | None,
    published: bool,
    n_folds: int,
    seed: int,
    splits: Path,
    nnunet_splits: Path,
    baseline: bool = False,
) -> None:
    """Make folds of `cases`, or take those given or published; check them and write them twice.

    With `baseline` folds that are made validate first visits only.
    """
    training = read_cases(cases)
    folds = published_folds(training) if published and not given else []
    leaky = bool(folds)  # its leaks were reported with the cases
    if given:
        folds = read_json(given)
    elif not folds:
        folds = make_folds(training, n_folds, seed)
    if baseline and not given:
        folds = baseline_only(folds, training)
    check_folds(folds, training, n_folds, str(given or splits), leaky, baseline)
    write_json(nnunet_splits, folds)
    write_json(splits, folds)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        nnunet_folder = Path(snakemake.params.results, "nnUNet_preprocessed")
        main(
            cases=Path(snakemake.input.cases),
            given=Path(snakemake.input.given) if snakemake.input.given else None,
            published=snakemake.params.published,
            baseline=snakemake.params.baseline,
            n_folds=snakemake.params.n_folds,
            seed=snakemake.params.seed,
            splits=Path(snakemake.output.splits),
            nnunet_splits=nnunet_folder / snakemake.params.nnunet_name / "splits_final.json",
        )
