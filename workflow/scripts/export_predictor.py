"""Write a finished predictor as one zip (rule `export_predictor`)."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from segflow.files.cases import read_cases
from segflow.files.code import procedures
from segflow.files.content import file_sha256, read_own_json
from segflow.jobs.logs import logged
from segflow.models.folds import read_fold
from segflow.predictors.exports import write_export
from segflow.predictors.segmentation import Predictor
from segflow.report.model_card import write_card
from segflow.report.provenance import git_commit, installed_versions

NAMED = ("python", "nnunetv2", "torch", "numpy", "simpleitk", "monai")  # versions on the card
PLACES = ("raw_folders", "raw_downloads", "splits")  # keys that say where files lie on a machine
LICENCE = """\
What a network has learned comes from its data: {title}.
Licence of the data, as their description states it: {license}
Source: {source}
Cite: {citation}
"""


def main(
    name: str,
    title: str,
    results: Path,
    nnunet_name: str,
    dataset: dict[str, Any],
    models: dict[str, dict[str, Any]],
    weights: dict[str, float],
    classes: list[str],
    config: dict[str, Any],
    trainings: list[Path],
    postprocessing: Path | None,
    ranges: Path,
    cases: Path,
    splits: Path,
    summaries: dict[str, Path],
    archive: Path,
) -> None:
    """Write the networks of a predictor, and what is to be known of them, to `archive`."""
    chosen = read_own_json(postprocessing) if postprocessing else None
    predictor = Predictor(
        results=results,
        dataset=cases.parent.name,
        nnunet_name=nnunet_name,
        members=weights,
        folds={
            model: [(read_fold(str(fold)),) for fold in described["folds"]]
            for model, described in models.items()
        },
        steps=chosen,
        classes=classes,
        ranges=read_own_json(ranges),
        codes=dataset["label_codes"],
    )
    tables: dict[str, pd.DataFrame | None] = {
        "summary.csv": None,
        "classification_summary.csv": None,
    }
    for file, path in summaries.items():
        table = pd.read_csv(path, dtype={"fold": str})
        tables[file] = table[table["predictor"] == name]
    known = read_cases(cases)
    versions = installed_versions()
    provenance = {
        "configuration": {key: value for key, value in config.items() if key not in PLACES},
        "dataset": dataset,
        "models": {
            model: {**described, "network": _without_place(described["network"])}
            for model, described in models.items()
        },
        "seed": config["seed"],
        "procedures": procedures(),
        "git_commit": git_commit(Path(__file__).parents[2]),
        "versions": versions,
        "sha256": {
            path.name: file_sha256(path) for path in (cases, splits, ranges, *summaries.values())
        },
        "trainings": {
            f"{path.parents[1].name}/{path.parent.name}": read_own_json(path) for path in trainings
        },
    }
    card = write_card(
        archive.name,
        title,
        dataset,
        models,
        weights,
        None if chosen is None else chosen["steps"],
        {
            part: sum(case.split == split for case in known)
            for part, split in (("training", "train"), ("test", "test"))
        },
        predictor.ranges,
        tables["summary.csv"],
        tables["classification_summary.csv"],
        {name: versions[name] for name in NAMED if name in versions},
    )
    documents = {
        "MODEL_CARD.md": card,
        "LICENCE.txt": LICENCE.format(**dataset),
        "provenance.json": json.dumps(provenance, indent=2) + "\n",
    }
    write_export(archive, predictor, title, documents)


def _without_place(network: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a network without the place of what it started from."""
    if "pretrained" not in network:
        return network
    return network | {"pretrained": Path(network["pretrained"]).name}


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.exported,
            title=snakemake.params.title,
            results=Path(snakemake.params.results),
            nnunet_name=snakemake.params.nnunet_name,
            dataset=snakemake.params.dataset,
            models=snakemake.params.models,
            weights=snakemake.params.weights,
            classes=snakemake.params.classes,
            config=snakemake.params.config,
            trainings=[Path(path) for path in snakemake.input.training],
            postprocessing=(
                Path(snakemake.input.postprocessing) if snakemake.input.postprocessing else None
            ),
            ranges=Path(snakemake.input.ranges),
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            summaries={Path(path).name: Path(path) for path in snakemake.input.summaries},
            archive=Path(snakemake.output.archive),
        )
