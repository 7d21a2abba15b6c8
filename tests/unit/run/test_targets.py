import pytest

from segflow.run.configuration import Run
from segflow.run.targets import PREDICTED, PREPARED, target_files

MODELS = ["unet_2d_quick", "unet_3d_quick"]


def files(step, **changes):
    return target_files(Run({"datasets": ["hippocampus"], "models": MODELS, **changes}), step)


def test_a_step_asks_for_each_selected_combination():
    assert files("train", n_folds=2, select={"models": ["unet_2d_quick"]}) == [
        f"<results>/hippocampus/unet_2d_quick/fold_{fold}/training.json" for fold in (0, 1)
    ]
    assert len(files("predict")) == 2 * len(MODELS)


def test_networks_of_all_cases_have_one_fold_and_predict_test_cases(project):
    description = project / "models/unet_2d_quick.yaml"
    whole = description.read_text() + "fold: all\n"
    description.with_name("whole.yaml").write_text(whole)
    chosen = {"models": [*MODELS, "whole"], "n_folds": 2}
    trained = [name for name in files("train", **chosen) if "/whole/" in name]
    assert trained == ["<results>/hippocampus/whole/fold_all/training.json"]
    assert not [name for name in files("train", **chosen, select={"folds": [1]}) if "whole" in name]
    ensembles = {"final": {"members": ["whole", MODELS[1]]}}
    predicted = files("predict", **chosen, ensembles=ensembles)
    for name in ("whole", "final"):
        found = [path for path in predicted if f"/{name}/" in path]
        assert len(found) == 1
        assert "/test/" in found[0]
    with pytest.raises(ValueError, match="whole have fold: all, so none has validation cases"):
        files("train", models=["whole"])


def test_models_share_preprocessed_data():
    found = files("preprocess", models=["unet_3d_quick", "nnunet_3d_fullres"])
    folder = "<results>/hippocampus/preprocessed/nnUNetPlans_3d_fullres"
    assert found == [f"{folder}/train.csv", f"{folder}/test.csv"]


def test_several_data_sets_are_ranked_and_mammograms_shown():
    assert "<results>/ranking.csv" not in files("evaluate")
    both = ["hippocampus", "inbreast"]
    assert "<results>/ranking.csv" in files("evaluate", datasets=both)
    for step in ("convert", "figures"):
        assert "<results>/inbreast/preparation.png" in files(step, datasets=both)


def test_probabilities_are_discarded_unless_they_are_kept():
    kept, discarded = (files("discard", keep_probabilities=keep) for keep in (True, False))
    assert (kept, discarded) == ([], ["<results>/hippocampus/discarded.csv"])


def test_probabilities_are_measured_where_a_data_set_asks_for_it(project):
    assert not [name for name in files("figures") if "reliability" in name]
    description = project / "datasets/hippocampus.yaml"
    description.write_text(description.read_text() + "calibration: {}\n")
    assert "<results>/hippocampus/calibration.csv" in files("evaluate")
    assert {"<results>/hippocampus/reliability.png", "<results>/hippocampus/froc.png"} <= {
        *files("figures")
    }


FEATURES = {"trees": {"method": "gradient_boosting", "predictor": MODELS[1]}}


def test_classes_are_told_where_a_data_set_has_them():
    assert not [name for name in files("figures") if "classification" in name]
    chosen = {"datasets": ["busi", "hippocampus"], "feature_classifiers": FEATURES}
    told = [name for name in files("predict", **chosen) if name.endswith("classification.csv")]
    assert told == [
        f"<results>/busi/{name}/classification.csv"
        for name in ("trees", "class_prior", "majority_class")
    ]
    assert "<results>/busi/classification_summary.csv" in files("evaluate", **chosen)
    assert "<results>/busi/classification_curves.png" in files("figures", **chosen)
    selected = files("predict", **chosen, select={"models": ["trees"]})
    assert selected == ["<results>/busi/trees/classification.csv"]


def test_an_ensemble_averages_classes_over_members_that_tell_them(project):
    chosen = {"datasets": ["busi"], "models": MODELS, "n_folds": 2}
    chosen["feature_classifiers"] = FEATURES | {
        "regression": {"method": "logistic_regression", "predictor": MODELS[0]}
    }
    ensembles = {
        "both": {"members": MODELS},
        "told": {"members": ["trees", "regression"], "weights": [2, 1]},
        "mixed": {"members": [*MODELS, "trees"]},
    }
    run = Run({**chosen, "ensembles": ensembles})
    assert {name: run.task(name) for name in [*run.predictors, *run.classifiers]} == {
        **dict.fromkeys([*MODELS, "both"], "maps"),
        **dict.fromkeys(["trees", "regression", "told"], "classes"),
        **dict.fromkeys(["class_prior", "majority_class"], "classes"),
        "mixed": "both",
    }
    assert run.class_members("told", "val") == [
        (name, fold, weight)
        for name, weight in (("trees", 2.0), ("regression", 1.0))
        for fold in (0, 1)
    ]
    assert run.class_members("mixed", "test") == [("trees", 0, 1.0), ("trees", 1, 1.0)]
    assert [name for name, *_ in run.members("mixed")] == [MODELS[0]] * 2 + [MODELS[1]] * 2
    assert run.title("trees") == "Gradient boosting on features of 3D U-Net, quick schedule"
    with pytest.raises(ValueError, match=r"ensembles\.odd\.members: unet_2d_quick, trees have"):
        Run({**chosen, "ensembles": {"odd": {"members": [MODELS[0], "trees"]}}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_classifiers": {"unet_2d_quick": FEATURES["trees"]}}, "taken by a model"),
        ({"feature_classifiers": {"class_prior": FEATURES["trees"]}}, "taken by a baseline"),
        (
            {"feature_classifiers": {"t": {**FEATURES["trees"], "predictor": "unet"}}},
            "feature_classifiers.t.predictor: unknown name 'unet'; known: unet_2d_quick",
        ),
        ({"folds": [1]}, r"trees: needs two folds or more, found \[1\]"),
        ({"datasets": ["kits19"]}, r"trees: needs two classes or more, .*datasets/kits19\.yaml"),
        ({"datasets": ["amos22"]}, r"trees: needs the key lesions in config/datasets/amos22\.yaml"),
    ],
)
def test_impossible_feature_classifiers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Run({"datasets": ["busi"], "models": MODELS, "feature_classifiers": FEATURES, **changes})


def test_new_images_have_a_table_of_their_own():
    assert files("segment") == []
    wanted = {"folder": "in", "output": "out", "dataset": "hippocampus", "predictor": MODELS[0]}
    assert files("segment", new_images=wanted) == ["out/segmentations.csv", "out/volumes.csv"]


@pytest.mark.parametrize("step", sorted(PREPARED.keys() | PREDICTED["maps"].keys()))
def test_no_file_is_asked_for_twice(step):
    found = files(step)
    assert len(found) == len(set(found))


def test_what_networks_look_at_is_shown_where_it_is_asked_for():
    chosen = {"datasets": ["adni"], "models": ["ad_cnn", "ad_resnet"]}
    assert not [name for name in files("figures", **chosen) if "saliency" in name]
    shown = [name for name in files("figures", **chosen, saliency={}) if "saliency" in name]
    assert shown == [f"<results>/adni/{model}/saliency.png" for model in ("ad_cnn", "ad_resnet")]
    chosen["select"] = {"models": ["ad_resnet"]}
    shown = [name for name in files("figures", **chosen, saliency={}) if "saliency" in name]
    assert shown == ["<results>/adni/ad_resnet/saliency.png"]
    with pytest.raises(ValueError, match="saliency: there is nothing to explain"):
        files("figures", saliency={})


def test_a_miniature_explains_one_case_of_each_class_by_few_passes():
    chosen = {"datasets": ["adni"], "models": ["ad_cnn"], "saliency": {}, "miniature": {}}
    run = Run(chosen)
    assert run.config["saliency"] == {"cases_per_class": 1, "steps": 4, "block_mm": 48.0}
