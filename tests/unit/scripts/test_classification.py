"""The scripts of classification, one after the other, on tables that were made by hand."""

import numpy as np
import pandas as pd
import pytest

from classify_by_features import main as classify_by_features
from classify_by_prior import main as classify_by_prior
from compare_classifiers import main as compare
from gather_classification import main as gather
from plot_classification import main as plot
from segflow.files.cases import write_cases
from segflow.files.content import write_json
from segflow.predictors.classification import write_fold
from segflow.report.classes import classes_by_subgroup
from summarise_classification import main as summarise

CLASSES = ["benign", "malignant"]
TITLES = {"head": "Head", "class_prior": "Class prior", "majority_class": "Majority class"}
SUMMARIES = ("csv", "markdown", "html", "subgroups")
FIGURES = ("curves", "confusion", "reliability", "cases")
PUBLISHED = {
    "x": {
        "source": "Someone",
        "table": "",
        "split": "val",
        "results": [
            {"model": "theirs", "label": "macro", "values": {"f1": 0.72}},
            {"model": "theirs", "label": "malignant", "values": {"auc": 0.9, "dice": 0.5}},
            {"model": "theirs", "label": "lesion", "values": {"dice": 0.65}},
        ],
    }
}


@pytest.fixture
def folder(tmp_path, make_case):
    """Write 24 training cases in two folds, 6 test cases, one of unknown class, and a head."""
    generator = np.random.default_rng(0)
    names = [f"c{number:02d}" for number in range(24)]
    tested = [f"t{number}" for number in range(6)]
    label_of = {name: CLASSES[number % 3 == 0] for number, name in enumerate(names + tested)}
    label_of["t5"] = ""
    cases = [
        make_case(name, class_label=label_of[name], covariates={"sex": "FM"[int(name[1:]) % 2]})
        for name in names
    ]
    cases += [make_case(name, class_label=label_of[name], split="test") for name in tested]
    write_cases(tmp_path / "cases.csv", cases)
    splits = [{"train": names[:10], "val": names[10:]}, {"train": names[10:], "val": names[:10]}]
    write_json(tmp_path / "splits.json", splits)

    def say(name):
        p = 1 / (1 + np.exp(-generator.normal(2 if label_of[name] == "malignant" else -1)))
        return np.array([1 - p, p])

    for fold, part in enumerate(splits):
        for split, chosen in (("val", part["val"]), ("test", tested)):
            path = tmp_path / f"head/classes/fold_{fold}_{split}.csv"
            write_fold(path, {name: say(name) for name in chosen}, CLASSES)
            for baseline in ("class_prior", "majority_class"):
                classify_by_prior(
                    tmp_path / "cases.csv",
                    tmp_path / "splits.json",
                    baseline,
                    fold,
                    split,
                    CLASSES,
                    tmp_path / f"{baseline}/classes/fold_{fold}_{split}.csv",
                )
    return tmp_path


@pytest.fixture
def tables(folder):
    """Return what all classifiers say of all cases."""
    found = {}
    for name in TITLES:
        found[name] = folder / name / "classification.csv"
        members = {
            split: [
                (folder / f"{name}/classes/fold_{fold}_{split}.csv", name, fold, 1.0)
                for fold in (0, 1)
            ]
            for split in ("val", "test")
        }
        gather(members, folder / "cases.csv", folder / "splits.json", CLASSES, found[name])
    return found


def test_baselines_are_of_the_training_cases_of_each_fold(folder, tables):
    table = pd.read_csv(tables["class_prior"])
    cases = pd.read_csv(folder / "cases.csv").set_index("case")["class_label"]
    malignant = (cases == "malignant")[:24]
    first, second = malignant[:10].mean(), malignant[10:24].mean()
    told = table.set_index("case")["p_malignant"]
    np.testing.assert_allclose(told["c10":"c23"], first)
    np.testing.assert_allclose(told["c00":"c09"], second)
    np.testing.assert_allclose(told["t0":"t5"], (first + second) / 2)
    assert table.groupby("split")["fold"].nunique().to_dict() == {"val": 2, "test": 0}
    assert (pd.read_csv(tables["majority_class"])["p_benign"] == 1).all()


def test_summary_comparisons_and_figures(folder, tables):
    output = {name: folder / f"summary.{name}" for name in SUMMARIES}
    common = {"tables": tables, "cases": folder / "cases.csv", "classes": CLASSES, "seed": 1}
    about = {"title": "Set", "titles": TITLES, "columns": ["sex"]}
    summarise(**common, **about, publications=PUBLISHED, output=output)
    summary = pd.read_csv(output["csv"])
    assert list(summary) == [
        *("predictor", "split", "class", "metric", "value", "low", "high", "n", "published")
    ]
    ours = summary[summary["published"].isna()].set_index(["predictor", "split", "class", "metric"])
    assert ours.index.is_unique
    assert ours.loc[("head", "val", "all", "accuracy"), "n"] == 24
    assert ours.loc[("head", "test", "all", "accuracy"), "n"] == 5  # one class is unknown
    assert ours.loc[("majority_class", "val", "all", "balanced_accuracy"), "value"] == 0.5
    assert ours.loc[("head", "val", "macro", "auc"), "value"] > 0.8
    theirs = summary[summary["published"].notna()]
    assert theirs[["class", "metric", "value"]].to_numpy().tolist() == [
        ["macro", "f1", 0.72],
        ["malignant", "auc", 0.9],
    ]
    page = output["html"].read_text()
    assert "published: Someone" in page
    assert "Cross-validation: class malignant" in page
    assert "| Majority class" in output["markdown"].read_text()
    subgroups = pd.read_csv(output["subgroups"])
    accuracy = subgroups[subgroups["metric"] == "accuracy"]
    counted = accuracy[accuracy["predictor"] == "head"].set_index(["split", "of"])["n"]
    assert counted.to_dict() == {("val", "F"): 12, ("val", "M"): 12, ("test", "unknown"): 5}
    shown = classes_by_subgroup(subgroups, "sex", "val", CLASSES, TITLES)
    assert shown["sex"].tolist() == 3 * ["F", "M"]
    assert shown["cases"].tolist() == 6 * ["benign: 8\nmalignant: 4"]
    assert shown.columns.tolist()[3:] == [
        *("Balanced accuracy", "AUC\nmacro", "AUC\nbenign", "AUC\nmalignant")
    ]
    of_women = subgroups.query("predictor == 'head' & split == 'val' & of == 'F'")
    value = of_women.set_index(["class", "metric"]).loc[("macro", "auc"), "value"]
    assert shown["AUC\nmacro"][0].startswith(f"{value:.3f}")
    assert "Cross-validation: by sex" in page

    output = {name: folder / f"comparisons.{name}" for name in ("csv", "markdown", "html")}
    compare(**common, title="Set", titles=TITLES, output=output)
    comparisons = pd.read_csv(output["csv"])
    assert len(comparisons) == 2 * 3 * 4  # splits, pairs, accuracy and AUC of two classes and mean
    assert "Head\n" not in output["markdown"].read_text()
    assert "<td>Class prior<small>minus Head</small></td>" in output["html"].read_text()

    output = {name: folder / f"{name}.png" for name in FIGURES}
    plot(**common, titles=TITLES, output=output)
    assert all(path.stat().st_size > 5000 for path in output.values())


def test_no_known_class_is_said_and_no_error(folder, tables):
    for path in tables.values():
        table = pd.read_csv(path, dtype=str).assign(**{"class": ""})
        table.to_csv(path, index=False)
    common = {"tables": tables, "cases": folder / "cases.csv", "classes": CLASSES, "seed": 1}
    output = {name: folder / f"none.{name}" for name in (*SUMMARIES, *FIGURES)}
    compare(**common, title="Set", titles=TITLES, output=output)
    about = {"title": "Set", "titles": TITLES, "columns": ["sex"]}
    summarise(**common, **about, publications={}, output=output)
    assert pd.read_csv(output["csv"]).empty
    assert pd.read_csv(output["subgroups"]).empty
    plot(**common, titles=TITLES, output={name: output[name] for name in FIGURES})


def test_features_are_learned_from_the_training_cases_of_a_fold(folder):
    cases = pd.read_csv(folder / "cases.csv").set_index("case")["class_label"]
    generator = np.random.default_rng(0)
    value = (cases == "malignant") * 4.0 + generator.normal(size=len(cases))
    features = {"val": folder / "val.csv", "test": folder / "test.csv"}
    for split, names in (("val", cases.index[:24]), ("test", cases.index[24:])):
        value[names].rename("stat_mean_0").to_csv(features[split], index_label="case")
    common = {"cases": folder / "cases.csv", "splits": folder / "splits.json", "fold": 0}
    common |= {"classes": CLASSES, "method": "logistic_regression", "seed": 1}
    table = folder / "out.csv"
    classify_by_features([features["val"]], **common, split="val", table=table)
    told = pd.read_csv(table).set_index("case")["p_malignant"]
    assert list(told.index) == list(cases.index[10:24])
    assert ((told > 0.5) == (cases[10:24] == "malignant")).mean() > 0.8
    classify_by_features(list(features.values()), **common, split="test", table=table)
    assert list(pd.read_csv(table)["case"]) == list(cases.index[24:])
    # What the fold validates changes nothing of what it learns.
    other = value.copy()
    other[cases.index[10:24]] = 99.0
    other[cases.index[:24]].rename("stat_mean_0").to_csv(features["val"], index_label="case")
    before = pd.read_csv(table)
    classify_by_features(list(features.values()), **common, split="test", table=table)
    pd.testing.assert_frame_equal(pd.read_csv(table), before)
    features["test"].write_text("case,stat_mean_0\n")
    with pytest.raises(ValueError, match=r"test\.csv: no features of case 't0'"):
        classify_by_features(list(features.values()), **common, split="test", table=table)
    value[cases.index[10:24]].rename("m").to_csv(features["val"], index_label="case")
    with pytest.raises(ValueError, match=r"val\.csv: fold 0: training cases are of 0 classes"):
        classify_by_features([features["val"]], **common, split="val", table=table)
