import pandas as pd

from segflow.report.study_part import answer_over_all

TITLES = {"a": "First net", "b": "Second net", "c": "Third net"}


def ranked(p, *nemenyi):
    return pd.DataFrame(
        {
            "predictor": ["b", "a", "c"],
            "n_datasets": 6.0,
            "mean_rank": [1.17, 2.0, 2.83],
            "p": p,
            "nemenyi_a": [nemenyi[0], 1, 0.5],
            "nemenyi_b": [1, *nemenyi],
            "nemenyi_c": [nemenyi[1], 0.5, 1],
        }
    )


def test_the_answer_over_all_data_sets_says_what_differs_from_the_best():
    best, tested = answer_over_all(ranked(0.0155, 0.319, 0.0109), TITLES, "Cross-validation")
    assert best == (
        "Second net has the best mean rank of 3 predictors over 6 data sets, cross-validation: "
        "1.17."
    )
    assert "p 0.0155" in tested
    assert "It differs from Third net (p 0.0109)." in tested
    assert "No difference is shown from First net (p 0.319)." in tested


def test_pairs_mean_nothing_where_all_together_do_not_differ():
    _, tested = answer_over_all(ranked(0.2, 0.01, 0.01), TITLES, "Test cases")
    assert tested == "Friedman's test over all predictors: p 0.2. No difference is shown."
