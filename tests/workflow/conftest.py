"""A miniature experiment that the workflow tests share and change."""

import pytest

from project import LONG, MODELS, Project, make_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A miniature experiment that ran to its end. Tests that change it copy it first."""
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    project.snakemake()
    return project


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Project:
    """A project whose models are ready to be trained. Tests copy it."""
    models = {"long": LONG, "tiny_3d": MODELS["tiny_3d"]}
    project = make_project(tmp_path_factory.mktemp("prepared") / "project", models)
    project.snakemake("preprocess", "split", "plan")
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished experiment."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def fresh(tmp_path) -> Project:
    """A miniature experiment that has not run yet."""
    return make_project(tmp_path / "project")
