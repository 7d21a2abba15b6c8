"""The tutorial, word for word, and the documentation as a site."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from project import HIPPOCAMPUS, ROOT, make_project
from publishing import needs_tools, run_tool

# What the Makefile runs for `make dataset`, without a look at the environment.
MAKE = """#!/bin/bash
[ "$1" = dataset ] || exit 2
for word in "${@:2}"; do declare "$word"; done
PYTHONPATH=workflow/scripts exec python -m draft_dataset "$RAW" "$NAME"
"""


@pytest.mark.long
def test_the_tutorial_works_word_for_word(tmp_path):
    project = make_project(tmp_path / "project")
    shutil.copytree(HIPPOCAMPUS, project.folder / "resources" / HIPPOCAMPUS.name)
    text = (ROOT / "docs/tutorial.md").read_text()
    commands = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    recipe = re.search(r"^dataset:.*\n\t@\$\(RUN\) (.*)$", (ROOT / "Makefile").read_text(), re.M)[1]
    assert recipe == 'PYTHONPATH=workflow/scripts python -m draft_dataset "$(RAW)" "$(NAME)"'
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "make").write_text(MAKE)
    (programs / "make").chmod(0o755)
    path = [str(programs), os.path.dirname(sys.executable), os.environ["PATH"]]
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=project.folder,
        env={**os.environ, "PATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:]
    assert "title: My hippocampi" in run.stdout
    page = (project.folder / "results/mine/report.html").read_text()
    assert "My hippocampi" in page
    cases = (project.folder / "results/mine/mine/cases.csv").read_text().splitlines()[1:]
    assert len(cases) == 8
    assert sum(",test," in row for row in cases) == 2
    assert (project.folder / "new/segmented/somebody.nii.gz").exists()


@pytest.mark.long
@needs_tools
def test_the_documentation_is_a_site_that_needs_no_network(tmp_path):
    run_tool("mkdocs", "build", "--strict", "--site-dir", tmp_path / "site", cwd=ROOT)
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    for page in pages:
        text = (tmp_path / "site" / page.with_suffix(".html")).read_text()
        assert not re.search(r'<(script|img|link)[^>]+(src|href)="(https?:)?//', text), page
