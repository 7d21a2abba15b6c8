import hashlib

import pytest

from segflow.files.cases import Case
from segflow.report.crate import describe_crate

RECORD = {
    "configuration": {"seed": 7, "datasets": ["set"]},
    "datasets": {
        "set": {
            "title": "A set",
            "license": "CC BY 4.0",
            "citation": "Somebody",
            "source": "https://example.org/set",
        }
    },
    "version": "0.1.0",
    "git_commit": "abc",
    "versions": {"python": "3.12", "snakemake": "9.27"},
}


@pytest.fixture
def graph(tmp_path):
    """Return the entities of a crate of one table and two cases, by their identifiers."""
    (tmp_path / "set").mkdir()
    table = tmp_path / "set/summary.csv"
    table.write_text("n\n1\n")
    (tmp_path / "Snakefile").write_text("rule all:\n")
    columns = ["", "raw/a.nii;raw/b.nii", "raw/label.nii", "f" * 64, "e" * 64, "key", "1 2 3"]
    cases = [
        Case("one", "p1", "p1", "train", *columns, "1 1 1"),
        Case("two", "p2", "p2", "test", "", "raw/c.nii", "", "d" * 64, "", "key", "1 2 3", "1 1 1"),
    ]
    found = describe_crate(tmp_path, tmp_path / "Snakefile", [table], RECORD, {"set": cases})
    assert found["@context"] == "https://w3id.org/ro/crate/1.1/context"
    return {entity["@id"]: entity for entity in found["@graph"]}


def test_the_run_leads_from_hashed_inputs_to_hashed_results(graph):
    run = graph["#run"]
    assert run["@type"] == "CreateAction"
    assert run["instrument"] == {"@id": "Snakefile"} == graph["./"]["mainEntity"]
    assert run["result"] == [{"@id": "set/summary.csv"}]
    made = graph["set/summary.csv"]
    assert made["sha256"] == hashlib.sha256(b"n\n1\n").hexdigest()
    assert (made["contentSize"], made["encodingFormat"]) == ("4", "text/csv")
    assert {"@id": "#data-set"} in run["object"]
    raw = [graph[part["@id"]] for part in graph["#data-set"]["hasPart"]]
    assert [(file["name"], file["sha256"]) for file in raw] == [
        ("raw/a.nii;raw/b.nii", "f" * 64),
        ("raw/label.nii", "e" * 64),
        ("raw/c.nii", "d" * 64),
    ]


def test_licences_software_and_parameters_are_named(graph):
    licence = graph["./"]["license"]
    assert graph[licence["@id"]]["name"] == "CC BY 4.0"
    assert graph["#data-set"]["license"] == licence
    assert graph["#software-snakemake"]["softwareVersion"] == "9.27"
    assert {"@id": "#software-python"} in graph["Snakefile"]["softwareRequirements"]
    assert graph["Snakefile"]["version"] == "0.1.0"
    assert graph["#value-seed"]["value"] == 7
    assert graph["#value-datasets"]["value"] == '["set"]'
    assert graph["#value-seed"]["exampleOfWork"] == {"@id": "#key-seed"}
    assert {"@id": "#key-seed"} in graph["Snakefile"]["input"]
