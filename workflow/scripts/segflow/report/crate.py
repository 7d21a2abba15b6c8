"""A run as a Workflow Run RO-Crate: what was made from what, in words that other tools know.

The profile is https://w3id.org/ro/wfrun/workflow/0.5, upon https://w3id.org/ro/crate/1.1.
"""

import json
import mimetypes
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rocrate.model.computationalworkflow import ComputationalWorkflow
from rocrate.model.contextentity import ContextEntity
from rocrate.model.data_entity import DataEntity
from rocrate.model.entity import Entity
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from segflow.files.cases import Case
from segflow.files.content import file_sha256

PROFILES = [
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
]
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
CONFORMING = "https://bioschemas.org/profiles/{}-RELEASE"
WORDS = {str: "Text", bool: "Boolean", int: "Integer", float: "Float"}


def describe_crate(
    results: Path,
    workflow: Path,
    files: Iterable[Path],
    record: dict[str, Any],
    cases: dict[str, list[Case]],
) -> dict[str, Any]:
    """Return the metadata of a crate, for ``ro-crate-metadata.json``.

    Parameters
    ----------
    results : Path
        Folder of all results: the crate's root.
    workflow : Path
        A copy of the Snakefile in it.
    files : iterable of Path
        What was made, in `results`.
    record : dict
        ``run.json``.
    cases : dict of str to list of Case
        The cases of each data set: their raw files are the inputs, known by their hashes.
    """
    crate = ROCrate(version="1.1")
    now = datetime.now(UTC).replace(microsecond=0).isoformat()
    crate.name = f"Segflow on {', '.join(one['title'] for one in record['datasets'].values())}"
    crate.description = (
        "Results of a run of Segflow: predictions, their metrics, tests and report. run.json holds "
        "all settings, hashes and versions."
    )
    crate.datePublished = now
    crate.root_dataset["conformsTo"] = [
        crate.add(
            ContextEntity(crate, place, {"@type": "CreativeWork", "name": name, "version": version})
        )
        for place, name, version in PROFILES
    ]
    crate.license = _licences(crate, (one["license"] for one in record["datasets"].values()))
    instrument = _add_workflow(crate, workflow.relative_to(results).as_posix(), record)
    parameters = [
        _add_parameter(crate, instrument, name, value)
        for name, value in record["configuration"].items()
    ]
    inputs = [_add_data(crate, name, one, cases[name]) for name, one in record["datasets"].items()]
    made = [_add_file(crate, path, results) for path in sorted(set(files))]
    action = crate.add(
        ContextEntity(
            crate,
            "#run",
            {
                "@type": "CreateAction",
                "name": "Run of the workflow",
                "description": "From raw files to tested results, by Snakemake",
                "endTime": now,
                "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
            },
        )
    )
    action["instrument"] = instrument
    action["object"] = [*inputs, *parameters]
    action["result"] = made
    crate.root_dataset["mentions"] = [action, *inputs]
    return crate.metadata.generate()


def _identifier(*parts: str) -> str:
    return "#" + "-".join(re.sub("[^A-Za-z0-9._]+", "-", part) for part in parts)


def _licences(crate: ROCrate, names: Iterable[str]) -> Entity | list[Entity]:
    """Return an entity for each licence; a single one by itself, as JSON-LD wants it."""
    found = [
        crate.add(
            ContextEntity(
                crate, _identifier("licence", name), {"@type": "CreativeWork", "name": name}
            )
        )
        for name in dict.fromkeys(names)
    ]
    return found[0] if len(found) == 1 else found


def _add_workflow(crate: ROCrate, place: str, record: dict[str, Any]) -> Entity:
    """Add the workflow with all software that it used."""
    language = crate.add(
        ContextEntity(
            crate,
            SNAKEMAKE,
            {
                "@type": "ComputerLanguage",
                "name": "Snakemake",
                "identifier": {"@id": "https://snakemake.github.io"},
                "url": {"@id": "https://snakemake.github.io"},
                "version": record["versions"]["snakemake"],
            },
        )
    )
    software = [
        crate.add(
            ContextEntity(
                crate,
                _identifier("software", name),
                {"@type": "SoftwareApplication", "name": name, "softwareVersion": version},
            )
        )
        for name, version in record["versions"].items()
    ]
    workflow = crate.add(
        ComputationalWorkflow(
            crate,
            dest_path=place,
            properties={
                "name": "Segflow",
                "encodingFormat": "text/plain",
                "version": record["version"],
                "conformsTo": {"@id": CONFORMING.format("ComputationalWorkflow/1.0")},
            },
        )
    )
    if record["git_commit"]:
        workflow["identifier"] = record["git_commit"]
    workflow["license"] = _licences(crate, ["Apache-2.0"])
    workflow["programmingLanguage"] = language
    workflow["softwareRequirements"] = software
    workflow["input"] = []
    crate.mainEntity = workflow
    return workflow


def _add_parameter(crate: ROCrate, workflow: Entity, name: str, value: Any) -> Entity:
    """Add a key of the configuration with its value."""
    is_plain = type(value) in WORDS
    formal = crate.add(
        ContextEntity(
            crate,
            _identifier("key", name),
            {
                "@type": "FormalParameter",
                "name": name,
                "additionalType": WORDS.get(type(value), "Text"),
                "conformsTo": {"@id": CONFORMING.format("FormalParameter/1.0")},
            },
        )
    )
    workflow.append_to("input", formal)
    given = {"@type": "PropertyValue", "name": name}
    given["value"] = value if is_plain else json.dumps(value, sort_keys=True)
    entity = crate.add(ContextEntity(crate, _identifier("value", name), given))
    entity["exampleOfWork"] = formal
    return entity


def _add_data(crate: ROCrate, name: str, described: dict[str, Any], cases: list[Case]) -> Entity:
    """Add a data set, which is no part of the crate, with the hashes of its raw files."""
    about = {
        "name": described["title"],
        "description": f"Raw files of {len(cases)} cases, by their SHA-256",
        "creditText": described["citation"],
        "additionalType": "Dataset",
    }
    entity = crate.add(
        ContextEntity(crate, _identifier("data", name), {"@type": "Collection", **about})
    )
    source = described["source"]
    entity["url" if source.startswith(("http://", "https://")) else "provider"] = source
    entity["license"] = _licences(crate, [described["license"]])
    entity["hasPart"] = [
        crate.add(
            ContextEntity(
                crate,
                _identifier("raw", name, sha256[:16]),
                {"@type": "MediaObject", "name": files, "sha256": sha256},
            )
        )
        for files, sha256 in dict.fromkeys(
            pair
            for case in cases
            for pair in ((case.images, case.image_sha256), (case.label, case.label_sha256))
            if pair[1]
        )
    ]
    return entity


def _add_file(crate: ROCrate, path: Path, results: Path) -> DataEntity:
    """Add a file that the run made."""
    place = path.relative_to(results).as_posix()
    about = {
        "name": place,
        "contentSize": str(path.stat().st_size),
        "sha256": file_sha256(path),
        "encodingFormat": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
    }
    return crate.add(File(crate, dest_path=place, properties=about))
