import os
import re
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from segflow.jobs import Job, Snapshot, expected_jobs, read_rules, record_config
from segflow.registry import PROJECT, Run
from segflow.status import (
    Progress,
    choose_config,
    describe_duration,
    disk_usage,
    last_words,
    leased_gpus,
    main,
    read_progress,
    show,
)

HEADER = "epoch,train_loss,val_loss,pseudo_dice,ema_pseudo_dice,learning_rate,seconds\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, as Snakemake does in that of a project."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def config():
    return {
        "datasets": ["hippocampus"],
        "models": ["unet_2d_quick", "unet_3d_quick"],
        "ensembles": {"both": {"members": ["unet_2d_quick", "unet_3d_quick"]}},
        "n_folds": 3,
    }


@pytest.fixture
def job():
    return Job("train_fold", {"fold": "0"}, "results/out.json", Path("out.log"), Path("out.tsv"))


def write(name, seconds_ago, text=""):
    """Write a file as if some seconds ago."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def mark(output, seconds_ago):
    """Mark an output as Snakemake does when its job starts: by a coded name, in parts if long."""
    name = urlsafe_b64encode(output.encode()).decode()
    parts = [name[i : i + 254] for i in range(0, len(name), 254)]
    folders = [f"@{part}" for part in parts[:-1]]
    write("/".join([".snakemake/incomplete", *folders, parts[-1]]), seconds_ago)


def plan(*outputs, seconds_ago):
    write(".snakemake/locks/0.output.lock", seconds_ago, "\n".join(outputs) + "\n")


def state(job, *signs):
    return Snapshot(Path(".snakemake")).state(job, list(signs))


def test_a_job_of_which_nothing_is_there_waits(job):
    assert state(job) == "waiting"


def test_a_job_with_its_output_is_done(job):
    write(job.output, 10)
    assert state(job) == "done"


def test_a_marked_job_is_queued_until_it_writes_its_log(job):
    mark(job.output, 500)
    assert state(job) == "queued"
    write(job.log, 1000)  # of an attempt before
    assert state(job) == "queued"
    write(job.log, 400)
    assert state(job) == "running"


def test_a_long_name_is_read_from_its_parts(job):
    long = Job("train_fold", {}, "results/" + "x" * 400, Path("out.log"), Path("out.tsv"))
    mark(long.output, 5)
    write(long.log, 1)
    assert state(long) == "running"
    assert state(job) == "failed"


def test_a_marked_job_without_a_sign_of_life_is_silent(job):
    mark(job.output, 5000)
    write(job.log, 4000)
    assert state(job) == "silent"
    assert state(job, Path("not_there.lease")) == "silent"
    write("fold_0.lease", 5)
    assert state(job, Path("fold_0.lease")) == "running"


def test_a_log_without_a_result_is_a_failure(job):
    write(job.log, 5)
    assert state(job) == "failed"


def test_what_is_planned_again_waits(job):
    write(job.output, 100)
    write(job.log, 100)
    plan(job.output, seconds_ago=50)
    assert state(job) == "waiting"
    Path(job.output).unlink()  # failed before this start
    assert state(job) == "waiting"
    write(job.log, 20)
    assert state(job) == "failed"
    write(job.output, 10)
    assert state(job) == "done"


def test_a_table_that_was_removed_after_use_counts_as_done(job):
    temporary = Job("predict_fold", {}, "results/out.csv", job.log, job.benchmark)
    write(job.log, 100)
    write(job.benchmark, 500)  # of a run before
    assert state(temporary) == "failed"
    write(job.benchmark, 99)
    assert state(temporary) == "done"
    assert state(job) == "failed"


def test_every_rule_is_read():
    rules = {rule.name: rule for rule in read_rules()}
    assert rules["train_fold"].output == "{dataset}/{model}/fold_{fold}/training.json"
    assert rules["train_fold"].log == "{dataset}/{model}/train_fold/{fold}"
    assert list(rules)[:2] == ["find_near_duplicates", "convert_dataset"]
    assert list(rules)[-1] == "make_report"
    n_rules = sum(path.read_text().count("\nrule ") for path in (PROJECT / "rules").glob("*.smk"))
    assert len(rules) == n_rules


def test_jobs_follow_from_the_configuration(config):
    config["folds"] = [0, 2]
    config["select"] = {"folds": [2]}
    jobs = expected_jobs(Run(config), read_rules())
    trained = [job.about for job in jobs if job.rule == "train_fold"]
    assert trained == [
        "hippocampus unet_2d_quick fold 0",
        "hippocampus unet_2d_quick fold 2",
        "hippocampus unet_3d_quick fold 0",
        "hippocampus unet_3d_quick fold 2",
    ]
    job = next(job for job in jobs if job.rule == "predict_fold")
    assert job.output == "results/hippocampus/unet_2d_quick/probabilities/fold_0_val.csv"
    assert job.log == Path("logs/hippocampus/unet_2d_quick/predict_fold/0_val.log")
    assert job.benchmark == Path("benchmarks/hippocampus/unet_2d_quick/predict_fold/0_val.tsv")
    assert job.lease == Path("results/hippocampus/unet_2d_quick/probabilities/fold_0_val.lease")
    predictors = [job.about for job in jobs if job.rule == "evaluate_predictor"]
    assert predictors == [f"hippocampus {name}" for name in (*config["models"], "both")]
    rules = {job.rule for job in jobs}
    assert not rules & {"find_near_duplicates", "plot_preparation", "transfer_previous_stage"}


def test_a_run_without_models_only_prepares():
    jobs = expected_jobs(Run({"datasets": ["hippocampus"], "models": []}), read_rules())
    found = {job.rule for job in jobs}
    assert found == {"convert_dataset", "gather_cases", "make_splits"}


def test_progress_is_read_while_a_training_goes_on():
    path = Path("progress.csv")
    assert read_progress(path, 100) is None
    path.write_text(HEADER)
    assert read_progress(path, 100) is None
    rows = [f"{epoch},0,0,0,{epoch / 100},0.01,{50 if epoch == 0 else 2}\n" for epoch in range(12)]
    path.write_text(HEADER + "".join(rows))
    progress = read_progress(path, 100)
    assert progress == Progress(12, 100, 0.11, 2.0)
    assert progress.seconds_left == 176


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("first\nlast\n\n", "last"),
        ("predict:   0%|  | 0/2\rpredict:  50%|# | 1/2\r", "predict:  50%|# | 1/2"),
        ("x" * 9000 + "\nthe end", "the end"),
    ],
)
def test_the_last_line_of_a_log(text, words):
    path = Path("job.log")
    assert last_words(path) == ""
    path.write_text(text)
    assert last_words(path) == words


def test_the_gpus_of_a_job_are_in_its_log():
    path = Path("job.log")
    assert leased_gpus(path) == ""
    path.write_text("waiting\nGPU: 1, 3\nepoch 1\n")
    assert leased_gpus(path) == "1, 3"


def test_linked_files_take_their_room_once():
    write("results/a/one", 0, "x" * 10_000)
    before = disk_usage(Path("results"))
    os.link("results/a/one", "results/two")
    assert disk_usage(Path("results")) == before
    assert before[0] >= 10_000
    assert before[1] == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.4, "12 s"), (90, "2 min"), (3700, "1 h 02 min"), (180_000, "2 d 2 h")],
)
def test_durations_are_readable(seconds, text):
    assert describe_duration(seconds) == text


def test_the_configuration_is_the_given_or_that_of_the_last_start(config):
    with pytest.raises(FileNotFoundError, match=r"config/config\.yaml"):
        choose_config(None)
    write("config/config.yaml", 0, yaml.safe_dump(config))
    assert choose_config(None) == (config, "config/config.yaml")
    record_config({**config, "seed": 1})
    found, source = choose_config(None)
    assert found["seed"] == 1
    assert source.startswith("as started on 20")
    assert choose_config(Path("config/config.yaml"))[0] == config


def test_everything_is_shown_and_nothing_written(config, folder, capsys):
    write("config/config.yaml", 0, yaml.safe_dump(config))
    base = "hippocampus/unet_2d_quick"
    trained = "results/nnUNet_results/Dataset004_hippocampus/SegflowTrainer__unet_2d_quick__2d"
    mark(f"results/{base}/fold_0/training.json", 600)
    write(f"logs/{base}/train_fold/0.log", 20, "GPU: 2\n")
    write(f"{trained}/fold_0/progress.csv", 20, HEADER + "0,0,0,0.4,0.5,0.01,60\n")
    write(f"logs/{base}/train_fold/1.log", 20, "[red]out of memory\n")
    mark("results/hippocampus/fingerprint.json", 9000)
    write("logs/hippocampus/extract_fingerprint.log", 7200, "half\n")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    main([])
    text = capsys.readouterr().out
    assert re.search(r"^jobs +done +running +silent +failed +waiting +all$", text, re.MULTILINE)
    assert re.search(r"^train_fold +1 +1 +4 +6$", text, re.MULTILINE)
    assert "hippocampus unet_2d_quick fold 0  running" in text
    n_epochs = Run(config).models["unet_2d_quick"]["training"]["epochs"]
    assert re.search(rf"fold 0 +running +1/{n_epochs} +0.500 +60.0 +{n_epochs - 1} min +2", text)
    assert "logs/hippocampus/unet_2d_quick/train_fold/1.log  [red]out of memory" in text
    assert re.search(r"^extract_fingerprint +hippocampus +2 h 00 min +half *$", text, re.MULTILINE)
    assert "GB are free" in text
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_terminal_gets_a_table_that_fits(config):
    mark("results/hippocampus/fingerprint.json", 5)
    write("logs/hippocampus/extract_fingerprint.log", 1, "word " * 40)
    with open("shown.txt", "w") as file:
        show(Run(config), "mine", Console(file=file, width=80, markup=False))
    assert max(map(len, Path("shown.txt").read_text().splitlines())) <= 80


def test_a_mistake_is_one_line(capsys):
    write("mine.yaml", 0, "datasets: [hippocampus]\nmodels: [unet]\n")
    with pytest.raises(SystemExit) as error:
        main(["--configfile", "mine.yaml"])
    assert str(error.value).startswith("configuration: models: unknown name 'unet'")
