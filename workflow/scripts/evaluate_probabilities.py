"""Measure a predictor's probabilities while they are there (rule `evaluate_probabilities`)."""

from pathlib import Path

from segflow.evaluation.calibration import ABOUT, BIN, MEASURES
from segflow.evaluation.candidates import CandidateRule, candidate_columns
from segflow.evaluation.lesions import LesionRule
from segflow.files.cases import write_rows
from segflow.files.content import read_own_json
from segflow.files.labels import Labels
from segflow.files.manifests import read_converted, read_finished
from segflow.images.nifti import SUFFIX
from segflow.jobs.logs import logged
from segflow.jobs.workers import count_workers
from segflow.predictors.ensembling import gather_members
from segflow.predictors.probability_measures import (
    PredictedCase,
    ProbabilitySettings,
    measure_cases,
)

BYTES_PER_VOXEL = 24  # label maps, masks and components of the largest case


def main(
    tables: list[tuple[Path, str, int, float]],
    split: str,
    predictions: Path,
    cases: Path,
    splits: Path,
    labels: Labels,
    regions: dict[str, list[int]],
    regions_class_order: list[int] | None,
    calibration: dict | None,
    froc: dict | None,
    lesion_rule: dict | None,
    raw: Path,
    threads: int,
    memory_mb: float,
    output: dict[str, Path],
) -> None:
    """Measure the mean probabilities of the members in `tables` (path, model, fold, weight).

    Those of cases without a reference are left out. What a data set does not ask for, `calibration`
    or `froc`, leaves tables without rows.
    """
    for table, *_ in tables:
        read_finished(table, table.with_suffix(""))
    read_finished(predictions, predictions.parent)
    divided = read_own_json(splits)
    validation = split == "val"
    members = gather_members(tables, divided if validation else None)
    known = read_converted(
        cases, raw, *(cases.parent / "cases" / f"{part}.csv" for part in ("train", "test"))
    )
    fold_of = {case: fold for fold, part in enumerate(divided) for case in part["val"]}
    measured = [
        PredictedCase(
            members[one.case],
            raw / ("labelsTr" if validation else "labelsTs") / f"{one.case}{SUFFIX}",
            predictions.parent / f"{one.case}{SUFFIX}",
            {
                "split": split,
                "fold": fold_of[one.case] if validation else "all",
                "case": one.case,
            },
        )
        for one in sorted(known, key=lambda one: one.case)
        if one.case in members and one.label
    ]
    flat = all("1" in one.shape.split() for one in known)
    settings = ProbabilitySettings(
        labels,
        regions,
        regions_class_order,
        calibration and calibration["margin_mm"],
        froc and CandidateRule(**froc),
        lesion_rule and LesionRule(**{**lesion_rule, "labels": tuple(lesion_rule["labels"])}),
        flat,
    )
    case_mb = max(one.n_voxels for one in known) * BYTES_PER_VOXEL / 1e6
    workers = count_workers(threads, memory_mb, case_mb, len(measured))
    folder = output["calibration"].parent / "probabilities_measured" / split
    found = measure_cases(measured, settings, folder, workers)
    keys = [name for name in ABOUT if name != "domain"]
    columns = {
        "calibration": [*ABOUT, *MEASURES],
        "reliability": [*ABOUT, *BIN],
        "candidates": [*keys, *candidate_columns(flat)],
    }
    for name, rows in found.items():
        write_rows(output[name], rows, columns[name])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables=[
                (Path(path), *member)
                for path, member in zip(
                    snakemake.input.members, snakemake.params.members, strict=True
                )
            ],
            split=snakemake.wildcards.split,
            predictions=Path(snakemake.input.predictions),
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            labels=snakemake.params.labels,
            regions=snakemake.params.regions,
            regions_class_order=snakemake.params.regions_class_order,
            calibration=snakemake.params.calibration,
            froc=snakemake.params.froc,
            lesion_rule=snakemake.params.lesions,
            raw=Path(snakemake.params.raw),
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
