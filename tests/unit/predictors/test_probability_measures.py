import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.special import expit, softmax

from segflow.evaluation.candidates import CandidateRule
from segflow.evaluation.lesions import LesionRule
from segflow.files.ledger import Ledger
from segflow.images import probabilities as storage
from segflow.images.probabilities import LEVELS, open_probabilities, save_probabilities
from segflow.predictors.probability_measures import (
    PredictedCase,
    ProbabilitySettings,
    measure_case,
    measure_cases,
)

SHAPE = (9, 20, 24)
SPACING_MM = (3.0, 2.0, 1.0)  # of the fixture `draw`
LESIONS = LesionRule(("tumour",), "iou", 0.1, 0.0)
SETTINGS = ProbabilitySettings(
    {"background": 0, "organ": 1, "tumour": 2},
    {"both": [1, 2]},
    None,
    4.0,
    CandidateRule(0.3, "mean"),
    LESIONS,
)


@pytest.fixture(autouse=True)
def several_tiles(monkeypatch):
    monkeypatch.setattr(storage, "TILE", (4, 8, 16))


@pytest.fixture
def case(draw, tmp_path):
    """Return members of weight 1 and 3, reference, label map, and the mean probabilities."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 3, *SHAPE)) + np.array([4, 1, 0])[:, None, None, None]
    logits[:, 2, 2:5, 4:9, 3:8] += 6
    logits[:, :, 5:] += np.array([40, 0, 0])[:, None, None, None]  # a tile without anything
    members = softmax(logits, 1)
    stored, levels = [], []
    for number, (member, weight) in enumerate(zip(members, (1.0, 3.0), strict=True)):
        path = tmp_path / f"{number}.b2nd"
        save_probabilities(path, member, True)
        stored.append((path, weight, f"key {number}"))
        kept = open_probabilities(path).levels[:].astype(int)
        levels.append(np.concatenate([LEVELS - kept.sum(0, keepdims=True), kept]))
    mean = np.average(levels, axis=0, weights=[1, 3])
    truth = np.zeros(SHAPE, np.uint8)
    truth[1:6, 2:12, 2:12], truth[2:5, 4:9, 4:8] = 1, 2
    reference = draw(tmp_path / "reference.nii.gz", truth)
    guess = mean.argmax(0).astype(np.uint8)
    return stored, reference, draw(tmp_path / "guess.nii.gz", guess), truth, guess, mean


def plain_measures(p, y, chosen):
    p, y = p[chosen], y[chosen]
    bins = np.minimum((p * 15 + 1e-9).astype(int), 14)
    gaps = [abs(p[bins == one].sum() - y[bins == one].sum()) for one in range(15)]
    return len(p), int(y.sum()), ((p - y) ** 2).mean(), sum(gaps) / len(p)


def check(rows, name, p, values, truth, guess, known):
    near = distance_transform_edt(
        ~(np.isin(truth, values) | np.isin(guess, values)), sampling=SPACING_MM
    )
    p = np.rint(p) / LEVELS
    for domain, chosen in (("near", known & (near <= 4)), ("image", known)):
        (row,) = (row for row in rows if (row["label"], row["domain"]) == (name, domain))
        found = [row[key] for key in ("n_voxels", "n_positive", "brier", "ece")]
        expected = plain_measures(p, np.isin(truth, values), chosen)
        assert found == pytest.approx(expected, abs=1e-9), (name, domain)


def test_calibration_is_that_of_the_weighted_mean(case):
    members, reference, prediction, truth, guess, mean = case
    found = measure_case(members, reference, prediction, SETTINGS)
    known = np.ones(SHAPE, bool)
    assert {row["label"] for row in found["calibration"]} == {"organ", "tumour", "both"}
    for name, values in (("organ", [1]), ("tumour", [2]), ("both", [1, 2])):
        # Sums of labels are of rounded means.
        p = sum(np.rint(mean[value]) for value in values)
        check(found["calibration"], name, p, values, truth, guess, known)
    chosen = ("organ", "image")
    bins = [row for row in found["reliability"] if (row["label"], row["domain"]) == chosen]
    assert sum(row["n_voxels"] for row in bins) == np.prod(SHAPE)
    assert sum(row["n_positive"] for row in bins) == (truth == 1).sum()


def test_the_order_of_the_members_does_not_matter(case):
    members, *paths = case[:3]
    found = measure_case(members, *paths, SETTINGS)
    assert found == measure_case(members[::-1], *paths, SETTINGS)


def test_candidates_are_components_of_what_is_likely(case):
    members, reference, prediction, _, _, mean = case
    rows = measure_case(members, reference, prediction, SETTINGS)["candidates"]
    assert {row["label"] for row in rows} == {"tumour"}
    likely = np.rint(mean[2]) >= 0.3 * LEVELS
    assert sum(row["volume_mm3"] for row in rows) == pytest.approx(likely.sum() * 6)
    score = sum(row["score"] * row["volume_mm3"] / 6 for row in rows)
    assert score == pytest.approx((np.rint(mean[2])[likely] / LEVELS).sum())
    assert [row["found"] for row in rows].count(1) == 1
    assert rows[0]["found"] == 1


def test_what_nobody_annotated_counts_nowhere(case, draw):
    members, reference, prediction, truth, guess, mean = case
    truth = truth.copy()
    truth[:, :7] = 3
    draw(reference, truth)
    labels = {"background": 0, "organ": 1, "tumour": 2, "ignore": 3}
    found = measure_case(members, reference, prediction, replace(SETTINGS, labels=labels))
    known = truth != 3
    guess = np.where(known, guess, 0)
    check(found["calibration"], "organ", np.rint(mean[1]), [1], truth, guess, known)
    likely = known & (np.rint(mean[2]) >= 0.3 * LEVELS)
    volumes = sum(row["volume_mm3"] for row in found["candidates"])
    assert volumes == pytest.approx(likely.sum() * 6)


def test_regions_have_probabilities_of_their_own(draw, tmp_path):
    """Networks of regions know no probability of other unions."""
    generator = np.random.default_rng(1)
    member = expit(generator.normal(size=(2, *SHAPE)))
    save_probabilities(tmp_path / "r.b2nd", member, False)
    truth = generator.integers(0, 3, SHAPE).astype(np.uint8)
    guess = np.where(member[1] > 0.5, 2, np.where(member[0] > 0.5, 1, 0)).astype(np.uint8)
    paths = draw(tmp_path / "t.nii.gz", truth), draw(tmp_path / "g.nii.gz", guess)
    labels = {"background": 0, "whole": [1, 2], "tumour": [2]}
    settings = replace(
        SETTINGS, labels=labels, evaluated_regions={"edge": [1]}, regions_class_order=[1, 2]
    )
    found = measure_case([(tmp_path / "r.b2nd", 1.0, "key")], *paths, settings)["calibration"]
    assert {row["label"] for row in found} == {"whole", "tumour"}
    for channel, (name, values) in enumerate({"whole": [1, 2], "tumour": [2]}.items()):
        p = member[channel] * LEVELS
        check(found, name, p, values, truth, guess, np.ones(SHAPE, bool))


def test_only_what_is_asked_for_is_measured(case):
    members, *paths = case[:3]
    neither = replace(SETTINGS, margin_mm=None, candidates=None)
    assert measure_case(members, *paths, neither) == {
        "calibration": [],
        "reliability": [],
        "candidates": [],
    }
    assert measure_case(members, *paths, replace(SETTINGS, candidates=None))["candidates"] == []


def test_another_grid_is_refused(case, draw, tmp_path):
    members, _, prediction, *_ = case
    other = draw(tmp_path / "other.nii.gz", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(ValueError, match="differs from its reference"):
        measure_case(members, other, prediction, SETTINGS)
    with pytest.raises(ValueError, match=r"\(9, 20, 24\) voxels, but .*other\.nii\.gz has"):
        measure_case(members, other, other, SETTINGS)


def test_finished_cases_are_kept(case, tmp_path):
    members, reference, prediction, *_ = case
    one = PredictedCase(members, reference, prediction, {"split": "val", "fold": 0, "case": "a"})
    folder = tmp_path / "measured"
    tables = measure_cases([one], SETTINGS, folder, 1)
    assert {(row["case"], row["fold"]) for row in tables["calibration"]} == {("a", 0)}
    (path,) = folder.glob("*.json")
    before = path.stat().st_mtime_ns
    assert measure_cases([one], SETTINGS, folder, 1) == tables
    assert path.stat().st_mtime_ns == before
    measure_cases([one], replace(SETTINGS, margin_mm=5.0), folder, 1)
    assert not path.exists()
    assert len(list(Ledger(folder).records.glob("*.json"))) == 1


def test_no_array_of_probabilities_is_held(draw, monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "TILE", (8, 32, 32))
    shape = (64, 96, 96)
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, *shape)) + np.array([6, 0, 0, 0])[:, None, None, None]
    logits[1, 10:20, 20:40, 20:40] += 12
    save_probabilities(tmp_path / "a.b2nd", softmax(logits, 0), True)
    truth = np.zeros(shape, np.uint8)
    truth[10:20, 20:40, 22:42] = 1
    path = draw(tmp_path / "t.nii.gz", truth)
    del logits
    settings = replace(
        SETTINGS,
        labels={"background": 0, "tumour": 1, "b": 2, "c": 3},
        evaluated_regions={},
        candidates=CandidateRule(0.4, "max"),
    )
    tracemalloc.start()
    measure_case([(tmp_path / "a.b2nd", 1.0, "key")], path, path, settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * np.prod(shape)  # one channel of float32 would be 4 of these, all of them 12
