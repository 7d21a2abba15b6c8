import pandas as pd
import pytest

from segflow.datasets.sources import Problem
from segflow.report.findings import answer, warnings

TITLES = {"a": "Model A", "b": "Model B"}
COLUMNS = ["predictor", "split", "stage", "fold", "label", "metric", "n", "n_undefined"]
COLUMNS += ["n_infinite", "n_groups", "mean", "median", "q1", "q3", "ci_low", "ci_high"]
COLUMNS += ["published", "note"]


def row(predictor, split, fold, mean, median=0.8, **changes):
    made = {
        "predictor": predictor,
        "split": split,
        "stage": "postprocessed",
        "fold": fold,
        "label": "all",
        "metric": "dice",
        "n": 20,
        "n_undefined": 1,
        "n_infinite": 0,
        "n_groups": 20,
        "mean": mean,
        "median": median,
        "q1": 0.7,
        "q3": 0.9,
        "ci_low": mean - 0.05,
        "ci_high": mean + 0.05,
        "note": "",
    }
    return made | changes


@pytest.fixture
def summary():
    rows = [row("a", "val", "all", 0.8), row("a", "test", "all", 0.7, n=5, n_undefined=0)]
    rows += [row("a", "val", "0", 0.85, 0.85), row("a", "val", "1", 0.6, 0.55)]
    rows += [row("b", "val", "all", 0.75)]
    theirs = {"predictor": "Theirs", "split": "test", "label": "all", "metric": "dice"}
    rows.append(theirs | {"mean": 0.9, "published": "A paper", "note": "impossible, it says"})
    return pd.DataFrame(rows, columns=COLUMNS)


BEST = {
    "predictor": "a",
    "stage": "postprocessed",
    "metric": "dice",
    "cross_fitted": {
        "choices": {
            "0": {"predictor": "a", "stage": "postprocessed"},
            "1": {"predictor": "b", "stage": "raw"},
        }
    },
    "ranking": [
        {"predictor": "a", "stage": "postprocessed", "mean": 0.8, "median": 0.8},
        {"predictor": "a", "stage": "raw", "mean": 0.79, "median": 0.8},
        {"predictor": "b", "stage": "postprocessed", "mean": 0.75, "median": 0.8},
    ],
}


def compared(p, turned=False):
    names = ("b", "a") if turned else ("a", "b")
    signs = (-0.04, -0.06, -0.01) if turned else (0.04, 0.01, 0.06)
    return pd.DataFrame(
        [
            {
                "split": "val",
                "stage": "postprocessed",
                "metric": "dice",
                "label": "all",
                "predictor": names[0],
                "other": names[1],
                "n_groups": 20,
                "hodges_lehmann": signs[0],
                "ci_low": signs[1],
                "ci_high": signs[2],
                "p_corrected": p,
            }
        ]
    )


@pytest.mark.parametrize("turned", [False, True])
def test_the_answer_names_number_interval_next_and_test(summary, turned):
    found = answer(BEST, summary, compared(0.01, turned), TITLES)
    assert found[0] == (
        "Model A, after post-processing, has the best mean Dice of 2 predictors: 0.800 (95 % "
        "interval 0.750 to 0.850, 20 cases, 1 undefined), cross-validated."
    )
    assert found[1].startswith("On the test cases, which had no part in any choice: 0.700 (")
    assert "Next is Model B, after post-processing: 0.750." in found[2]
    assert "the difference is +0.040 (Hodges-Lehmann, 95 % interval +0.010 to +0.060" in found[2]
    assert "a difference is shown (Wilcoxon's signed-rank test, p 0.010 after Holm" in found[2]
    assert "Theirs 0.900 on test cases (impossible beside its other numbers)" in found[3]


def test_a_large_p_shows_no_difference(summary):
    assert "no difference is shown" in answer(BEST, summary, compared(0.2), TITLES)[2]


def test_one_predictor_is_compared_with_none(summary):
    alone = BEST | {"ranking": BEST["ranking"][:2]}
    found = answer(alone, summary[summary["published"].isna()], compared(0.2)[:0], TITLES)
    assert len(found) == 2
    assert "has the best mean Dice:" in found[0]


def test_distances_are_told_by_their_median():
    rows = [row("a", "val", "all", 9.0, 4.0, metric="hd95", q1=3.0, q3=7.0, n_infinite=2)]
    best = BEST | {"metric": "hd95", "ranking": BEST["ranking"][:1]}
    found = answer(best, pd.DataFrame(rows, columns=COLUMNS), compared(1)[:0], TITLES)
    assert "best median HD95: 4.00 mm (quartiles 3.00 to 7.00, 20 cases, 1 undefined" in found[0]
    assert "2 infinite" in found[0]


def detection(**counts):
    shared = {"predictor": "a", "stage": "postprocessed", "split": "val", "label": "lesion"}
    return pd.DataFrame([shared | counts])


def test_warnings_name_what_is_wrong(summary):
    problems = [
        Problem("c", "", "leak", "patient 1 is in train and in test", "kept"),
        Problem("d", "", "leak", "group 2", "groups are kept together instead"),
    ]
    splits = pd.DataFrame({"fold": ["0"], "part": ["val"], "lacks": ["label two"]})
    trainings = {("a", "0"): {"collapsed": False}, ("a", "1"): {"collapsed": True}}
    counts = {"n_present": 10, "n_found": 8, "n_absent": 4, "n_left_out": 4}
    duplicates = pd.DataFrame({"contradicts": [True, False]})
    found = warnings(
        BEST, summary, detection(**counts), problems, splits, trainings, duplicates, TITLES
    )
    texts = " | ".join(one.text for one in found)
    for said in (
        "1 leak between parts stayed in: patient 1 is in train and in test",
        "The published split has 1 leak; here groups stay together.",
        "2 pairs of nearly equal images, kept in one group each; 1 with different classes.",
        "Fold 0 has no label two in its val part.",
        "Model A: the training of classes collapsed in fold 1",
        "the best predictor misses lesion wholly in 2 of 10 cases that have it.",
        "Fold 1 differs: its median Dice of 0.550 lies outside the middle half",
        "without fold 1 it is Model B, before post-processing",
        "Published numbers that contradict each other: Theirs.",
    ):
        assert said in texts
    assert "Fold 0 differs" not in texts
    assert len(found) == 9


def test_nothing_is_warned_of_where_nothing_is_wrong(summary):
    fine = summary[summary["published"].isna() & ~summary["fold"].isin(["1"])]
    splits = pd.DataFrame({"fold": ["0"], "part": ["val"], "lacks": [None]})
    counts = {"n_present": 10, "n_found": 10, "n_absent": 0, "n_left_out": 0}
    best = BEST | {"cross_fitted": None}
    assert warnings(best, fine, detection(**counts), [], splits, {}, None, TITLES) == []
