"""A sample of what `make faults` does: an experiment that is often stopped gets to its end.

That it ends as an undisturbed one is shown there, and of trainings in `test_training.py`.
"""

import random

import pytest

from faults.experiment import finish
from faults.kills import KINDS, stop
from project import MODELS, make_project

pytestmark = [pytest.mark.slow, pytest.mark.long]
STAGES = [
    "preprocess_cases",
    "train_fold",
    "train_fold",
    "predict_fold",
    "evaluate_predictor",
    "plot_cases",
]


def test_an_experiment_survives_stops_of_all_kinds(tmp_path):
    project = make_project(tmp_path / "project", {"tiny": MODELS["tiny_3d"]})
    chance, done = random.Random(1), set()
    found = [
        stop(project, kind, stage, chance.uniform(0, 1), done)
        for kind, stage in zip(KINDS, STAGES, strict=True)
    ]
    kills = [kill for kill in found if kill is not None]
    assert len(kills) >= 4
    assert [kill for kill in kills if kill.lost_jobs] == []
    assert finish(project, 1) == ""
    assert project.planned() == set()
