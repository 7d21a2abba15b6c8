import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rank_predictors import main
from segflow.evaluation.ranking import critical_difference, rank


def summary(means, split="val"):
    """Return the part of a summary that a ranking reads, and rows that it must not read."""
    about = {"split": split, "stage": "postprocessed", "fold": "all", "label": "all"}
    about |= {"metric": "dice", "published": None}
    rows = [{"predictor": name, "mean": mean, **about} for name, mean in means.items()]
    others = [{"stage": "raw"}, {"fold": "0"}, {"label": "a"}, {"metric": "iou"}]
    others += [{"published": "somebody"}]
    rows += [{**row, **other, "mean": 9.0} for row in rows for other in others]
    return pd.DataFrame(rows)


DATA = {
    "one": {"p": 0.9, "q": 0.8, "r": 0.7},
    "two": {"p": 0.6, "q": 0.5, "r": 0.4},
    "three": {"p": 0.5, "q": 0.7, "r": 0.4},
    "four": {"p": 0.8, "q": 0.8, "r": 0.1},
}


def ranking(data):
    return rank({name: summary(means) for name, means in data.items()})


def test_mean_ranks_by_hand():
    found = ranking(DATA)
    val = found[found["split"] == "val"].set_index("predictor")
    assert val.index.tolist() == ["p", "q", "r"]
    assert val["mean_rank"].tolist() == [5.5 / 4, 6.5 / 4, 3]  # p: 1, 1, 2, 1.5
    assert val["n_datasets"].tolist() == [4, 4, 4]
    assert val.loc["p", "mean"] == pytest.approx(0.7)
    assert val.loc["p", "nemenyi_q"] == val.loc["q", "nemenyi_p"]


def test_friedman_by_hand():
    # Without ties: 12 / (n k (k + 1)) * sum of squared rank sums - 3 n (k + 1), with rank sums
    # 4, 5 and 9 of n = 3 data sets and k = 3 predictors.
    found = ranking({name: DATA[name] for name in ("one", "two", "three")})
    statistic = 12 / (3 * 3 * 4) * (4**2 + 5**2 + 9**2) - 3 * 3 * 4
    assert found["statistic"][0] == pytest.approx(statistic)
    assert found["p"][0] == pytest.approx(stats.chi2.sf(statistic, 2))


def test_nemenyi_rejects_from_the_critical_difference_on():
    """The p of two predictors at the critical difference is 5 %."""
    generator = np.random.default_rng(0)
    data = {f"d{n}": dict(zip("pqrst", generator.random(5), strict=True)) for n in range(12)}
    found = ranking(data).dropna(subset="predictor").set_index("predictor")
    for one in found.index:
        for other in found.index.drop(one):
            apart = abs(found.loc[one, "mean_rank"] - found.loc[other, "mean_rank"])
            rejected = found.loc[one, f"nemenyi_{other}"] < 0.05
            assert rejected == (apart > found.loc[one, "critical_difference"])


@pytest.mark.parametrize(
    ("n_predictors", "quantile"), [(3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_critical_differences_of_the_published_table(n_predictors, quantile):
    expected = quantile * np.sqrt(n_predictors * (n_predictors + 1) / (6 * 14))
    assert critical_difference(n_predictors, 14) == pytest.approx(expected, abs=5e-4)


def test_equal_predictors():
    found = ranking({name: dict.fromkeys("pqr", 0.5) for name in ("one", "two")})
    assert (found["statistic"][0], found["p"][0]) == (0, 1)
    assert found["mean_rank"][:3].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"one": DATA["one"]}, "1 and 3"),
        ({name: {"p": 0.5, "q": 0.6} for name in ("one", "two")}, "2 and 2"),
        ({"one": DATA["one"], "two": {"p": 0.5, "q": np.nan, "r": 0.1}}, "1 and 3"),
    ],
)
def test_too_little_is_a_note(data, counts):
    found = ranking(data)
    assert found["split"].tolist() == ["val", "test"]
    assert found["predictor"].isna().all()
    note = f"a ranking needs 2 data sets and 3 predictors, here are {counts}"
    assert found["note"][0] == note
    assert found["note"][1].endswith("here are 0 and 0")


def test_the_order_of_the_input_does_not_matter():
    pd.testing.assert_frame_equal(ranking(DATA), ranking(dict(reversed(DATA.items()))))


@pytest.mark.parametrize("n_datasets", [1, 4])
def test_the_script_writes_table_and_figure(tmp_path, n_datasets):
    paths = {}
    for name in list(DATA)[:n_datasets]:
        paths[name] = tmp_path / f"{name}.csv"
        summary(DATA[name]).to_csv(paths[name], index=False)
    titles = {"p": "Model P", "q": "Model Q", "r": "Model R"}
    main(paths, titles, tmp_path / "ranking.csv", tmp_path / "ranking.png")
    assert len(pd.read_csv(tmp_path / "ranking.csv")) == (2 if n_datasets == 1 else 4)
    assert plt.imread(tmp_path / "ranking.png").std() > 0
