"""The notebook for borrowed machines, from its first cell to its last, on the CPU."""

import json
import os
import sys

import pytest
import yaml

from project import MODELS, ROOT, make_project
from publishing import needs_tools, run_tool

NOTEBOOK = ROOT / "notebooks/segflow.ipynb"
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(book)
NotebookClient(book, timeout=None, kernel_name="python3").execute()
for cell in book.cells:
    for output in cell.get("outputs", ()):
        print(output.get("text", ""), end="")
"""


def test_the_notebook_holds_no_outputs():
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.long
@needs_tools
def test_every_cell_runs_and_a_session_that_ended_goes_on(tmp_path):
    kept = tmp_path / "kept"
    project = make_project(tmp_path / "user", {"tiny": MODELS["tiny_3d"]}, n_training=4, n_test=1)
    (kept / "config/models").mkdir(parents=True)
    (project.folder / "config/models/tiny.yaml").rename(kept / "config/models/tiny.yaml")
    config = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    config["raw_folders"] = {"hippocampus": str(project.raw)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    script = tmp_path / "execute.py"
    script.write_text(EXECUTE)
    settings = {
        "SEGFLOW_REPOSITORY": ROOT,
        "SEGFLOW_PYTHON": sys.executable,
        "SEGFLOW_KEPT": kept,
        "SEGFLOW_CONFIGURATION": tmp_path / "config.yaml",
        "SEGFLOW_SECONDS": 15,
        "JUPYTER_PATH": ROOT / ".venv/publishing/share/jupyter",
        "PATH": os.environ["PATH"],
    }
    environment = {name: str(value) for name, value in settings.items()}
    said = run_tool(script, NOTEBOOK, environment=environment, cwd=tmp_path)
    (tmp_path / "said.txt").write_text(said)
    assert "results in results_mine" in said  # the status after the session that ended
    for name in ("results", "results_mine"):
        assert (kept / name / "report.html").exists()
    assert (kept / "config/datasets/mine.yaml").exists()
    assert not (ROOT / "config/datasets/mine.yaml").exists()
