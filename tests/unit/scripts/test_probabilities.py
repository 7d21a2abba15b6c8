"""The scripts that measure, summarise and draw probabilities, one after the other."""

import numpy as np
import pandas as pd
import pytest

from evaluate_predictor import main as evaluate_maps
from evaluate_probabilities import main as evaluate
from plot_probabilities import main as plot
from predictions import make_probabilities
from segflow.files.cases import write_cases
from segflow.files.content import Damaged, write_json
from segflow.files.ledger import Ledger
from segflow.files.manifests import write_manifest
from segflow.images.probabilities import save_probabilities
from summarise_probabilities import main as summarise

LABELS = {"background": 0, "organ": 1, "tumour": 2}
RULE = {"labels": ["tumour"], "overlap": "iou", "threshold": 0.1, "min_volume_mm3": 0}
SHAPE = (6, 16, 18)
PARTS = {"val": ["a", "b", "c"], "test": ["t1", "t2"]}  # t2 has no reference
KINDS = ("calibration", "reliability", "candidates")


@pytest.fixture
def predictor(draw, make_case, tmp_path):
    """Write references, probabilities of two models and their label maps."""
    raw, folder = tmp_path / "raw", tmp_path / "data"
    generator = np.random.default_rng(0)
    words = " ".join(map(str, SHAPE))
    cases = [make_case(name, shape=words) for name in PARTS["val"]]
    cases += [make_case("t1", split="test", shape=words)]
    cases += [make_case("t2", split="test", shape=words, label="")]
    write_cases(folder / "cases.csv", cases)
    for case in cases:
        part = "Tr" if case.split == "train" else "Ts"
        for kind in ("images", "labels"):
            Ledger(raw / f"{kind}{part}").enter(case.case, case.content, [])
    splits = [{"train": ["c"], "val": ["a", "b"]}, {"train": ["a", "b"], "val": ["c"]}]
    write_json(folder / "splits.json", splits)
    predicted = {"fold_0_val": ["a", "b"], "fold_1_val": ["c"]}
    predicted |= {f"fold_{fold}_test": PARTS["test"] for fold in (0, 1)}
    for split, names in PARTS.items():
        for name in names:
            truth = np.zeros(SHAPE, np.uint8)
            truth[1:5, 3:13, 3:14] = 1
            for _ in range(3):
                z, y, x = generator.integers(1, 10, 3)
                truth[z % 4 : z % 4 + 2, y : y + 3, x : x + 3] = 2
            part = raw / ("labelsTr" if split == "val" else "labelsTs")
            if name != "t2":
                draw(part / f"{name}.nii.gz", truth)
            for number, (fold, members) in enumerate(predicted.items()):
                if name not in members:
                    continue
                for model in ("m", "n"):
                    target = folder / model / "probabilities" / fold
                    seed = number + 7 * (model == "n")
                    found = make_probabilities(truth, None, 3, seed)
                    target.mkdir(parents=True, exist_ok=True)
                    save_probabilities(target / f"{name}.b2nd", found, True)
                    Ledger(target).enter(name, f"{model} {fold}", [target / f"{name}.b2nd"])
                    write_manifest(
                        target.with_suffix(".csv"), dict.fromkeys(members, f"{model} {fold}")
                    )
            for stage in ("raw", "postprocessed"):
                target = folder / "both/predictions" / split / stage
                draw(target / f"{name}.nii.gz", found.argmax(0).astype(np.uint8))
                Ledger(target).enter(name, "key", [target / f"{name}.nii.gz"])
                write_manifest(target / "predictions.csv", dict.fromkeys(names, "key"))

    def measure(split, calibration, froc):
        evaluate(
            tables=[
                (folder / model / f"probabilities/fold_{fold}_{split}.csv", model, fold, weight)
                for model, weight in (("m", 1.0), ("n", 2.0))
                for fold in (0, 1)
            ],
            split=split,
            predictions=folder / f"both/predictions/{split}/raw/predictions.csv",
            cases=folder / "cases.csv",
            splits=folder / "splits.json",
            labels=LABELS,
            regions={"all_of_it": [1, 2]},
            regions_class_order=None,
            calibration=calibration,
            froc=froc,
            lesion_rule=RULE,
            raw=raw,
            threads=1,
            memory_mb=1000,
            output={kind: folder / f"both/{kind}_{split}.csv" for kind in KINDS},
        )

    measure.folder, measure.raw = folder, raw
    return measure


def finish(measure, with_froc):
    """Evaluate the label maps, summarise and draw; return the summaries."""
    folder = measure.folder
    evaluate_maps(
        predictions=sorted((folder / "both/predictions").rglob("predictions.csv")),
        cases=folder / "cases.csv",
        splits=folder / "splits.json",
        folds=[0, 1],
        labels=LABELS,
        tolerances_mm={},
        lesion_rule=RULE,
        options=[],
        boundary_mm=None,
        raw=measure.raw,
        threads=1,
        memory_mb=1000,
        metrics=folder / "both/metrics.csv",
        lesions=folder / "both/lesions.csv",
    )
    names = ("calibration", "reliability", "froc", "curves")
    output = {name: folder / f"{name}.csv" for name in names}
    summarise(
        tables={kind: [folder / f"both/{kind}_{split}.csv" for split in PARTS] for kind in KINDS},
        metrics={"both": folder / "both/metrics.csv"},
        with_froc=with_froc,
        cases=folder / "cases.csv",
        seed=1,
        output=output,
    )
    figures = {name: folder / f"{name}.png" for name in ("reliability", "froc")}
    plot(output, {"both": "Both together"}, figures)
    assert all(path.stat().st_size > 1000 for path in figures.values())
    return {name: pd.read_csv(path) for name, path in output.items()}


def test_from_probabilities_to_figures(predictor):
    for split in PARTS:
        predictor(split, {"margin_mm": 4.0}, {"threshold": 0.2, "score": "mean"})
    cases = pd.read_csv(predictor.folder / "both/calibration_val.csv")
    assert cases.columns.tolist()[:5] == ["split", "fold", "case", "label", "domain"]
    assert set(zip(cases["case"], cases["fold"], strict=True)) == {("a", 0), ("b", 0), ("c", 1)}
    test = pd.read_csv(predictor.folder / "both/calibration_test.csv")
    assert set(test["case"]) == {"t1"}
    assert set(test["label"]) == {"organ", "tumour", "all_of_it"}
    found = finish(predictor, with_froc=True)
    assert set(found["calibration"]["split"]) == {"val", "test"}
    whole = found["calibration"].query("split == 'val' and label == 'organ' and domain == 'image'")
    own = cases.query("label == 'organ' and domain == 'image'")
    assert whole["brier"].item() == pytest.approx(own["brier"].mean(), rel=1e-5)
    assert whole["case_ece"].item() == pytest.approx(own["ece"].mean(), rel=1e-5)
    metrics = pd.read_csv(predictor.folder / "both/metrics.csv")
    metrics = metrics.query("split == 'val' and stage == 'raw' and label == 'tumour'")
    froc = found["froc"].query("split == 'val'")
    assert set(froc["label"]) == {"tumour"}
    assert set(froc["n_reference"]) == {metrics["lesion_tp"].sum() + metrics["lesion_fn"].sum()}
    assert froc["sensitivity"].between(0, 1).all()


def test_what_is_not_asked_for_has_no_rows(predictor):
    for split in PARTS:
        predictor(split, {"margin_mm": 4.0}, None)
    found = finish(predictor, with_froc=False)
    assert len(found["calibration"]) > 0
    assert len(found["froc"]) == len(found["curves"]) == 0
    for split in PARTS:
        predictor(split, None, {"threshold": 0.2, "score": "max"})
    found = finish(predictor, with_froc=True)
    assert len(found["calibration"]) == len(found["reliability"]) == 0
    assert len(found["froc"]) == 16


def test_lost_probabilities_are_named(predictor):
    (predictor.folder / "n/probabilities/fold_1_val/c.b2nd").unlink()
    with pytest.raises(Damaged, match="fold_1_val: a file of case 'c' is lost"):
        predictor("val", {"margin_mm": 4.0}, None)
