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


def test_new_images_have_a_table_of_their_own():
    assert files("segment") == []
    wanted = {"folder": "in", "output": "out", "dataset": "hippocampus", "predictor": MODELS[0]}
    assert files("segment", new_images=wanted) == ["out/segmentations.csv"]


@pytest.mark.parametrize("step", sorted(PREPARED.keys() | PREDICTED["maps"].keys()))
def test_no_file_is_asked_for_twice(step):
    found = files(step)
    assert len(found) == len(set(found))
