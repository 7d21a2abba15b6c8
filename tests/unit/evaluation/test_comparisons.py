import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from segflow.evaluation.comparisons import (
    COLUMNS,
    changes,
    compare,
    differences,
    hodges_lehmann,
    signed_rank,
)
from segflow.evaluation.summaries import arrange

NAN, INF = math.nan, math.inf
BETTER = {"dice": "higher", "hd95": "lower"}


def table(predictors, metric="dice", split="val", stage="raw", label="a"):
    """Return metrics of predictors from their values; the cases are 0, 1, 2, ..."""
    return pd.DataFrame(
        [
            {"predictor": name, "split": split, "stage": stage, "fold": "0", "case": str(case)}
            | {"label": label, metric: value}
            for name, values in predictors.items()
            for case, value in enumerate(values)
        ]
    )


def comparisons_of(metrics, groups=None, penalties=None):
    groups = groups or {case: case for case in metrics["case"]}
    return compare(arrange(metrics, list(BETTER), (), penalties), BETTER, groups)


def only(found, label="a"):
    chosen = found[found["label"] == label]
    assert len(chosen) == 1
    return chosen.iloc[0].to_dict()


def test_five_differences_by_hand():
    # Sizes 1, 2, 3, 4, 5 with the 2 negative: W- = 2, W+ = 13. Of the 32 signs, those with a sum
    # of at most 2 are {}, {1}, {2}: p = 2 * 3 / 32. r = (13 - 2) / 15.
    statistic, p, effect, method = signed_rank(np.array([0.1, -0.2, 0.3, 0.4, 0.5]))
    assert statistic == 2
    assert p == 2 * 3 / 32
    assert effect == pytest.approx(11 / 15)
    assert method == "exact"


def test_ties_by_hand():
    # Zero goes; sizes 1, 1, 2 have the ranks 1.5, 1.5, 3: W- = 1.5. Of the 8 signs those with at
    # most 1.5 are {}, {1.5}, {1.5'}: p = 2 * 3 / 8.
    statistic, p, effect, _ = signed_rank(np.array([1.0, 0.0, -1.0, 2.0]))
    assert (statistic, p) == (1.5, 0.75)
    assert effect == pytest.approx((4.5 - 1.5) / 6)


def test_one_side_only():
    statistic, p, effect, _ = signed_rank(np.array([1.0, 2.0, 3.0, INF, INF]))
    assert (statistic, p, effect) == (0, 2 / 32, 1)


def test_no_difference_at_all():
    assert signed_rank(np.zeros(4)) == (0, 1, 0, "all tied")


def test_nothing_to_compare():
    statistic, p, effect, method = signed_rank(np.array([]))
    assert np.isnan([statistic, p, effect]).all()
    assert method == ""


@pytest.mark.parametrize("n", [1, 4, 13, 30, 50])
def test_exact_p_agrees_with_scipy(n):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    expected = stats.wilcoxon(values, method="exact")
    statistic, p, _, _ = signed_rank(values)
    assert statistic == expected.statistic
    assert p == pytest.approx(expected.pvalue, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_exact_p_with_ties_agrees_with_scipys_enumeration(seed):
    values = np.random.default_rng(seed).integers(-3, 5, 9).astype(float)
    values = values[values != 0]
    expected = stats.wilcoxon(values, method=stats.PermutationMethod())
    statistic, p, _, _ = signed_rank(values)
    assert statistic == expected.statistic
    assert p == pytest.approx(expected.pvalue, rel=1e-12)


def test_exact_p_with_ties_agrees_with_drawn_signs():
    values = np.random.default_rng(5).integers(-4, 8, 40).astype(float)
    values = values[values != 0]
    ranks = stats.rankdata(np.abs(values))
    signs = np.random.default_rng(6).integers(0, 2, (200_000, len(values)))
    statistic, p, _, _ = signed_rank(values)
    assert p == pytest.approx(2 * (signs @ ranks <= statistic).mean(), abs=0.003)


def test_many_differences_agree_with_scipys_approximation():
    values = np.random.default_rng(7).integers(-5, 8, 200).astype(float)
    expected = stats.wilcoxon(values, method="asymptotic", zero_method="wilcox")
    statistic, p, _, method = signed_rank(values)
    assert method == "normal approximation"
    assert (statistic, p) == (expected.statistic, pytest.approx(expected.pvalue))


def test_the_rank_biserial_correlation_is_the_share_of_walsh_averages():
    """An independent way: pairs of differences whose mean is positive minus those negative."""
    values = np.random.default_rng(8).normal(0.2, 1, 20)
    means = [a + b for a, b in itertools.combinations_with_replacement(values, 2)]
    assert signed_rank(values)[2] == pytest.approx(np.sign(means).mean())


@pytest.mark.parametrize(
    ("first", "second", "perfect", "expected"),
    [
        (0.8, 0.5, 1.0, 0.3),
        (NAN, NAN, 1.0, NAN),
        (NAN, 0.0, 1.0, 1.0),  # nothing there, nothing found: right
        (0.0, NAN, 1.0, -1.0),
        (NAN, INF, 0.0, -INF),
        (INF, INF, 0.0, 0.0),  # both missed it
        (INF, 3.0, 0.0, INF),
        (0.5, NAN, NAN, NAN),
    ],
)
def test_differences_of_undefined_and_infinite_values(first, second, perfect, expected):
    found = differences(np.array([first]), np.array([second]), perfect)
    np.testing.assert_allclose(found, [expected], rtol=1e-9)


def test_differences_that_are_equal_on_paper_are_ties():
    found = differences(np.array([0.3, 0.9]), np.array([0.1, 0.7]), 1.0)
    assert found[0] == found[1] == 0.2


def walsh(values):
    return [(a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2)]


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 20, 60])
def test_the_estimate_fits_the_test(n):
    """Its interval holds the shifts that the test does not reject, tried one by one."""
    values = np.random.default_rng(n).normal(0.3, 1, n)
    estimate, low, high = hodges_lehmann(values)
    assert estimate == pytest.approx(np.median(walsh(values)))
    if n < 6:
        assert np.isnan([low, high]).all()
        assert signed_rank(values - 100)[1] > 0.05
        return
    for end, outwards in ((low, -1), (high, 1)):
        assert signed_rank(values - (end + outwards * 1e-6))[1] <= 0.05
        assert signed_rank(values - (end - outwards * 1e-6))[1] > 0.05


def test_the_interval_of_the_estimate_agrees_with_a_published_one():
    # Darwin's maize, in Hollander and Wolfe's Nonparametric Statistical Methods and in R's
    # wilcox.test(conf.int = TRUE): 15 differences, 95 % from the 26th of 120 means.
    values = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48.0])
    ordered = np.sort(walsh(values))
    assert hodges_lehmann(values) == (np.median(ordered), ordered[25], ordered[-26])


@pytest.mark.parametrize("n", [6, 10, 20, 55])
def test_the_interval_holds_its_level(n):
    """A symmetric distribution with heavy tails; the centre is 0."""
    drawn = np.random.default_rng(n).standard_t(3, (2000, n))
    ends = np.array([hodges_lehmann(values)[1:] for values in drawn])
    assert ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean() > 0.94


@pytest.mark.parametrize(
    ("values", "median", "estimate"),
    [
        ([-INF, INF], 0, 0),
        ([-INF, -INF, INF, INF], 0, 0),
        ([-INF, 2.0, INF], 2, 1),  # means -inf, -inf, 0, 2, inf, inf
        ([1.0, INF], INF, INF),
        ([-INF, 1.0], -INF, -INF),
        ([1.0, 2.0, INF], 2, INF),  # means 1, 1.5, 2 and three times inf: halfway is inf
    ],
)
def test_infinite_differences_have_a_median_whatever_the_names(values, median, estimate):
    for names, sign in (("pq", 1), ("qp", -1)):
        second = [1.0 if value != -INF else INF for value in values]
        first = [INF if value == INF else (value + 1 if value != -INF else 1.0) for value in values]
        metrics = table({names[0]: first, names[1]: second}, "hd95")
        found = only(comparisons_of(metrics))
        assert not np.isnan(found["p"])
        assert found["median_difference"] == sign * median
        assert found["hodges_lehmann"] == sign * estimate


def test_exchanged_names_exchange_signs_and_nothing_else():
    generator = np.random.default_rng(3)
    for _ in range(20):
        values = generator.integers(1, 9, (2, 11)).astype(float)
        values[generator.random((2, 11)) < 0.3] = INF
        one = only(comparisons_of(table(dict(zip("pq", values, strict=True)), "hd95")))
        other = only(comparisons_of(table(dict(zip("qp", values, strict=True)), "hd95")))
        for name in ("mean_difference", "median_difference", "hodges_lehmann", "effect_size"):
            assert one[name] == pytest.approx(-other[name], nan_ok=True)
        assert (one["ci_low"], one["ci_high"]) == (-other["ci_high"], -other["ci_low"])
        assert (one["p"], one["wins"]) == (other["p"], other["losses"])


def test_a_penalised_difference_by_hand():
    values = {"p": [1.0, INF, 3.0, NAN], "q": [2.0, 4.0, INF, 8.0]}
    penalties = {"0": 50.0, "1": 60.0, "2": 70.0, "3": 5.0}
    found = only(comparisons_of(table(values, "hd95"), None, penalties))
    # The last is right where nothing is, against a distance that is cut at 5.
    assert found["penalised_difference"] == pytest.approx((-1 + 56 - 67 - 5) / 4)
    assert (found["n_groups"], found["n_finite"], found["mean_difference"]) == (4, 2, -4.5)
    bounded = only(comparisons_of(table({"p": [0.1, 0.2], "q": [0.3, 0.5]}), None, penalties))
    assert np.isnan(bounded["penalised_difference"])


def test_ties_are_no_part_of_the_effect_size():
    found = only(comparisons_of(table({"p": [0.5] * 7 + [0.6] * 3, "q": [0.5] * 10})))
    assert (found["effect_size"], found["wins"], found["ties"]) == (1, 3, 7)


def test_a_row_by_hand():
    found = only(comparisons_of(table({"p": [0.5, 0.6, 0.9, 0.7], "q": [0.4, 0.4, 1.0, 0.7]})))
    assert (found["predictor"], found["other"], found["metric"]) == ("p", "q", "dice")
    assert (found["n"], found["n_groups"], found["n_one_undefined"]) == (4, 4, 0)
    assert found["mean_difference"] == pytest.approx((0.1 + 0.2 - 0.1 + 0) / 4)
    assert found["median_difference"] == pytest.approx(0.05)
    assert (found["wins"], found["ties"], found["losses"]) == (2, 1, 1)
    assert found["statistic"] == 1.5  # ranks 1.5, 3 and -1.5
    assert found["effect_size"] == pytest.approx(3 / 6)


def test_a_lower_distance_is_a_win():
    found = only(comparisons_of(table({"p": [1.0, 2.0, 3.0], "q": [2.0, 4.0, INF]}, "hd95")))
    assert (found["wins"], found["losses"], found["effect_size"]) == (3, 0, 1)
    assert (found["mean_difference"], found["median_difference"]) == (-1.5, -2)


def test_undefined_cases_are_counted():
    values = {"p": [NAN, NAN, 0.5, 0.6], "q": [NAN, 0.0, 0.5, 0.5]}
    found = only(comparisons_of(table(values)))
    assert (found["n"], found["n_one_undefined"], found["wins"]) == (3, 1, 2)


def test_cases_of_a_group_are_one_observation():
    values = {"p": [0.5, 0.9, 0.6, 0.2], "q": [0.4, 0.5, 0.3, 0.1]}
    groups = {"0": "x", "1": "x", "2": "y", "3": "z"}
    found = only(comparisons_of(table(values), groups))
    assert (found["n"], found["n_groups"], found["wins"]) == (4, 3, 3)
    assert found["median_difference"] == pytest.approx(0.25)  # of 0.25, 0.3 and 0.1
    assert found["p"] == 2 / 8


def test_infinite_differences_of_both_signs_make_a_tie():
    values = {"p": [INF, 1.0, 1.0], "q": [1.0, INF, 2.0]}
    found = only(comparisons_of(table(values, "hd95"), {"0": "x", "1": "x", "2": "y"}))
    assert (found["n_groups"], found["wins"], found["ties"]) == (2, 1, 1)


def test_all_is_the_mean_of_the_differences_over_labels():
    parts = [
        table({"p": [0.5, 0.9], "q": [0.4, NAN]}, label="a"),
        table({"p": [0.7, NAN], "q": [0.4, NAN]}, label="b"),
    ]
    found = only(comparisons_of(pd.concat(parts)), "all")
    # Case 0: (0.1 + 0.3) / 2. Case 1: 0.9 - 1 in label a, nothing in label b.
    assert found["mean_difference"] == pytest.approx((0.2 - 0.1) / 2)
    assert (found["n"], found["n_one_undefined"]) == (2, 1)


def test_the_family_of_holm_is_all_pairs_and_labels_of_a_metric():
    generator = np.random.default_rng(9)
    parts = [
        table({name: generator.random(12) + shift for shift, name in enumerate("pqr")}, m, s, t, a)
        for m, s, t, a in itertools.product(BETTER, ("val", "test"), ("raw", "postprocessed"), "ab")
    ]
    metrics = parts[0]
    keys = ["predictor", "split", "stage", "fold", "case", "label"]
    metrics = pd.concat(parts).groupby(keys, as_index=False).first()
    found = comparisons_of(metrics)
    families = found.groupby(["split", "stage", "metric"])
    assert families.size().tolist() == [9] * 8  # 3 pairs x labels a, b and all
    for _, family in families:
        expected = multipletests(family["p"], method="holm")[1]
        np.testing.assert_allclose(family["p_corrected"], expected)


def test_holm_by_hand():
    # p = 2/32, 2/16 and 2/8 from 5, 4 and 3 differences of one sign; corrected 6/32, 1/4, 1/4.
    shifts = {"a": 5, "b": 4, "c": 3}
    parts = [
        table({"p": np.arange(1, 6.0) * (np.arange(5) < n), "q": np.zeros(5)}, label=label)
        for label, n in shifts.items()
    ]
    found = comparisons_of(pd.concat(parts)).set_index("label")
    assert found.loc[["a", "b", "c"], "p"].tolist() == [2 / 32, 2 / 16, 2 / 8]
    # `all` is the fourth test, with 2/32 again: the factors are 4, 3, 2, 1.
    assert found.loc["all", "p"] == 2 / 32
    assert found.loc[["a", "b", "c", "all"], "p_corrected"].tolist() == [8 / 32] * 4


def test_identical_hypotheses_count_once():
    generator = np.random.default_rng(11)
    values = {name: generator.random(9) + shift / 8 for shift, name in enumerate("pqr")}
    one = table(values)
    alone = comparisons_of(one)
    for label in ("a", "all"):
        own = alone[alone["label"] == label]
        expected = multipletests(own["p"], method="holm")[1]  # of three pairs, not of six tests
        np.testing.assert_allclose(own["p_corrected"], expected)
    # Neither a region of the one label, nor a label that is nowhere, nor a predictor that says
    # what another one does, is a new question.
    region = pd.concat([one, one.assign(label="region")])
    groups = {case: case for case in one["case"]}
    others = {
        "region": compare(arrange(region, ["dice"], ["region"]), BETTER, groups),
        "nowhere": comparisons_of(pd.concat([one, one.assign(label="b", dice=NAN)])),
        "twin": comparisons_of(table(values | {"z": values["r"]})),
    }
    keys = ["predictor", "other"]
    expected = alone[alone["label"] == "a"].set_index(keys)["p_corrected"]
    for name, found in others.items():
        own = found[found["label"] == "a"].set_index(keys)["p_corrected"]
        if name == "twin":  # r minus z is always 0, and p 1: one test more, the last one
            assert own["r", "z"] == 1
            np.testing.assert_allclose(own["p", "z"], own["p", "r"])
            tests = [*alone[alone["label"] == "a"]["p"], 1.0]
            np.testing.assert_allclose(
                own[expected.index], multipletests(tests, method="holm")[1][:3]
            )
        else:
            np.testing.assert_allclose(own, expected)


def test_hypotheses_whose_differences_agree_are_not_identical():
    values = {"p": [0.5, 0.6, 0.7, 0.8, 0.9], "q": [0.4, 0.4, 0.4, 0.4, 0.4]}
    higher = {name: [value + 0.1 for value in column] for name, column in values.items()}
    found = comparisons_of(pd.concat([table(values), table(higher, label="b")]))
    assert found["p"].tolist() == [2 / 32] * 3
    assert found["p_corrected"].tolist() == [6 / 32] * 3


def test_a_metric_that_is_defined_nowhere_is_in_no_family():
    parts = table({"p": [0.1, 0.2, 0.3], "q": [0.2, 0.4, 0.6]}).assign(hd95=NAN)
    assert set(comparisons_of(parts)["metric"]) == {"dice"}


def test_the_order_of_the_input_does_not_matter():
    generator = np.random.default_rng(10)
    metrics = table({name: generator.random(20) for name in "pqr"})
    shuffled = metrics.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        comparisons_of(metrics), comparisons_of(shuffled), check_exact=True
    )


def test_one_predictor_has_nothing_to_be_compared_with():
    found = comparisons_of(table({"p": [0.1, 0.2]}))
    assert found.empty
    assert found.columns.tolist() == COLUMNS


def test_an_evaluated_region_is_tested_but_no_part_of_the_mean_over_labels():
    values = {"p": [0.5, 0.6, 0.7], "q": [0.4, 0.4, 0.4]}
    region = {"p": [0.1, 0.2, NAN], "q": [0.9, 0.9, 0.9]}
    metrics = pd.concat([table(values), table(region, label="region")])
    groups = {case: case for case in "012"}
    found = compare(arrange(metrics, ["dice"], ["region"]), BETTER, groups)
    chosen, expected, other = (only(found, label) for label in ("all", "a", "region"))
    assert (other["wins"], other["losses"], other["n_one_undefined"]) == (1, 2, 1)
    assert chosen.pop("label") != expected.pop("label")
    np.testing.assert_equal(chosen, expected)

    both = pd.concat([metrics, metrics.assign(stage="postprocessed", dice=metrics["dice"] / 2)])
    changed = changes(arrange(both, ["dice"], ["region"]), groups, seed=1)
    changed = changed.set_index(["predictor", "label"])["mean"]
    assert changed["p", "all"] == changed["p", "a"] == pytest.approx(-0.3)
    assert changed["p", "region"] == pytest.approx(-0.075)


def test_changes_are_means_of_the_differences_of_cases():
    parts = [
        table({"p": [0.5, 0.0, 0.7] * 2}),
        table({"p": [0.7, NAN, 0.7] * 2}, stage="postprocessed"),
    ]
    metrics = pd.concat(parts).assign(precision=lambda rows: rows["dice"])
    splits = arrange(metrics, ["dice", "precision"])
    found = changes(splits, {case: case for case in "012345"}, seed=1)
    found = found.set_index(["label", "metric"])
    # Dice of the second case is perfect once nothing is found; its precision is undefined.
    assert found.loc[("a", "dice"), "mean"] == pytest.approx((0.2 + 1 + 0) / 3)
    assert found.loc[("a", "precision"), "mean"] == pytest.approx(0.1)
    low, high = found.loc[("a", "dice"), ["ci_low", "ci_high"]]
    assert low < 0.4 < high
