"""What a release has: version, citation, changelog, forms for those who report something."""

import datetime
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from project import ROOT
from publishing import needs_tools, run_tool
from segflow.run.descriptions import load_description

FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
KINDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}


@pytest.fixture
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_version_stands_in_one_place(citation):
    assert re.fullmatch(r"\d+\.\d+\.\d+", citation["version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    assert "CITATION.cff" in (ROOT / "Dockerfile").read_text()


def test_the_changelog_goes_by_releases_the_latest_first(citation):
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    releases = [re.fullmatch(r"(\d+\.\d+\.\d+) \((.*)\)", text).groups() for text in headings[1:]]
    dates = [datetime.date.fromisoformat(day) for _, day in releases]
    assert dates == sorted(dates, reverse=True)
    versions = [tuple(map(int, version.split("."))) for version, _ in releases]
    assert versions == sorted(versions, reverse=True)
    if releases:
        assert releases[0] == (citation["version"], str(citation["date-released"]))


@pytest.mark.long
@needs_tools
def test_the_citation_is_valid():
    assert "are valid" in run_tool("cffconvert", "--validate", "-i", ROOT / "CITATION.cff")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask_for_what_they_say(path):
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= form.keys()
    asked = [item for item in form["body"] if item["type"] != "markdown"]
    assert {item["type"] for item in form["body"]} <= KINDS
    assert len({item["id"] for item in asked}) == len(asked) > 0
    assert all(item["attributes"]["label"] for item in asked)


def test_the_first_change_of_a_contributor_is_a_model(tmp_path, monkeypatch):
    """The page's command makes a file that the test, which the page names next, reads."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    command = re.search(r"^sed .*\n.*\.yaml$", text, re.MULTILINE)[0]
    assert f"-k {Path(command.split()[-1]).stem}" in text
    shutil.copytree(ROOT / "config/models", tmp_path / "config/models")
    monkeypatch.chdir(tmp_path)
    subprocess.run(["bash", "-c", command], check=True)
    found = load_description("model", "unet_3d_wide")
    assert found["title"] == "3D U-Net, wide, in minutes"
    assert found["overrides"]["base_features"] == 24
