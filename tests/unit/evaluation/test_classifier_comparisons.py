import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar as of_statsmodels

from segflow.evaluation import bootstrap
from segflow.evaluation.classifier_comparisons import COLUMNS, compare_classifiers, mcnemar

CLASSES = ["a", "b"]


def of(p):
    return np.stack([1 - p, p], axis=1)


@pytest.fixture
def made():
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1], 20)
    good = 1 / (1 + np.exp(-(generator.normal(size=40) + 3 * truth - 1.5)))
    return truth, {"good": of(good), "guess": of(generator.random(40))}, np.arange(40)


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_is_that_of_statsmodels(seed):
    first, other = np.random.default_rng(seed).random((2, 30)) < [[0.8], [0.5]]
    table = [[(a & b).sum() for b in (other, ~other)] for a in (first, ~first)]
    expected = of_statsmodels(np.array(table), exact=True).pvalue
    assert mcnemar(first, other, np.arange(30)) == pytest.approx(expected)


def test_mcnemar_by_hand():
    """Five cases that only the first tells rightly, one that only the other does."""
    first = np.array([1, 1, 1, 1, 1, 0, 1, 0], bool)
    other = np.array([0, 0, 0, 0, 0, 1, 1, 0], bool)
    assert mcnemar(first, other, np.arange(8)) == pytest.approx(2 * binom.cdf(1, 6, 0.5))
    assert mcnemar(first, first, np.arange(8)) == 1


def test_cases_of_one_group_are_no_independent_trials():
    """All six cases of one group: the sign of one coin, so no evidence."""
    first, other = np.ones(6, bool), np.zeros(6, bool)
    assert mcnemar(first, other, np.arange(6)) == pytest.approx(2 / 64)
    assert mcnemar(first, other, np.zeros(6, int)) == 1
    # Groups of 3, 2 and 1: only when all three coins agree is the sum as large.
    assert mcnemar(first, other, np.array([0, 0, 0, 1, 1, 2])) == pytest.approx(2 / 8)


def test_a_good_classifier_is_better_than_a_guess(made):
    truth, tables, groups = made
    table = compare_classifiers(truth, tables, CLASSES, groups, seed=1)
    assert list(table.columns) == COLUMNS
    rows = table.set_index(["metric", "class"])
    right = {name: p.argmax(1) == truth for name, p in tables.items()}
    row = rows.loc[("accuracy", "all")]
    assert row["difference"] == pytest.approx(right["good"].mean() - right["guess"].mean())
    assert row["first_only"] == (right["good"] & ~right["guess"]).sum()
    assert row["p"] == row["p_corrected"] < 0.05
    assert row["method"] == "McNemar, exact"
    for name in ("a", "b", "macro"):
        row = rows.loc[("auc", name)]
        assert 0 < row["low"] < row["difference"] < row["high"]
        # The AUC of both of two classes, and their mean, are one hypothesis.
        assert row["p"] == pytest.approx(row["p_corrected"])
        assert row["p"] < 0.01


def test_identical_classifiers_do_not_differ_and_count_once(made):
    truth, tables, groups = made
    tables = tables | {"same": tables["good"]}
    table = compare_classifiers(truth, tables, CLASSES, groups, seed=1)
    rows = table.set_index(["predictor", "other", "metric", "class"])
    row = rows.loc[("good", "same", "auc", "a")]
    assert (row["difference"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)
    row = rows.loc[("good", "same", "accuracy", "all")]
    assert (row["difference"], row["p"]) == (0, 1)
    # Two hypotheses: good against same, and either against the guess.
    row = rows.loc[("good", "guess", "accuracy", "all")]
    assert row["p_corrected"] == pytest.approx(2 * row["p"])
    assert rows.loc[("guess", "same", "accuracy", "all")]["p_corrected"] == row["p_corrected"]


def test_the_first_name_changes_signs_only(made):
    truth, tables, groups = made
    one = compare_classifiers(truth, tables, CLASSES, groups, seed=1)
    names = {"x": tables["guess"], "y": tables["good"]}
    other = compare_classifiers(truth, names, CLASSES, groups, seed=1)
    np.testing.assert_allclose(one["difference"], -other["difference"])
    np.testing.assert_allclose(one["low"], -other["high"])
    np.testing.assert_allclose(one["p"], other["p"])


def test_few_groups_have_no_test_of_auc(made):
    truth, tables, _ = made
    table = compare_classifiers(truth, tables, CLASSES, np.arange(40) % 4, seed=1)
    auc = table[table["metric"] == "auc"]
    assert auc[["low", "high", "p", "p_corrected"]].isna().all(axis=None)
    assert auc["difference"].notna().all()
    assert table["method"][0] == "McNemar, exact, by groups"


def test_one_classifier_has_nothing_to_be_compared_with(made):
    truth, tables, groups = made
    table = compare_classifiers(truth, {"good": tables["good"]}, CLASSES, groups, seed=1)
    assert (len(table), list(table.columns)) == (0, COLUMNS)


@pytest.mark.long
def test_the_test_of_auc_holds_its_level(monkeypatch):
    """Two scores of equal AUC, correlated; 80 tables of 12 cases a class."""
    monkeypatch.setattr(bootstrap, "N_RESAMPLES", 99)
    generator = np.random.default_rng(1)
    truth, rejected = np.repeat([0, 1], 12), 0
    for seed in range(80):
        shared = generator.normal(size=24) + 1.5 * truth
        tables = {
            name: of(1 / (1 + np.exp(-(shared + generator.normal(size=24))))) for name in "mn"
        }
        table = compare_classifiers(truth, tables, CLASSES, np.arange(24), seed)
        rejected += table.set_index(["metric", "class"]).loc[("auc", "a"), "p"] < 0.05
    assert rejected / 80 <= 0.1
