"""Studies of `config/studies`: each can be planned from raw files of its layout, in full and small.

`make studies` runs them.
"""

import json
import re

import pytest
import yaml

from project import ROOT, Project
from segflow.run.configuration import Run
from studies import STUDIES, make_raw_folders


@pytest.mark.parametrize("name", STUDIES)
def test_dry_run_of_every_study(name, tmp_path):
    study = yaml.safe_load(STUDIES[name].read_text())
    raw = make_raw_folders(study["datasets"], tmp_path / "raw")
    options = ["--snakefile", str(ROOT / "Snakefile"), "--dry-run", "--configfile"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"raw_folders": raw}))
    text = Project(tmp_path).snakemake(*options, str(STUDIES[name]), "mine.yaml")
    n_trainings = len(study["datasets"]) * len(study["models"]) * study["n_folds"]
    planned = re.search(rf"train_fold +{n_trainings}\n", text)
    assert (planned is not None) == (n_trainings > 0)
    assert (re.search(r"rank_predictors +1\n", text) is not None) == (len(raw) > 1)
    assert "ensemble " not in text  # the demonstration's


def test_the_names_of_a_study_are_where_its_results_are():
    for name, path in STUDIES.items():
        places = yaml.safe_load(path.read_text())["pathvars"]
        shared = "s4_many_datasets" if name == "s4_cascade" else name
        assert places == {
            "results": f"results/{shared}",
            "logs": f"results/{shared}/logs",
            "benchmarks": f"results/{shared}/benchmarks",
        }


@pytest.mark.parametrize(("first", "second"), [("s4_many_datasets", "s4_cascade")])
def test_studies_that_share_results_train_nothing_twice(first, second):
    runs = [Run(yaml.safe_load(STUDIES[name].read_text())) for name in (first, second)]
    for dataset in runs[1].datasets:
        assert runs[0].converted(dataset) == runs[1].converted(dataset)
        assert runs[0].part_rule(dataset) == runs[1].part_rule(dataset)
    assert runs[0].folds == runs[1].folds
    assert runs[0].config["seed"] == runs[1].config["seed"]


def test_the_random_split_and_the_groups_are_two_protocols_of_one_data_set():
    leaking, clean = (
        Run(yaml.safe_load(STUDIES[name].read_text())) for name in ("s3_busi_published", "s3_busi")
    )
    assert leaking.part_rule("busi")["published"]
    assert not clean.part_rule("busi")["published"]
    assert clean.part_rule("busi")["held_out"] == 0.1
    assert leaking.part_rule("busi")["random_split"] == {"val": 0.1, "test": 0.1, "seed": 42}
    assert list(leaking.models) == list(clean.models)
    assert json.dumps(leaking.models) == json.dumps(clean.models)
