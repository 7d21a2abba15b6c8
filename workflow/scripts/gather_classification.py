"""Average what the members of a classifier say of all cases (rule `gather_classification`)."""

from pathlib import Path

from segflow.files.cases import read_cases
from segflow.files.content import read_own_json
from segflow.jobs.logs import logged
from segflow.predictors.classification import Table, average_members, write_classification


def main(
    tables: dict[str, list[Table]], cases: Path, splits: Path, classes: list[str], output: Path
) -> None:
    """Write the mean of the `tables` of each split (path, member, fold, weight)."""
    known, divided = read_cases(cases), read_own_json(splits)
    tested = [case.case for case in known if case.split == "test"]
    found = {
        split: average_members(
            own,
            classes,
            {fold: divided[fold]["val"] if split == "val" else tested for _, _, fold, _ in own},
        )
        for split, own in tables.items()
    }
    fold_of = {case: fold for _, _, fold, _ in tables["val"] for case in divided[fold]["val"]}
    write_classification(output, found, fold_of, known, classes)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={
                split: [
                    (Path(path), *member)
                    for path, member in zip(
                        snakemake.input[split], snakemake.params[split], strict=True
                    )
                ]
                for split in ("val", "test")
            },
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            classes=snakemake.params.classes,
            output=Path(snakemake.output.table),
        )
