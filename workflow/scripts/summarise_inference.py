"""Tell what ways to predict take and lose, and propose some (rule `summarise_inference`)."""

from pathlib import Path
from typing import Any

import pandas as pd

from segflow.evaluation.inference import compare_settings, propose, summarise
from segflow.files.cases import read_cases
from segflow.files.content import replacing, write_json
from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.models.prediction_settings import REFERENCE


def main(
    tables: list[Path],
    cases: Path,
    settings: dict[str, dict[str, Any]],
    allowed: float,
    seed: int,
    table: Path,
    choice: Path,
) -> None:
    """Summarise the `tables` MODEL/inference/fold_N.csv; `settings` are those of each model."""
    rows = [read_frame(path, ["case"]).assign(model=path.parents[1].name) for path in tables]
    compared = compare_settings(pd.concat(rows, ignore_index=True), REFERENCE)
    groups = {case.case: case.group for case in read_cases(cases)}
    with replacing(table) as path:
        found = summarise(compared, groups, allowed, seed)
        found.to_csv(path, index=False, float_format="%.6g")
    proposals = {model: propose(own, allowed) for model, own in compared.groupby("model")}
    for model, names in proposals.items():
        for proposal in names.values():
            proposal["prediction"] = settings[model][proposal["setting"]]
    write_json(choice, proposals)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables=[Path(path) for path in snakemake.input.tables],
            cases=Path(snakemake.input.cases),
            settings=snakemake.params.settings,
            allowed=snakemake.params.allowed,
            seed=snakemake.params.seed,
            table=Path(snakemake.output.table),
            choice=Path(snakemake.output.choice),
        )
