import re
from pathlib import Path

import pytest
import yaml

from segflow.run.configuration import Run
from segflow.run.descriptions import check_dataset, load_descriptions
from segflow.run.schemas import PROJECT, check, read_yaml


def configuration(**changes):
    return {"datasets": ["hippocampus"], "models": ["unet_2d_quick", "unet_3d_quick"], **changes}


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_every_shipped_description_loads(kind):
    files = (PROJECT / "config" / f"{kind}s").glob("*.yaml")
    assert load_descriptions(kind).keys() == {path.stem for path in files}


def test_every_shipped_model_can_run():
    models = list(load_descriptions("model"))
    run = Run(configuration(models=models, datasets=["pancreas"]))  # which has classes, too
    assert all(run.title(name) and run.preprocessing(name) for name in models)


def test_the_shipped_configuration_loads():
    run = Run(yaml.safe_load((PROJECT / "config" / "config.yaml").read_text()))
    assert run.folds == [0, 1, 2]
    assert run.selected["predictor"] == ["unet_2d_quick", "unet_3d_quick", "ensemble"]


def test_defaults_are_filled_in():
    config = configuration()
    run = Run(config)
    assert config["device"] == "auto"
    assert config["pathvars"]["results"] == "results"
    assert run.folds == [0, 1, 2, 3, 4]
    assert run.models["unet_2d_quick"]["training"]["learning_rate"] == pytest.approx(0.01)


ENSEMBLE = {"members": ["unet_2d_quick", "unet_3d_quick"]}
FOLDERS = {"folder": "i", "output": "o"}
NEW = {"folder": "in", "output": "out", "dataset": "hippocampus", "predictor": "unet_2d_quick"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ["brain"]}, r"datasets: unknown name 'brain'; known: adni, .*hippocampus"),
        ({"models": ["unet"]}, r"models: unknown name 'unet'; known: .*unet_2d_quick"),
        ({"model": ["unet"]}, r"top level: .*'model' was unexpected"),
        ({"datasets": []}, r"datasets: \[\] should be non-empty"),
        ({"n_folds": 0}, r"n_folds: 0 is less than the minimum of 1"),
        ({"seed": "x", "device": "gpu"}, r"device: 'gpu' is not one of .*; seed: 'x' is not of"),
        ({"select": {"fold": [0]}}, r"select: .*'fold' was unexpected"),
        ({"folds": [0, 5]}, r"folds: fold 5 does not exist; n_folds is 5: 0 to 4"),
        ({"select": {"folds": [7]}}, r"select\.folds: fold 7 does not exist"),
        ({"select": {"datasets": ["brain"]}}, r"select\.datasets: unknown name 'brain'"),
        ({"select": {"models": ["nnunet_2d"]}}, r"select\.models: unknown name 'nnunet_2d'"),
        ({"raw_folders": {"brain": "x"}}, r"raw_folders: unknown name 'brain'"),
        ({"splits": {"brain": "x"}}, r"splits: unknown name 'brain'"),
        (
            {"raw_downloads": {"hippocampus": {"images": "x", "clinical": "y"}}},
            r"raw_downloads\.hippocampus: only ADNI is converted, .* has 'msd'",
        ),
        (
            {"datasets": ["adni"], "raw_downloads": {"adni": {"images": "no", "clinical": "no"}}},
            r"raw_downloads\.adni\.images: no: no such folder",
        ),
        (
            {"feature_classifiers": {"r": {"method": "logistic_regression"}}},
            r"feature_classifiers\.r\.predictor: is required",
        ),
        (
            {
                "datasets": ["busi"],
                "feature_classifiers": {
                    "r": {"method": "logistic_regression", "features": "regions"}
                },
            },
            r"feature_classifiers\.r\.features: regions need task: classification in .*busi",
        ),
        (
            {"ensembles": {"unet_2d_quick": ENSEMBLE}},
            r"ensembles\.unet_2d_quick: the name is taken by a model",
        ),
        (
            {"ensembles": {"e": {"members": ["unet_2d_quick", "nnunet_2d"]}}},
            r"ensembles\.e\.members: unknown name 'nnunet_2d'; known: unet_2d_quick, unet_3d_quick",
        ),
        (
            {"ensembles": {"e": {**ENSEMBLE, "weights": [1]}}},
            r"ensembles\.e: 2 members, but 1 weight",
        ),
        ({"ensembles": {"e": {**ENSEMBLE, "weights": [1, 0]}}}, r"ensembles\.e\.weights\.1: 0 is"),
        (
            {"ensembles": {"e": {**ENSEMBLE, "weights": [1, float("nan")]}}},
            r"ensembles\.e\.weights: must be finite numbers, found \[1, nan\]",
        ),
        ({"ensembles": {"E": ENSEMBLE}}, r"ensembles: 'E' does not match"),
        ({"ensembles_up_to": 0}, r"ensembles_up_to: 0 is less than the minimum of 1"),
        ({"selection": {"metric": "tp"}}, r"selection\.metric: 'tp' is not one of \['dice', 'iou'"),
        ({"new_images": {**NEW, "dataset": "b"}}, r"new_images\.dataset: unknown name 'b'"),
        ({"new_images": {**NEW, "predictor": "p"}}, r"new_images\.predictor: unknown name 'p'"),
        (
            {"new_images": {**NEW, "archive": "x"}},
            r"an archive comes without dataset and predictor",
        ),
        ({"new_images": FOLDERS}, r"new_images: dataset and predictor missing; allowed are"),
        ({"new_images": {**NEW, "configuration": "2d"}}, r"new_images\.configuration goes with an"),
    ],
)
def test_an_impossible_configuration_is_refused(changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=f"^configuration: .*{message}"):
        Run(configuration(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "segmentation"}, "task: classification and reading.brain go together"),
        ({"reading": {}}, "task: classification and reading.brain go together"),
        ({"classes": ["AD"]}, r"classes: classification needs two or more, found \['AD'\]"),
        (
            {"labels": {"background": 0, "head": 1}, "label_codes": {}},
            r"labels \{'background': 0, 'brain': 1\}",
        ),
        ({"channels": ["T1", "T2"]}, "reading.brain needs one channel"),
    ],
)
def test_a_data_set_of_classification_has_classes_and_a_brain(changes, message):
    described = read_yaml(PROJECT / "config/datasets/adni.yaml", "adni.yaml") | changes
    with pytest.raises(ValueError, match=message):
        check_dataset(check(described, "dataset", "adni.yaml"), "adni.yaml")


def test_every_title_says_that_a_split_leaks():
    regions = {"r": {"method": "logistic_regression", "features": "regions"}}
    by_session = {"datasets": ["adni_by_session"], "n_folds": 2, "feature_classifiers": regions}
    run = Run(configuration(**by_session, published_splits=["adni_by_session"]))
    titles = [run.title(name) for name in run.predictors | run.classifiers]
    assert len(titles) == 5  # two models, the regions, two baselines
    assert all(title.endswith(", on a split that leaks") for title in titles)
    assert not Run(configuration(**by_session)).leaks


def test_weights_default_to_one():
    ensembles = {"equal": ENSEMBLE, "unequal": {**ENSEMBLE, "weights": [1, 3]}}
    assert Run(configuration(ensembles=ensembles)).predictors == {
        "unet_2d_quick": {"unet_2d_quick": 1.0},
        "unet_3d_quick": {"unet_3d_quick": 1.0},
        "equal": {"unet_2d_quick": 1.0, "unet_3d_quick": 1.0},
        "unequal": {"unet_2d_quick": 1.0, "unet_3d_quick": 3.0},
    }


MODELS = ["unet_3d_quick", "unet_2d_quick", "nnunet_2d"]
ALL_THREE = "nnunet_2d_and_unet_2d_quick_and_unet_3d_quick"


@pytest.mark.parametrize(
    ("largest", "names"),
    [
        (1, []),
        (
            2,
            [
                "nnunet_2d_and_unet_2d_quick",
                "nnunet_2d_and_unet_3d_quick",
                "unet_2d_quick_and_unet_3d_quick",
            ],
        ),
        (
            9,
            [
                "nnunet_2d_and_unet_2d_quick",
                "nnunet_2d_and_unet_3d_quick",
                "unet_2d_quick_and_unet_3d_quick",
                ALL_THREE,
            ],
        ),
    ],
)
def test_every_subset_of_the_models_becomes_an_ensemble(largest, names):
    run = Run(configuration(models=MODELS, ensembles_up_to=largest))
    assert list(run.predictors) == MODELS + names
    for name in names:
        assert run.predictors[name] == dict.fromkeys(name.split("_and_"), 1.0)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)


def test_the_names_of_subsets_do_not_depend_on_the_order_or_number_of_models():
    few = Run(configuration(models=MODELS[:2], ensembles_up_to=2)).predictors
    many = Run(configuration(models=MODELS[::-1], ensembles_up_to=3)).predictors
    assert few.items() <= many.items()


def test_an_ensemble_with_a_name_of_its_own_is_not_made_twice():
    named = {"mine": {**ENSEMBLE, "weights": [2, 2]}}
    run = Run(configuration(models=MODELS, ensembles=named, ensembles_up_to=3))
    assert list(run.predictors)[3:] == [
        "mine",
        "nnunet_2d_and_unet_2d_quick",
        "nnunet_2d_and_unet_3d_quick",
        ALL_THREE,
    ]
    unequal = {"mine": {**ENSEMBLE, "weights": [1, 2]}}  # is another predictor
    assert (
        "unet_2d_quick_and_unet_3d_quick"
        in Run(configuration(ensembles=unequal, ensembles_up_to=2)).predictors
    )


def test_the_first_stage_of_a_cascade_is_a_member_like_others():
    run = Run(configuration(models=["nnunet_3d_cascade"], ensembles_up_to=2))
    assert "nnunet_3d_cascade_and_nnunet_3d_lowres" in run.predictors


def test_subsets_can_be_selected_and_have_titles():
    name = "unet_2d_quick_and_unet_3d_quick"
    new = {**NEW, "predictor": name}
    run = Run(configuration(ensembles_up_to=2, select={"models": [name]}, new_images=new))
    assert run.selected["predictor"] == [name]
    assert run.title(name) == "2D U-Net, quick schedule + 3D U-Net, quick schedule"


def test_the_name_of_a_subset_must_be_free():
    taken = {
        "unet_2d_quick_and_unet_3d_quick": {"members": ["unet_2d_quick", "nnunet_2d"]},
    }
    message = (
        r"^configuration: ensembles_up_to: the name 'unet_2d_quick_and_unet_3d_quick' of the "
        r"ensemble of unet_2d_quick, unet_3d_quick is taken by another model or ensemble$"
    )
    with pytest.raises(ValueError, match=message):
        Run(configuration(models=MODELS, ensembles=taken, ensembles_up_to=2))


def test_a_metric_that_a_data_set_does_not_have_cannot_select(project):
    described(project)
    assert Run(configuration(selection={"metric": "hd95"})).config["selection"]["metric"] == "hd95"
    path = project / "datasets" / "hippocampus.yaml"
    description = yaml.safe_load(path.read_text())
    description.pop("lesions", None)
    path.write_text(yaml.safe_dump(description))
    message = r"selection\.metric: lesion_f1 needs the key lesions in config/datasets/hippocampus"
    with pytest.raises(ValueError, match=message):
        Run(configuration(selection={"metric": "lesion_f1"}))


def test_post_processing_cannot_aim_at_lesions_that_are_not_declared(project):
    message = r"postprocessing\.objective: mixed needs the key lesions in config/datasets/hippo"
    with pytest.raises(ValueError, match=message):
        Run(configuration(postprocessing={"objective": "mixed"}))


def test_select_chooses_targets():
    select = {"models": ["e", "unet_3d_quick"], "folds": [2]}
    selected = Run(configuration(ensembles={"e": ENSEMBLE}, select=select)).selected
    assert selected == {
        "dataset": ["hippocampus"],
        "model": ["unet_3d_quick"],
        "predictor": ["e", "unet_3d_quick"],
    }


def test_numbers_of_the_command_line_may_be_text():
    config = configuration(folds=["2", 0], select={"folds": ["2"]})
    run = Run(config)
    assert run.folds == [0, 2]
    assert run.chosen_folds("unet_2d_quick") == [2]
    with pytest.raises(ValueError, match=r"folds\.0: 'two' is not of type 'integer'"):
        Run(configuration(folds=["two"]))


def test_a_cascade_needs_the_predictions_of_all_folds():
    asked = {"models": ["nnunet_3d_cascade"], "n_folds": 3}
    with pytest.raises(ValueError, match=r"folds: nnunet_3d_cascade .* found \[0, 2\] of 3;"):
        Run(configuration(**asked, folds=[2, 0]))
    with pytest.raises(ValueError, match=r"folds: nnunet_3d_cascade .* found \[0\] of 1;"):
        Run(configuration(**{**asked, "n_folds": 1}))
    run = Run(configuration(**asked, select={"folds": [0]}))
    assert run.chosen_folds("nnunet_3d_lowres") == [0]


def test_a_cascade_brings_its_first_stage():
    run = Run(configuration(models=["nnunet_3d_cascade"]))
    assert list(run.models) == ["nnunet_3d_cascade", "nnunet_3d_lowres"]
    assert run.preprocessing("nnunet_3d_cascade") == "nnUNetPlans_3d_fullres"


def test_models_share_plans_if_their_planning_is_the_same():
    names = ["nnunet_2d", "unet_2d_quick", "nnunet_3d_fullres", "nnunet_3d_cascade", "resenc_l"]
    run = Run(configuration(models=names))
    assert {name: run.preprocessing(name) for name in names} == {
        "nnunet_2d": "nnUNetPlans_2d",
        "unet_2d_quick": "nnUNetPlans_2d",
        "nnunet_3d_fullres": "nnUNetPlans_3d_fullres",
        "nnunet_3d_cascade": "nnUNetPlans_3d_fullres",
        "resenc_l": "nnUNetPlans_3d_fullres",
    }
    assert run.base_of("nnUNetPlans_2d") == ("nnUNetPlans", "2d")
    assert run.plans("resenc_l") == "nnUNetResEncUNetLPlans"
    assert run.plannings == {
        "nnUNetPlans": {"planner": "default"},
        "nnUNetResEncUNetLPlans": {"planner": "resenc_l"},
    }


def test_images_of_low_resolution_are_prepared_for_their_planner():
    """How low it is depends on the patch, and the patch on the network."""
    run = Run(configuration(models=["resenc_l"]))
    run.models["resenc_l"]["configuration"] = "3d_lowres"
    assert run.preprocessing("resenc_l") == "nnUNetResEncUNetLPlans_3d_lowres"
    assert list(run.plannings) == ["nnUNetResEncUNetLPlans"]


def test_other_planning_gives_plans_another_name():
    run = Run(configuration(models=["nnunet_2d", "unet_2d_quick", "nnunet_3d_fullres"]))
    run.models["nnunet_2d"]["planning"]["gpu_memory_gb"] = 24
    run.models["unet_2d_quick"]["planning"]["gpu_memory_gb"] = 12
    plans = [run.plans(name) for name in run.models]
    assert len(set(plans)) == 3
    assert plans[2] == "nnUNetPlans"
    assert run.plannings[plans[0]] == {"planner": "default", "gpu_memory_gb": 24}


def test_names_and_folders_of_a_data_set(tmp_path):
    run = Run(configuration())
    assert run.nnunet_name("hippocampus") == "Dataset004_hippocampus"
    assert run.raw_folder("hippocampus") == PROJECT / "resources" / "Task04_Hippocampus"
    elsewhere = Run(configuration(raw_folders={"hippocampus": str(tmp_path)}))
    assert elsewhere.raw_folder("hippocampus") == Path(tmp_path)


def test_converted_files_depend_on_no_key_of_evaluation_no_words_and_no_order_of_keys():
    run = Run(configuration())
    dataset = run.datasets["hippocampus"]
    before = run.converted("hippocampus")
    assert "surface_tolerance_mm" in dataset
    dataset["surface_tolerance_mm"] = 5
    dataset["channels"] = dataset.pop("channels")
    assert list(run.converted("hippocampus").items()) == list(before.items())
    dataset |= {"title": "Another", "raw": "elsewhere", "channels": ["T1"]}
    dataset["labels"] = {"background": 0, "tail": 2, "head": 1}
    assert run.converted("hippocampus") == before
    dataset["channels"] = ["CT"]
    assert run.converted("hippocampus") != before


def test_an_ensemble_gets_a_readable_title():
    run = Run(configuration(ensembles={"both_units": ENSEMBLE}))
    assert run.title("both_units") == "Both units"
    assert run.title("unet_2d_quick") == "2D U-Net, quick schedule"


MODEL = {"title": "T"}
CLASSIFIER = {"configuration": "2d", "network": {"name": "resnet"}, "classifier": {}}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"configuration": "3d"}, r"m\.yaml: configuration: '3d' is not one of"),
        ({"configuration": "2d", "training": {"epoch": 1}}, r"m\.yaml: training: .*'epoch' was"),
        ({}, r"m\.yaml: top level: 'configuration' is a required property"),
        (
            {"configuration": "3d_cascade_fullres"},
            r"m\.yaml: previous_model: .* 3d_cascade_fullres needs one, .* found None and nnunet",
        ),
        (
            {"configuration": "2d", "previous_model": "nnunet_3d_lowres"},
            r"m\.yaml: previous_model goes with .*; found 'nnunet_3d_lowres', '2d' and 'whole'",
        ),
        (
            {"configuration": "3d_cascade_fullres", "previous_model": "nnunet_2d"},
            r"m\.yaml: previous_model 'nnunet_2d' must have .* 3d_lowres, found '2d'",
        ),
        (
            {"configuration": "3d_cascade_fullres", "previous_model": "nobody"},
            r"models: m: previous_model: unknown name 'nobody'",
        ),
        (
            {"configuration": "2d", "network": {"name": "densenet"}},
            r"m\.yaml: network\.name: densenet tells the class .* it needs the key classifier",
        ),
        (
            {"configuration": "2d", "classifier": {}},
            r"m\.yaml: classifier: nnunet segments; allowed are ad_cnn, densenet, resnet",
        ),
        (
            {**CLASSIFIER, "training": {"loss": [{"term": "dice"}]}},
            r"m\.yaml: training\.loss is of segmentation, but resnet tells classes",
        ),
        (CLASSIFIER, r"m\.yaml: a classifier needs two classes or more, but .* has none"),
        (
            {"configuration": "2d", "prediction": {"region": "previous"}},
            r"m\.yaml: prediction\.region is previous, but no previous_model says where to look",
        ),
        (
            {"configuration": "2d", "prediction": {"region": "body"}},
            r"region is body, which is found in CT; the first channel of hippocampus is MRI",
        ),
        (
            {"configuration": "2d", "n_gpus": 2, "gpu_share": 3},
            r"m\.yaml: n_gpus is 2 and gpu_share 3; one of them must be 1",
        ),
        (
            {"configuration": "2d", "overrides": {"patch_size": [8, 8, 8]}},
            r"m\.yaml: overrides\.patch_size: 2d has 2 axes, found \[8, 8, 8\]",
        ),
        (
            {"configuration": "2d", "n_gpus": 4, "overrides": {"batch_size": 3}},
            r"m\.yaml: n_gpus is 4, but overrides\.batch_size is 3; each GPU needs a patch",
        ),
    ],
)
def test_an_impossible_model_is_refused(project, model, message):
    (project / "models" / "m.yaml").write_text(yaml.safe_dump({**MODEL, **model}))
    with pytest.raises(ValueError, match=message):
        Run(configuration(models=["m"]))


def test_patches_of_several_cases_have_no_class(project):
    (project / "augmentations").mkdir(exist_ok=True)
    mixing = {"title": "T", "mixing": {"method": "cutmix", "probability": 0.3}}
    (project / "augmentations/mixed.yaml").write_text(yaml.safe_dump(mixing))
    model = {**MODEL, **CLASSIFIER, "training": {"augmentation": "mixed"}}
    (project / "models" / "m.yaml").write_text(yaml.safe_dump(model))
    with pytest.raises(ValueError, match=r"m\.yaml: training\.augmentation: mixed mixes patches"):
        Run(configuration(models=["m"]))


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_several_gpus_need_gpus(project, device):
    (project / "models" / "m.yaml").write_text(
        yaml.safe_dump({**MODEL, "configuration": "2d", "n_gpus": 2})
    )
    with pytest.raises(ValueError, match=f"n_gpus is 2, but device is '{device}'; several need"):
        Run(configuration(models=["m"], device=device))
    Run(configuration(models=["m"], device="cuda"))


def test_two_data_sets_cannot_have_one_identifier(project):
    text = (project / "datasets" / "hippocampus.yaml").read_text()
    (project / "datasets" / "second.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"second\.yaml: id 4 is taken by 'hippocampus'"):
        Run(configuration(datasets=["hippocampus", "second"]))


def described(project, **changes):
    """Load the data sets after a change of a shipped one."""
    path = project / "datasets" / "hippocampus.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return load_descriptions("dataset")


def test_an_unknown_converter_is_named_with_the_known_ones(project):
    message = r"hippocampus\.yaml: converter: unknown name 'nobody'; known: .*msd"
    with pytest.raises(ValueError, match=message):
        described(project, converter="nobody")


def test_labels_cannot_have_names_that_mean_something_else(project):
    with pytest.raises(ValueError, match=r"hippocampus\.yaml: labels: 'all' should not be"):
        described(project, labels={"background": 0, "all": 1})


@pytest.mark.parametrize("value", [2, 4])
def test_what_is_ignored_has_the_highest_value(project, value):
    labels = {"background": 0, "a": 1, "b": 3 if value == 2 else 2, "ignore": value}
    with pytest.raises(ValueError, match=r"labels.*(consecutive|must be the highest value, 3)"):
        described(project, labels=labels)


def test_what_is_ignored_is_neither_measured_nor_painted(project):
    labels = {"background": 0, "a": [1, 2], "b": 2, "ignore": 3}
    described(project, labels=labels, regions_class_order=[1, 2], surface_tolerance_mm=2)
    run = Run(configuration(models=[]))
    assert run.tolerances_mm("hippocampus") == {"a": 2, "b": 2}


@pytest.mark.parametrize("kind", ["dataset", "model"])
@pytest.mark.parametrize("text", ["id: 4\nunknown: key", "{", "- a list"])
def test_a_broken_description_stops_only_runs_that_use_it(project, kind, text):
    (project / f"{kind}s" / "broken.yaml").write_text(text)
    Run(configuration())
    with pytest.raises(ValueError, match=rf"config/{kind}s/broken\.yaml"):
        Run(configuration(**{f"{kind}s": ["broken"]}))


@pytest.mark.parametrize("name", ["Brain", "2d", "a-b"])
def test_names_are_restricted(project, name):
    (project / "models" / f"{name}.yaml").touch()
    with pytest.raises(ValueError, match=f"config/models/{name}.yaml: a name has lower-case"):
        load_descriptions("model")


@pytest.mark.parametrize(
    ("labels", "order", "message"),
    [
        ({"whole": [1, 2], "core": 2}, None, "needs 2 values, .* found 0"),
        ({"whole": [1, 2], "core": 2}, [1], "needs 2 values, .* found 1"),
        ({"a": 1, "b": 2}, [1, 2], "needs 0 values, .* found 2"),
    ],
)
def test_regions_need_their_order(project, labels, order, message):
    orders = {} if order is None else {"regions_class_order": order}
    with pytest.raises(ValueError, match=rf"hippocampus\.yaml: regions_class_order: {message}"):
        described(project, labels={"background": 0, **labels}, **orders)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"evaluated_regions": {"anterior": [1]}}, "evaluated_regions: 'anterior' is one of the"),
        ({"evaluated_regions": {"whole": [1, 3]}}, r"regions\.whole: .* \[1, 2\], found \[3\]"),
        ({"evaluated_regions": {"whole": [1, 1]}}, r"regions\.whole: .* non-unique elements"),
        ({"labels": {"background": 0, "whole": [1, 2, 1]}}, r"labels\.whole: \[1, 2, 1\] is not"),
        ({"evaluated_regions": {"whole": 1}}, r"evaluated_regions\.whole: 1 is not of type"),
        ({"evaluated_regions": {"all": [1]}}, r"evaluated_regions: 'all' should not be valid"),
        ({"surface_tolerance_mm": 0}, "surface_tolerance_mm: 0 is less than or equal to"),
        ({"surface_tolerance_mm": {"anterior": -1}}, r"surface_tolerance_mm\.anterior: -1 is less"),
        ({"surface_tolerance_mm": {"anterior": 1}}, "surface_tolerance_mm: .* missing: posterior"),
        (
            {"evaluated_regions": {"whole": [1, 2]}, "surface_tolerance_mm": {"anterior": 1}},
            "surface_tolerance_mm: .* missing: posterior, whole",
        ),
    ],
)
def test_impossible_evaluations_are_refused(project, keys, message):
    with pytest.raises(ValueError, match=rf"hippocampus\.yaml: .*{message}"):
        described(project, **keys)


def test_regions_are_measured_beside_the_labels(project):
    described(project, evaluated_regions={"whole": [1, 2]}, surface_tolerance_mm=2)
    run = Run(configuration())
    expected = {"background": 0, "anterior": 1, "posterior": 2, "whole": [1, 2]}
    assert run.measured("hippocampus") == expected
    assert run.tolerances_mm("hippocampus") == {"anterior": 2, "posterior": 2, "whole": 2}
    tolerances = {"anterior": 1, "posterior": 2, "whole": 3}
    run.datasets["hippocampus"]["surface_tolerance_mm"] = tolerances
    assert run.tolerances_mm("hippocampus") == tolerances
    del run.datasets["hippocampus"]["surface_tolerance_mm"]
    assert run.tolerances_mm("hippocampus") == {}
    before = run.converted("hippocampus")
    run.datasets["hippocampus"] |= {"evaluated_regions": {}, "subgroups": ["class_label"]}
    assert run.converted("hippocampus") == before


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, r"lesions: 'labels' is a required property"),
        ({"labels": ["anterior", "tumour"]}, r"lesions\.labels: unknown name 'tumour'; known: ant"),
        ({"labels": ["background"]}, r"lesions\.labels: unknown name 'background'; known: ant"),
        ({"labels": ["anterior"], "overlap": "area"}, r"lesions\.overlap: 'area' is not one of"),
        ({"labels": ["anterior"], "threshold": 2}, r"lesions\.threshold: iou is 1 at most"),
        ({"labels": ["anterior"], "minimum": 2}, r"lesions: .*'minimum' was unexpected"),
    ],
)
def test_impossible_lesions_are_refused(project, rule, message):
    with pytest.raises(ValueError, match=rf"hippocampus\.yaml: {message}"):
        described(project, lesions=rule)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"froc": {}}, r"hippocampus\.yaml: froc: needs the key lesions"),
        ({"froc": {"threshold": 0.6}}, r"froc\.threshold: 0\.6 is greater than the maximum"),
        ({"froc": {"score": "median"}}, r"froc\.score: 'median' is not one of \['mean', 'max'\]"),
        ({"calibration": {"margin_mm": 0}}, r"calibration\.margin_mm: 0 is less than or equal to"),
        ({"calibration": {"bins": 3}}, r"calibration: .*'bins' was unexpected"),
    ],
)
def test_impossible_measures_of_probabilities_are_refused(project, changes, message):
    with pytest.raises(ValueError, match=message):
        described(project, **changes)


def test_measures_of_probabilities_have_defaults(project):
    described(project, calibration={}, froc={}, lesions={"labels": ["anterior"]})
    found = load_descriptions("dataset")["hippocampus"]
    assert found["calibration"] == {"margin_mm": 10}
    assert found["froc"] == {"threshold": 0.1, "score": "mean"}
    run = Run(configuration())
    assert run.measures_probabilities("hippocampus")
    assert not run.converted("hippocampus").keys() & {"calibration", "froc"}


def test_lesions_have_defaults(project):
    described(project, lesions={"labels": ["anterior"]})
    expected = {"labels": ["anterior"], "overlap": "iou", "threshold": 0.1, "min_volume_mm3": 0}
    assert load_descriptions("dataset")["hippocampus"]["lesions"] == expected
    described(project, lesions={"labels": ["anterior"], "overlap": "voxels", "threshold": 30})


def test_a_coarse_model_may_say_where_another_one_looks(project):
    described = {
        **MODEL,
        "configuration": "2d",
        "previous_model": "unet_2d_quick",
        "prediction": {"region": "previous"},
    }
    (project / "models" / "m.yaml").write_text(yaml.safe_dump(described))
    run = Run({"datasets": ["hippocampus"], "models": ["m"]})
    assert "unet_2d_quick" in run.models
    assert not run.starts_from_previous("m")  # its training needs nothing of it
