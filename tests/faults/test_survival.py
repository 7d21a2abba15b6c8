"""A sample of what `make faults` does: a stopped or damaged experiment ends as any other."""

import random

import pytest

from faults.experiment import final_state
from faults.kills import KINDS, judge, stop
from project import MODELS, make_project

pytestmark = pytest.mark.slow
TINY = {"tiny": MODELS["tiny_3d"]}
STAGES = [
    "preprocess_cases",
    "train_fold",
    "train_fold",
    "predict_fold",
    "evaluate_predictor",
    "plot_cases",
]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "project", TINY)
    project.snakemake()
    return final_state(project)


def test_an_experiment_survives_stops_of_all_kinds(tmp_path, expected):
    project = make_project(tmp_path / "project", TINY)
    chance, done = random.Random(1), set()
    found = [
        stop(project, kind, stage, chance.uniform(0, 1), done)
        for kind, stage in zip(KINDS, STAGES, strict=True)
    ]
    kills = [kill for kill in found if kill is not None]
    assert len(kills) >= 4
    assert judge(project, kills, expected) == []
    assert [kill for kill in kills if kill.lost_jobs] == []
