import numpy as np
import pandas as pd
import pytest

import select_predictor
from segflow.evaluation.metrics import METRICS
from segflow.evaluation.stability import N_RESAMPLES, rank_stability
from segflow.evaluation.summaries import arrange
from segflow.files.cases import write_cases
from segflow.files.content import read_json

INF = float("inf")


def table(values, metric="dice", split="val"):
    """Return metrics of predictors from lists of their values by case."""
    about = {"split": split, "stage": "raw", "fold": "0", "label": "a"}
    return pd.DataFrame(
        [
            {**about, "predictor": predictor, "case": f"{split}{case}", metric: value}
            for predictor, own in values.items()
            for case, value in enumerate(own)
        ]
    )


def stability_of(metrics, metric="dice", groups=None):
    groups = groups or {case: case for case in metrics["case"]}
    penalties = dict.fromkeys(metrics["case"], 90.0)
    n_members = dict.fromkeys(metrics["predictor"], 1)
    splits = arrange(metrics, [metric], (), penalties)
    return rank_stability(splits, n_members, METRICS[metric], groups, seed=1)


def test_who_is_better_in_every_case_is_always_first():
    found = stability_of(table({"p": [0.5] * 6, "q": [0.7] * 6, "r": [0.6] * 6}))
    assert found.columns.tolist()[:6] == [
        *("split", "stage", "predictor", "n_groups", "rank", "mean_rank")
    ]
    assert found["predictor"].tolist() == ["q", "r", "p"]
    np.testing.assert_allclose(found[["rank_1", "rank_2", "rank_3"]], np.eye(3))
    assert found["mean_rank"].tolist() == pytest.approx([1, 2, 3])
    assert found["n_groups"].tolist() == [6] * 3


def test_shares_are_those_of_the_draws():
    """Of two predictors, q leads by its one good case of three, if it is drawn at all."""
    found = stability_of(table({"p": [0.5, 0.5, 0.5], "q": [0.9, 0.4, 0.4]})).set_index("predictor")
    exact = 1 - (2 / 3) ** 3  # it gains 0.4 there, and loses 0.2 at most elsewhere
    error = 4 * np.sqrt(exact * (1 - exact) / N_RESAMPLES)
    assert found.loc["q", "rank_1"] == pytest.approx(exact, abs=error)
    assert found.loc["q", "rank_1"] + found.loc["p", "rank_1"] == pytest.approx(1)
    assert found.loc["q", "mean_rank"] == pytest.approx(2 - found.loc["q", "rank_1"])


def test_whole_groups_are_drawn():
    """With the cases of two patients, the good case comes with probability 3/4."""
    metrics = table({"p": [0.5, 0.5, 0.5], "q": [0.9, 0.4, 0.4]})
    groups = {"val0": "x", "val1": "y", "val2": "y"}
    found = stability_of(metrics, groups=groups).set_index("predictor")
    assert found.loc["q", "rank_1"] == pytest.approx(0.75, abs=4 * np.sqrt(0.1875 / N_RESAMPLES))
    assert found["n_groups"].tolist() == [2, 2]


def test_distances_are_ranked_by_their_median():
    values = {"careful": [6.0, 6, 6, 6, 6, 6, 6], "lazy": [1.0, 1, INF, INF, INF, INF, INF]}
    found = stability_of(table(values, "hd95"), "hd95").set_index("predictor")
    assert found["rank"].to_dict() == {"careful": 1, "lazy": 2}
    assert 0.5 < found.loc["careful", "rank_1"] < 1


def test_it_is_written_beside_the_choice(tmp_path, make_case):
    metrics = pd.concat(
        [table({"p": [0.5] * 5, "q": [0.7] * 5}), table({"p": [0.5], "q": [0.4]}, split="test")]
    )
    metrics = pd.concat([metrics, metrics.assign(stage="postprocessed")])
    tables = {name: tmp_path / f"{name}.csv" for name in "pq"}
    for name, path in tables.items():
        metrics[metrics["predictor"] == name].drop(columns="predictor").to_csv(path, index=False)
    write_cases(tmp_path / "cases.csv", [make_case(name) for name in set(metrics["case"])])
    output = [tmp_path / "best.json", tmp_path / "rank_stability.csv"]
    members = {name: {name: 1.0} for name in "pq"}
    select_predictor.main(tables, members, "dice", [], tmp_path / "cases.csv", None, 1, *output)
    assert read_json(output[0])["predictor"] == "q"
    found = pd.read_csv(output[1])
    assert found.groupby(["split", "stage"])["predictor"].first().tolist() == ["p", "p", "q", "q"]
    assert (found["rank_1"] == 1).sum() == 4
