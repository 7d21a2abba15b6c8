"""Results as other tools open them: a dictionary of the tables, the run as an RO-Crate."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from project import ROOT
from publishing import needs_tools, run_tool

pytestmark = pytest.mark.slow


def test_no_column_of_a_run_lacks_a_meaning(finished):
    package = json.loads((finished.results / "datapackage.json").read_text())
    paths = [resource["path"] for resource in package["resources"]]
    assert "hippocampus/both/metrics.csv" in paths
    assert "hippocampus/summary.csv" in paths
    for resource in package["resources"]:
        assert all(field["description"] for field in resource["schema"]["fields"])
        content = (finished.results / resource["path"]).read_bytes()
        assert resource["hash"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    # Every table that readers are told of is there.
    known = {Path(path).name for path in paths}
    missing = {path.name for path in (finished.results / "hippocampus").glob("*.csv")} - known
    assert missing <= {"discarded.csv"}


def test_a_crate_names_what_was_made_and_from_what(finished):
    graph = json.loads((finished.results / "ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    for name in ("report.html", "run.json", "datapackage.json", "hippocampus/summary.csv"):
        content = (finished.results / name).read_bytes()
        assert entities[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert {"@id": name} in entities["#run"]["result"]
    raw = finished.raw / "imagesTr/hippocampus_001.nii.gz"
    hashes = {entity.get("sha256") for entity in graph}
    assert hashlib.sha256(raw.read_bytes()).hexdigest() in hashes
    assert str(finished.folder) not in json.dumps(graph)


@pytest.mark.long
@needs_tools
def test_other_tools_find_nothing_wrong(finished):
    run_tool("frictionless", "validate", finished.results / "datapackage.json")
    context = Path(find_spec("rocrate").origin).parent / "data/ro-crate.jsonld"
    script = ROOT / "tests/helpers/validate_crate.py"
    assert run_tool(script, context, finished.results) == ""
