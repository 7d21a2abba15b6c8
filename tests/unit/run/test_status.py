import json
import os
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from segflow.run.configuration import Run
from segflow.run.record import FAILED, FOLDER, STARTED, Job, read_starts, write_event, write_start
from segflow.run.status import (
    Progress,
    describe_duration,
    disk_usage,
    last_words,
    leased_gpus,
    measure_progress,
    show,
)
from show_status import main

HEADER = "epoch,train_loss,val_loss,score,score_average,score_name,learning_rate,seconds\n"


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


def write(name, seconds_ago, text=""):
    """Write a file as if some seconds ago."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def test_progress_is_read_while_a_training_goes_on():
    path = Path("progress.csv")
    assert measure_progress(path, 100) is None
    path.write_text(HEADER)
    assert measure_progress(path, 100) is None
    seconds = [50, *[2] * 11]
    rows = [f"{n},0,0,0,{n / 100},pseudo Dice,0.01,{seconds[n]}\n" for n in range(12)]
    path.write_text(HEADER + "".join(rows))
    progress = measure_progress(path, 100)
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


def job(rule, *about, output=None):
    """Return a job as the rules name its files."""
    named = dict(zip(("dataset", "model", "fold"), about, strict=False))
    base, last = "/".join(about[:2]), about[2:]
    log = f"logs/{base}/{rule}/{last[0]}.log" if last else f"logs/{base}/{rule}.log"
    return Job(rule, named, output or f"results/{base}/{rule}", Path(log), True)


def test_everything_is_shown_and_nothing_written(config, folder, capsys):
    base = "hippocampus/unet_2d_quick"
    trained = "results/nnUNet_results/Dataset004_hippocampus/SegflowTrainer__unet_2d_quick__2d"
    trainings = [
        job("train_fold", "hippocampus", model, str(fold), output=f"results/{model}/{fold}.json")
        for model in config["models"]
        for fold in range(3)
    ]
    record = write_start(FOLDER, config, [job("extract_fingerprint", "hippocampus"), *trainings])
    for number in range(3):
        write_event(record, STARTED, number)
    write_event(record, FAILED, 2)
    write(f"logs/{base}/train_fold/0.log", 20, "GPU: 2\n")
    write(f"{trained}/fold_0/progress.csv", 20, HEADER + "0,0,0,0.4,0.5,pseudo Dice,0.01,60\n")
    write(f"logs/{base}/train_fold/1.log", 20, "[red]out of memory\n")
    lines = record.read_text().splitlines()
    record.write_text("\n".join([lines[0], age(lines[1], 9000), *lines[2:]]) + "\n")
    write("logs/hippocampus/extract_fingerprint.log", 7200, "half\n")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    main([])
    text = capsys.readouterr().out
    assert re.match(r"as started on 20\S+ \S+: 1 data set, 2 models, 3 folds", text)
    assert re.search(r"^jobs +done +running +silent +failed +waiting +all$", text, re.MULTILINE)
    assert re.search(r"^train_fold +1 +1 +4 +6$", text, re.MULTILINE)
    assert "hippocampus unet_2d_quick fold 0  running" in text
    n_epochs = Run(config).models["unet_2d_quick"]["training"]["epochs"]
    assert re.search(rf"fold 0 +running +1/{n_epochs} +0.500 +60.0 +{n_epochs - 1} min +2", text)
    assert "logs/hippocampus/unet_2d_quick/train_fold/1.log  [red]out of memory" in text
    assert re.search(r"^extract_fingerprint +hippocampus +2 h 00 min +half *$", text, re.MULTILINE)
    assert "GB are free" in text
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def age(line, seconds):
    """Return an event as if some seconds ago."""
    event, number, when = json.loads(line)
    return json.dumps([event, number, when - seconds])


def test_a_terminal_gets_a_table_that_fits(config):
    record = write_start(FOLDER, config, [job("extract_fingerprint", "hippocampus")])
    write_event(record, STARTED, 0)
    write("logs/hippocampus/extract_fingerprint.log", 1, "word " * 40)
    with open("shown.txt", "w") as file:
        show(Run(config), read_starts(FOLDER), Console(file=file, width=80, markup=False))
    assert max(map(len, Path("shown.txt").read_text().splitlines())) <= 80


def test_without_a_start_it_says_how_to_look():
    with pytest.raises(SystemExit, match="nothing was started in this folder; snakemake -n shows"):
        main([])


def test_a_mistake_is_one_line(config):
    write_start(FOLDER, {**config, "models": ["unet"]}, [])
    with pytest.raises(SystemExit) as error:
        main([])
    assert str(error.value).startswith("configuration: models: unknown name 'unet'")
