import pandas as pd

from plot_case_comparison import choose_cases


def test_best_median_worst_and_what_is_disputed():
    dice = pd.DataFrame(
        {
            "one": {"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.2, "e": 0.9, "f": 0.6},
            "two": {"a": 0.9, "b": 0.6, "c": 0.6, "d": 0.1, "e": 0.1, "f": 0.6},
        }
    )
    # Means: a 0.9, b 0.7, f 0.6, c 0.55, e 0.5, d 0.15; f never differs.
    assert choose_cases(dice) == {
        "best": "a",
        "median": "f",
        "worst": "d",
        "disputed 1": "e",
        "disputed 2": "b",
    }


def test_a_single_case_is_all_of_them():
    dice = pd.DataFrame({"one": {"a": 0.9}, "two": {"a": 0.4}})
    assert choose_cases(dice) == {"best": "a", "median": "a", "worst": "a"}
