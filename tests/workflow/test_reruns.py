"""What runs again after which change."""

import gzip
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from project import HIPPOCAMPUS, MODELS, N_TEST

pytestmark = pytest.mark.slow
TRAINING = "results/nnUNet_results/Dataset004_hippocampus/SegflowTrainer__{0}/fold_{1}"


def checkpoints(project) -> dict[str, float]:
    """Return the time at which each final checkpoint was written."""
    paths = project.results.glob("nnUNet_results/**/checkpoint_final.pth")
    return {str(path.relative_to(project.results)): path.stat().st_mtime_ns for path in paths}


def logs(project, rule: str) -> str:
    return "\n".join(path.read_text() for path in (project.folder / "logs").rglob(f"{rule}/*.log"))


def test_touching_files_does_nothing(project):
    for folder in (project.raw, project.folder / "workflow", project.folder / "config"):
        for path in folder.rglob("*"):
            if path.is_file():
                path.touch()
    assert project.planned() == set()


def test_comments_and_docstrings_do_nothing(project):
    for name in (
        "evaluation/metrics.py",
        "datasets/folds.py",
        "datasets/converters/nnunet.py",
        "models/trainers/segflow_trainer.py",
        "models/training.py",
    ):
        path = project.folder / "workflow/scripts/segflow" / name
        path.write_text(path.read_text().replace('"""', '"""Edited. ', 1) + "\n# edited\n")
    assert project.planned() == set()


def test_an_edited_library_module_reruns_the_rules_that_import_it(project):
    path = project.folder / "workflow/scripts/segflow/evaluation/summaries.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")
    readers = {"summarise_metrics", "compare_predictors", "select_predictor", "plot_metrics"}
    plots = {"plot_cases", "plot_case_comparison", "plot_comparisons"}
    pages = {"write_provenance", "make_report", "make_workflow_report"}
    others = {"describe_tables", "write_crate"}
    assert project.planned() == readers | plots | pages | others


def test_an_edited_module_of_a_converter_converts_again(project):
    """No script imports converters by name, and this one is imported by that of the data set."""
    path = project.folder / "workflow/scripts/segflow/datasets/converters/nnunet.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")
    assert "convert_dataset" in project.planned()


def test_another_wording_of_logs_evaluates_no_case_again(project):
    path = project.folder / "workflow/scripts/segflow/jobs/logs.py"
    path.write_text(path.read_text().replace("it said nothing", "it did not say"))
    folder = project.results / "hippocampus/both/evaluation"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    metrics = "results/hippocampus/both/metrics.csv"
    assert "evaluate_predictor" in project.planned(metrics)
    project.snakemake("--forcerun", "evaluate_predictor", "--until", "evaluate_predictor", metrics)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")} == before


def test_a_changed_plot_style_redraws_only(project):
    path = project.folder / "workflow/scripts/segflow/report/drawing.py"
    path.write_text(path.read_text().replace('"font.size": 10', '"font.size": 11'))
    training = {"plot_training", "plot_learning_curves"}
    cases = {"plot_cases", "plot_case_comparison"}
    results = {"plot_metrics", "plot_comparisons", "plot_postprocessing"}
    pages = {"make_report", "make_workflow_report", "write_crate"}
    assert project.planned() == training | cases | results | pages


@pytest.mark.parametrize("name", ["page.css", "report.html.j2", "viewer.js"])
def test_another_look_of_the_report_writes_the_report_only(project, name):
    path = project.folder / "workflow/scripts/segflow/report/page_files" / name
    path.write_text(path.read_text() + "\n")
    assert project.planned() == {"make_report", "write_crate"}


def test_another_tolerance_evaluates_again_and_nothing_else(project):
    path = project.folder / "config/datasets/hippocampus.yaml"
    path.write_text(re.sub("surface_tolerance_mm: .*", "surface_tolerance_mm: 3", path.read_text()))
    planned = project.planned()
    assert {"evaluate_predictor", "summarise_metrics", "make_report"} <= planned
    assert not planned & {"convert_dataset", "train_fold", "search_postprocessing"}


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"background": 0, "head": 1, "tail": 2}},
        {"title": "Another", "license": "another", "source": "another", "citation": "another"},
        {"channels": ["T1"]},
    ],
    ids=["labels", "words", "channels"],
)
def test_names_and_words_train_and_predict_nothing(project, change):
    project.edit("config/datasets/hippocampus.yaml", lambda dataset: dataset.update(change))
    planned = project.planned()
    computed = {"convert_dataset", "extract_fingerprint", "plan_experiment", "preprocess_cases"}
    assert "describe_dataset" in planned
    assert not planned & {*computed, "train_fold", "predict_fold", "ensemble_predictions"}


def test_another_normalisation_trains_again(project):
    project.edit("config/datasets/hippocampus.yaml", lambda data: data.update(channels=["noNorm"]))
    assert {"plan_experiment", "preprocess_cases", "train_fold"} <= project.planned()


@pytest.mark.parametrize("change", [{"title": "Another"}, {"gpu_share": 2}, {"threads": 2}])
def test_what_no_plans_hold_trains_nothing(project, change):
    project.edit("config/models/tiny_2d.yaml", lambda model: model.update(change))
    assert not {"make_model_plans", "train_fold"} & project.planned()


def test_a_renamed_label_is_measured_under_its_new_name(project):
    labels = {"background": 0, "head": 1, "tail": 2}
    project.edit("config/datasets/hippocampus.yaml", lambda data: data.update(labels=labels))
    before = checkpoints(project)
    project.snakemake("evaluate")
    assert checkpoints(project) == before
    assert ",head," in (project.results / "hippocampus/both/metrics.csv").read_text()
    described = project.results / "nnUNet_raw/Dataset004_hippocampus/dataset.json"
    assert '"head": 1' in described.read_text()
    # Work that is done again for other reasons finds its cases by the same keys.
    target = "results/hippocampus/tiny_2d/fold_0/training.json"
    project.snakemake(target, "--forcerun", "convert_dataset", "preprocess_cases")
    assert checkpoints(project) == before
    assert "8 of 8 cases are finished" in logs(project, "preprocess_cases")


def test_a_former_recipe_finds_what_it_trained(project):
    before = checkpoints(project)

    def train(n_epochs):
        edit = {"epochs": n_epochs}
        project.edit("config/models/tiny_3d.yaml", lambda model: model["training"].update(edit))
        project.snakemake("train", "--config", "select={models: [tiny_3d], folds: [0]}")

    train(1)
    assert {*before.values()} <= {*checkpoints(project).values()}  # set aside
    train(2)
    assert before.items() <= checkpoints(project).items()
    assert "taken back" in logs(project, "train_fold")


def test_a_changed_label_reruns_its_data_set_and_keeps_the_other_cases(project):
    path = sorted((project.raw / "labelsTr").iterdir())[0]
    image = nibabel.load(path)
    data = np.asarray(image.dataobj).copy()
    data[data == 2] = 1
    data[0, 0, 0] = 2
    nibabel.save(nibabel.Nifti1Image(data, image.affine, image.header), path)
    assert {"convert_dataset", "train_fold", "make_report"} <= project.planned()
    text = project.snakemake("preprocess")
    assert re.search(r"convert_dataset +1\n", text)  # the test cases are left alone
    assert "7 of 8 cases are finished" in logs(project, "preprocess_cases")


def test_a_changed_label_of_another_data_set_changes_nothing_here(project):
    shutil.copytree(project.raw, project.folder / "raw_2")
    shutil.copy(
        project.folder / "config/datasets/hippocampus.yaml",
        project.folder / "config/datasets/second.yaml",
    )
    project.edit("config/datasets/second.yaml", lambda dataset: dataset.update(id=5))
    project.configure(
        datasets=["hippocampus", "second"],
        raw_folders={"hippocampus": "raw", "second": "raw_2"},
    )
    text = project.snakemake("--dry-run", "evaluate")
    assert "results/second/" in text
    assert "output: results/hippocampus/" not in text


def test_the_seed_reruns_splits_and_below(project):
    project.configure(seed=1)
    planned = project.planned()
    assert {"make_splits", "train_fold", "ensemble_predictions"} <= planned
    assert not planned & {"convert_dataset", "extract_fingerprint", "preprocess_cases"}


def test_epochs_rerun_their_model_only(project):
    project.edit("config/models/tiny_3d.yaml", lambda model: model["training"].update(epochs=3))
    text = project.snakemake("--dry-run")
    trained = re.findall(r"output: results/hippocampus/(\w+)/fold_\d/training.json", text)
    assert trained == ["tiny_3d", "tiny_3d"]


def test_a_new_fold_only_adds_jobs(project):
    project.configure(folds=[0])
    project.snakemake("train")
    project.configure(folds=[0, 1])
    assert "train_fold" not in project.planned("train")


def test_a_new_model_only_adds_jobs(project):
    import yaml

    model = {**MODELS["tiny_3d"], "title": "Another"}
    (project.folder / "config/models/another.yaml").write_text(yaml.safe_dump(model))
    project.configure(models=["tiny_2d", "tiny_3d", "another"])
    text = project.snakemake("--dry-run")
    trained = re.findall(r"output: results/hippocampus/(\w+)/fold_\d/training.json", text)
    assert trained == ["another", "another"]
    assert not {"convert_dataset", "preprocess_cases", "make_splits"} & project.planned()


def test_a_new_test_image_is_predicted_and_nothing_else(project):
    before = checkpoints(project)
    for kind in ("images", "labels"):
        source = sorted((HIPPOCAMPUS / f"{kind}Ts").glob("*.nii.gz"))[N_TEST]
        shutil.copy(source, project.raw / f"{kind}Ts")
    assert not {"make_splits", "plan_experiment", "train_fold"} & project.planned()
    target = "results/hippocampus/tiny_2d/metrics.csv"
    project.snakemake(target)
    assert checkpoints(project) == before
    assert "predict: 2 of 3 cases are finished" in logs(project, "predict_fold")
    assert project.planned(target) == set()


def test_a_change_behind_a_new_test_image_is_not_passed_over(project):
    """Snakemake itself would leave the splits as they are, and say nothing."""
    for kind in ("images", "labels"):
        source = sorted((HIPPOCAMPUS / f"{kind}Ts").glob("*.nii.gz"))[N_TEST]
        shutil.copy(source, project.raw / f"{kind}Ts")
    project.configure(seed=1)
    text = project.snakemake("split", check=False)
    assert "make_splits must run again" in text
    project.snakemake("convert")
    assert "make_splits" in project.planned("split")


def test_a_rerun_from_unchanged_content_trains_nothing(project):
    """Snakemake plans everything below a forced step; the jobs find their work done."""
    before = checkpoints(project)
    target = "results/hippocampus/tiny_2d/predictions/val/raw/predictions.csv"
    project.snakemake(target, "--forcerun", "convert_dataset", "make_splits")
    assert checkpoints(project) == before
    assert "nothing to train" in logs(project, "train_fold")
    assert "predict: 4 of 4 cases are finished" in logs(project, "predict_fold")


def test_one_fold_is_trained_again_on_demand(project):
    before = checkpoints(project)
    chosen = "select={models: [tiny_3d], folds: [1]}"
    project.snakemake("train", "--forcerun", "train_fold", "--config", chosen, "fresh=true")
    after = checkpoints(project)
    changed = {name for name, time in before.items() if after[name] != time}
    assert changed == {str(Path(TRAINING.format("tiny_3d__3d_fullres", 1)).relative_to("results")) + "/checkpoint_final.pth"}  # fmt: skip  # noqa: E501
    assert "train_fold" not in project.planned("evaluate")


def test_failures_of_both_parts_are_shown_once_and_last_and_lose_nothing(project):
    damaged = [sorted((project.raw / f"images{part}").iterdir())[0] for part in ("Tr", "Ts")]
    sound = [path.read_bytes() for path in damaged]
    for path in damaged:
        path.write_bytes(gzip.compress(b"not an image"))
    table = project.results / "hippocampus/problems.csv"
    text = project.snakemake(check=False)
    assert "Traceback" not in text
    # The part that failed later knows the problems of both.
    failures = text.split("convert_dataset hippocampus ")[1:]
    assert sorted(failure.count("cannot be read") for failure in failures) in ([1, 2], [2, 2])
    [both] = [failure for failure in failures if failure.count("cannot be read") == 2][:1]
    assert ": 2 problems\n" in both
    assert all(path.name in both for path in damaged)
    assert table.read_text().count(",error,") == 2
    assert not re.search(r"rule (extract_fingerprint|preprocess_cases|train_fold)", text)
    assert len(checkpoints(project)) == 4
    for path, content in zip(damaged, sound, strict=True):
        path.write_bytes(content)
    project.snakemake("convert")
    assert ",error," not in table.read_text()


def test_what_two_jobs_find_damaged_both_say_and_is_made_again(project):
    (folder,) = project.results.glob("nnUNet_results/*/*__tiny_3d__*/fold_0")
    checkpoint = folder / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    model = project.results / "hippocampus/tiny_3d"
    for split in ("val", "test"):
        shutil.rmtree(model / f"probabilities/fold_0_{split}")
    again = ("--forcerun", "predict_fold", "--until", "predict_fold")
    text = project.snakemake("--cores", "1", "--keep-going", *again, check=False)
    assert "missing locally" not in text
    for split in ("val", "test"):
        said = (project.folder / f"logs/hippocampus/tiny_3d/predict_fold/0_{split}.log").read_text()
        assert "expected SHA-256" in said
        assert "training.json; run again" in said
    assert (folder / "checkpoint_final.pth.damaged").exists()
    assert (model / "fold_0/training.json.damaged").exists()
    wanted = [
        f"results/hippocampus/tiny_3d/probabilities/fold_0_{name}.csv" for name in ("val", "test")
    ]
    assert project.planned(*wanted) == {"train_fold", "predict_fold"}
    project.snakemake(*wanted)
    assert checkpoint.stat().st_size > 1000
