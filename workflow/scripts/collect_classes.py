"""Gather the class probabilities of a fold's cases (rule `collect_classes`)."""

from pathlib import Path

import numpy as np

from segflow.files.content import Damaged, read_own_json
from segflow.files.ledger import Ledger
from segflow.files.manifests import read_manifest
from segflow.jobs.logs import logged
from segflow.predictors.classification import write_fold


def main(manifest: Path, folder: Path, classes: list[str], table: Path) -> None:
    """Write what the head of a network said of each predicted case of `manifest`."""
    found = {}
    for case, key in read_manifest(manifest).items():
        path = folder / f"{case}_classes.json"
        if Ledger(folder).find(case, key) is None or not path.exists():
            raise Damaged(f"{path}: expected the class probabilities of {case!r}", path, manifest)
        found[case] = np.array(read_own_json(path))
    write_fold(table, found, classes)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            manifest=Path(snakemake.input.manifest),
            folder=Path(snakemake.params.folder),
            classes=snakemake.params.classes,
            table=Path(snakemake.output.table),
        )
