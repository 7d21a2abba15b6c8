"""The workflow as a module of another one, which lies elsewhere and has rules of its own."""

import os
import subprocess
import sys

import pytest
import yaml

from project import MODELS, ROOT, Project, make_project
from segflow.run.schemas import check

pytestmark = pytest.mark.slow
LABELS = {"background": 0, "anterior": 1, "posterior": 2}
OWN_RULES = """
rule gather:
    input:
        "out/mine/cases.csv",
    output:
        "gathered.txt",
    log:
        "gather.log",
    shell:
        "wc -l {input} > {output} 2> {log}"
"""
STARTS = "\n\nonstart:\n    segflow.onstart()\n\n\nonsuccess:\n    segflow.onsuccess()\n"


def write_user(folder, snakefile):
    """Write a user's project: its workflow, configuration, descriptions and raw files."""
    made = make_project(folder / "made", n_training=4, n_test=1)
    made.raw.rename(folder / "scans")
    for kind in ("datasets", "models"):
        (folder / "config" / kind).mkdir(parents=True)
    described = yaml.safe_load((made.folder / "config/datasets/hippocampus.yaml").read_text())
    described |= {"id": 700, "title": "Mine", "raw": "scans", "labels": LABELS}
    (folder / "config/datasets/mine.yaml").write_text(yaml.safe_dump(described))
    (folder / "config/models/small.yaml").write_text(yaml.safe_dump(MODELS["tiny_2d"]))
    config = {
        "datasets": ["mine"],
        "models": ["small"],
        "n_folds": 2,
        "pathvars": {"results": "out"},
    }
    (folder / "config/config.yaml").write_text(yaml.safe_dump({"segflow": config, "own": 1}))
    (folder / "Snakefile").write_text(snakefile)
    return Project(folder, "out")


def use(place, how="use rule * from segflow", *more):
    options = [f"    snakefile: {place}", '    config: config["segflow"]', *more]
    return "\n".join(['configfile: "config/config.yaml"', "module segflow:", *options, how, ""])


@pytest.fixture
def local():
    return f'"{ROOT}/workflow/Snakefile"'


def test_everything_is_planned_from_another_folder(tmp_path, local):
    project = write_user(tmp_path, use(local) + OWN_RULES)
    planned = project.planned()
    assert {"convert_dataset", "train_fold", "make_report", "make_workflow_report"} <= planned
    assert "gather" not in planned  # everything is what we make by default
    assert project.planned("gathered.txt") >= {"convert_dataset", "gather"}


def test_first_steps_run_in_the_users_folder_under_other_names(tmp_path, local):
    snakefile = use(local, "use rule * from segflow as segflow_*") + STARTS + OWN_RULES
    project = write_user(tmp_path, snakefile)
    project.snakemake("segflow_convert", "gathered.txt", "out/mine/fingerprint.json")
    cases = (tmp_path / "out/mine/cases.csv").read_text().splitlines()
    assert len(cases) == 1 + 4 + 1
    assert (tmp_path / "gathered.txt").read_text().startswith("6 ")
    assert (tmp_path / "out/nnUNet_raw/Dataset700_mine/dataset.json").exists()
    assert (tmp_path / "logs/mine/extract_fingerprint.log").exists()
    assert not (ROOT / "out").exists()
    # A finished start is known by the names of our rules, and holds no others.
    command = [sys.executable, "-m", "show_status"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/scripts")}
    status = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "results in out" in status
    assert "\nextract_fingerprint " in status
    assert "gather " not in status
    assert "Nothing to be done" in project.snakemake("segflow_convert")


def test_paths_of_a_module_follow_its_path_variables_and_no_prefix(tmp_path, local):
    project = write_user(tmp_path, use(local))
    project.edit("config/config.yaml", lambda config: config["segflow"].pop("pathvars"))
    variables = ["    pathvars:", '        results="elsewhere",', '        logs="said",']
    (tmp_path / "Snakefile").write_text(use(local, "use rule * from segflow", *variables))
    project.snakemake("convert")
    assert (tmp_path / "elsewhere/nnUNet_raw/Dataset700_mine/dataset.json").exists()
    assert (tmp_path / "elsewhere/mine/cases.csv").exists()
    (tmp_path / "Snakefile").write_text(use(local, "use rule * from segflow", '    prefix: "sub"'))
    text = project.snakemake("--dry-run", check=False)
    assert "prefix or replace_prefix would bring results to sub/results" in text


def test_a_module_comes_from_a_server_as_snakedeploy_writes_it(tmp_path, monkeypatch):
    """The server is played by the clone that Snakemake keeps; there is no network in tests."""
    published = make_project(tmp_path / "published")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["tag", "v1.0"]):
        subprocess.run([*git, *words], cwd=published.folder, check=True)
    clones = tmp_path / "cache/snakemake/snakemake/source-cache/snakemake-git-cache"
    target = clones / "github.com/someone/segflow"
    target.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", "--bare", published.folder, target], check=True)
    (tmp_path / "user").mkdir()
    place = 'github("someone/segflow", path="workflow/Snakefile", tag="v1.0")'
    write_user(tmp_path / "user", use(place))
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "convert", "--verbose"]
    run = subprocess.run(
        command, cwd=tmp_path / "user", env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert (tmp_path / "user/out/mine/cases.csv").exists()
    (source,) = (tmp_path / "user/.snakemake/segflow/source").iterdir()
    assert (source / "rules/common.smk").exists()


def test_what_the_catalog_reads_is_there():
    described = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    usage = described["usage"]
    assert set(usage["software-stack-deployment"].values()) <= {True, False}
    assert usage["report"] is True
    assert (ROOT / "config/README.md").read_text().startswith("# ")
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert check(config, "config", "config.yaml")["datasets"]
