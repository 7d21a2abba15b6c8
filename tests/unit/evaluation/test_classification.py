import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from sklearn import metrics

from segflow.evaluation import bootstrap
from segflow.evaluation.classification import (
    ALL,
    GRID,
    MACRO,
    MICRO,
    count_confusion,
    measure,
    precision_recall_band,
    predicted_classes,
    reliability,
    resampled_measures,
    roc_band,
    summarise_classes,
)

# Three classes, six cases; the last two cases are told wrongly.
TRUTH = np.array([0, 0, 1, 1, 2, 2])
PROBABILITIES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.1, 0.7, 0.2],
        [0.2, 0.5, 0.3],
        [0.5, 0.2, 0.3],
        [0.3, 0.4, 0.3],
    ]
)


def once(truth=TRUTH, probabilities=PROBABILITIES):
    return {key: found[0] for key, found in measure(truth, probabilities).items()}


@pytest.fixture
def made():
    """Return classes and probabilities with ties, of 60 cases in 20 groups."""
    generator = np.random.default_rng(0)
    truth = generator.integers(3, size=60)
    logits = generator.normal(size=(60, 3)) + 1.2 * np.eye(3)[truth]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    p = np.round(p, 1) + 1e-9
    return truth, p / p.sum(1, keepdims=True), np.repeat(np.arange(20), 3)


def test_values_by_hand():
    found = once()
    assert found[ALL, "accuracy"] == pytest.approx(4 / 6)
    assert found[ALL, "balanced_accuracy"] == pytest.approx((1 + 1 + 0) / 3)
    assert found[0, "precision"] == pytest.approx(2 / 3)
    assert found[0, "f1"] == pytest.approx(4 / 5)
    assert found[1, "specificity"] == pytest.approx(3 / 4)
    # Class 2 is never predicted: no mean gains by that.
    assert [found[2, name] for name in ("precision", "recall", "f1")] == [0, 0, 0]
    assert found[2, "specificity"] == 1
    assert found[MACRO, "precision"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert found[MACRO, "f1"] == pytest.approx((4 / 5 + 4 / 5 + 0) / 3)
    # Class 2 has the scores 0.3, 0.3, the others 0.1, 0.1, 0.2, 0.3: one tie each.
    assert found[2, "auc"] == pytest.approx((3 + 0.5) / 4)
    assert found[2, "average_precision"] == pytest.approx(2 / 3)
    squares = (np.array([0.2, 0.4, 0.1, 0.2, 0.5, 0.3]) ** 2).sum()
    assert found[0, "brier"] == pytest.approx(squares / 6)


def test_the_calibration_error_by_hand():
    """Bins of width 1/15: both probabilities of 0.9 share one, of which one case is right."""
    truth = np.array([0, 1, 1])
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7]])
    found = once(truth, p)
    assert found[ALL, "ece"] == pytest.approx((2 * abs(0.9 - 0.5) + abs(0.7 - 1)) / 3)
    assert found[0, "ece"] == pytest.approx((2 * abs(0.9 - 0.5) + 0.3) / 3)
    bins = reliability(truth == 0, p[:, 0])
    assert bins["bin"].tolist() == [4, 13]
    assert bins["observed"].tolist() == [0, 0.5]
    assert bins["n"].tolist() == [1, 2]


def test_measures_are_those_of_scikit_learn(made):
    truth, p, _ = made
    found, said = once(truth, p), predicted_classes(p)
    for average, place in (("macro", MACRO), (None, None)):
        for name, function in (
            ("f1", metrics.f1_score),
            ("precision", metrics.precision_score),
            ("recall", metrics.recall_score),
        ):
            expected = np.atleast_1d(function(truth, said, average=average))
            places = [place] if place else range(3)
            if (places[0], name) in found:
                np.testing.assert_allclose([found[at, name] for at in places], expected)
    expected = metrics.roc_auc_score(truth, p, multi_class="ovr", average=None)
    np.testing.assert_allclose([found[at, "auc"] for at in range(3)], expected)
    binary = np.eye(3)[truth]
    for average in ("macro", "micro"):
        assert found[average, "auc"] == pytest.approx(
            metrics.roc_auc_score(binary, p, average=average)
        )
        assert found[average, "average_precision"] == pytest.approx(
            metrics.average_precision_score(binary, p, average=average)
        )
    assert found[ALL, "accuracy"] == metrics.accuracy_score(truth, said)
    assert found[ALL, "balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(truth, said)
    )
    assert found[0, "brier"] == pytest.approx(metrics.brier_score_loss(truth == 0, p[:, 0]))
    assert found[ALL, "brier"] == pytest.approx(
        metrics.brier_score_loss(truth, p, scale_by_half=False)
    )
    assert (count_confusion(truth, p) == metrics.confusion_matrix(truth, said)).all()


def test_weights_count_cases_several_times(made):
    truth, p, _ = made
    counts = np.random.default_rng(1).integers(0, 4, (5, len(truth)))
    found = measure(truth, p, counts.astype(float))
    for number, count in enumerate(counts):
        expected = once(np.repeat(truth, count), np.repeat(p, count, axis=0))
        for key, values in found.items():
            np.testing.assert_allclose(values[number], expected[key], err_msg=str(key))


def test_resamples_are_of_whole_groups(made, monkeypatch):
    monkeypatch.setattr(bootstrap, "N_RESAMPLES", 7)
    truth, p, groups = made
    found = resampled_measures(truth, p, groups, seed=3)
    drawn = next(bootstrap.draw_counts(20, 3))
    for number, counts in enumerate(drawn):
        chosen = np.repeat(np.arange(60), counts[groups])
        assert found[ALL, "accuracy"][number] == pytest.approx(
            once(truth[chosen], p[chosen])[ALL, "accuracy"]
        )


def test_a_class_without_cases_or_without_others_is_undefined():
    found = once(np.array([0, 0, 1]), PROBABILITIES[[0, 1, 2]])
    for name in ("recall", "auc", "average_precision", "precision", "f1"):
        assert np.isnan(found[2, name]), name
    assert found[MACRO, "auc"] == found[MACRO, "f1"] == found[ALL, "balanced_accuracy"] == 1
    found = once(np.array([1, 1]), PROBABILITIES[[2, 3]])
    assert np.isnan(found[1, "auc"])
    assert np.isnan(found[1, "specificity"])
    assert np.isnan(found[MACRO, "auc"])
    assert found[1, "average_precision"] == 1
    assert found[MICRO, "auc"] == 1


def test_the_first_of_equal_probabilities_is_the_class():
    assert predicted_classes(np.array([[0.2, 0.4, 0.4]])).tolist() == [1]


def test_a_summary_has_every_measure_with_an_interval_around_it(made):
    truth, p, groups = made
    table = summarise_classes(truth, p, ["a", "b", "c"], groups, seed=1)
    assert list(table.columns) == ["class", "metric", "value", "low", "high", "n"]
    assert set(table["class"]) == {"a", "b", "c", MACRO, MICRO, ALL}
    assert not table.duplicated(["class", "metric"]).any()
    assert table.loc[table["class"] == "a", "n"].eq((truth == 0).sum()).all()
    assert table.loc[table["class"] == ALL, "n"].eq(60).all()
    given = table[table["metric"] != "ece"]
    assert ((given["low"] < given["value"]) & (given["value"] < given["high"])).all()
    assert table.loc[table["metric"] == "ece", ["low", "high"]].isna().all(axis=None)
    again = summarise_classes(truth[::-1], p[::-1], ["a", "b", "c"], groups[::-1], seed=1)
    pd.testing.assert_frame_equal(again, table)


def test_few_groups_have_no_interval(made):
    truth, p, _ = made
    table = summarise_classes(truth, p, ["a", "b", "c"], np.arange(60) % 4, seed=1)
    assert table[["low", "high"]].isna().all(axis=None)
    # Ten groups, but only four hold class 0: its score has none, that of class 1 has one.
    truth = np.array([0] * 4 + [1] * 6 + [2] * 6)
    table = summarise_classes(truth, p[:16], ["a", "b", "c"], np.arange(16), seed=1)
    auc = table[table["metric"] == "auc"].set_index("class")["low"]
    assert np.isnan(auc["a"])
    assert np.isnan(auc[MACRO])
    assert not np.isnan(auc["b"])


def test_perfect_classes_have_an_interval_with_a_width():
    """Every resample is perfect, too: nothing varies, and yet ten cases do not prove it."""
    truth = np.repeat([0, 1], 6)
    table = summarise_classes(truth, np.eye(2)[truth], ["a", "b"], np.arange(12), seed=1)
    auc = table[(table["metric"] == "auc") & (table["class"] == "a")].iloc[0]
    assert auc["value"] == auc["high"] == 1
    assert auc["low"] == pytest.approx(6 / (6 + ndtri(0.975) ** 2))  # Wilson's, of 6 of 6


def coverage(n, auc, members, n_tables):
    """Return how often the interval of an AUC holds it, of tables of n groups for each class.

    The cases of a group share half of the variance of their scores.
    """
    generator = np.random.default_rng(n)
    truth = np.repeat([0, 1], n * members)
    groups = np.repeat(np.arange(2 * n), members)
    shift = np.sqrt(2) * ndtri(auc)
    held = 0
    for seed in range(n_tables):
        shared = generator.normal(size=2 * n)[groups] if members > 1 else 0
        score = generator.normal(size=len(truth)) + shared
        score = score / (np.sqrt(2) if members > 1 else 1) + shift * truth
        p = 1 / (1 + np.exp(-score))
        table = summarise_classes(truth, np.stack([1 - p, p], 1), ["a", "b"], groups, seed)
        row = table[(table["metric"] == "auc") & (table["class"] == "b")].iloc[0]
        held += row["low"] <= auc <= row["high"]
    return held / n_tables


@pytest.mark.parametrize(
    ("n", "members", "auc"),
    [(5, 1, 0.7), (5, 1, 0.97), (10, 1, 0.9), (20, 1, 0.9), (10, 3, 0.9)],
)
def test_the_interval_of_an_auc_holds_its_level(n, members, auc, monkeypatch):
    """Of 100 tables; a standard error is 2.2 %."""
    monkeypatch.setattr(bootstrap, "N_RESAMPLES", 99)
    assert coverage(n, auc, members, 200) >= 0.91


def test_bands_hold_their_curves(made):
    truth, p, groups = made
    positive = truth == 1
    x, y, (low, high) = roc_band(positive, p[:, 1], groups, seed=1)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    own = np.interp(GRID, x, y)
    assert (low <= own + 1e-9).mean() > 0.95
    assert (own <= high + 1e-9).mean() > 0.95
    recall, precision, (low, high) = precision_recall_band(positive, p[:, 1], groups, seed=1)
    assert (recall.max(), precision[recall == 0].max()) == (1, 1)
    assert (low <= high).all()
    assert low[-1] <= positive.mean() <= high[-1]  # all cases: the share of the class
    assert np.isnan(roc_band(positive, p[:, 1], np.arange(60) % 4, seed=1)[2]).all()
