"""Summarise calibration and FROC of a data set's predictors (rule `summarise_probabilities`)."""

from pathlib import Path

import pandas as pd

from segflow.evaluation.froc import froc
from segflow.evaluation.reliability import summarise_calibration
from segflow.evaluation.summaries import read_metrics
from segflow.files.cases import read_cases
from segflow.files.content import replacing
from segflow.files.frames import read_frame
from segflow.jobs.logs import logged


def main(
    tables: dict[str, list[Path]],
    metrics: dict[str, Path],
    with_froc: bool,
    cases: Path,
    seed: int,
    output: dict[str, Path],
) -> None:
    """Summarise the `tables` of calibration, reliability and candidates of all predictors.

    Each lies in the folder of its predictor. The `metrics` say which cases there are, and how many
    lesions each has, for FROC if the data set asks for it.
    """
    found = {kind: _read(paths) for kind, paths in tables.items()}
    groups = {case.case: case.group for case in read_cases(cases)}
    calibration, reliability = summarise_calibration(
        found["calibration"], found["reliability"], groups, seed
    )
    lesions = read_metrics(metrics)
    lesions = lesions[lesions["lesion_tp"].notna() & (lesions["stage"] == "raw") & with_froc]
    lesions = lesions.assign(n_reference=lesions["lesion_tp"] + lesions["lesion_fn"])
    points, curves = froc(found["candidates"], lesions, groups, seed)
    written = {
        "calibration": calibration,
        "reliability": reliability,
        "froc": points,
        "curves": curves,
    }
    for name, table in written.items():
        with replacing(output[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")


def _read(paths: list[Path]) -> pd.DataFrame:
    """Read tables of one kind, and say whose they are."""
    texts = ["split", "fold", "case", "label", "domain"]
    parts = [read_frame(path, texts).assign(predictor=path.parent.name) for path in paths]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={
                kind: [Path(path) for path in snakemake.input[kind]]
                for kind in ("calibration", "reliability", "candidates")
            },
            metrics={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            with_froc=snakemake.params.with_froc,
            cases=Path(snakemake.input.cases),
            seed=snakemake.params.seed,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
