"""A miniature experiment that the workflow tests share and change."""

import pytest

from project import Project, make_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A miniature experiment that ran to its end. Tests that change it copy it first."""
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    project.snakemake()
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished experiment."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def fresh(tmp_path) -> Project:
    """A miniature experiment that has not run yet."""
    return make_project(tmp_path / "project")
