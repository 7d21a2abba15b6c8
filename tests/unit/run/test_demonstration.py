import csv
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from segflow.run.configuration import Run
from segflow.run.demonstration import describe_progress, result_table
from segflow.run.record import FINISHED, FOLDER, STARTED, Job, read_starts, write_event, write_start
from segflow.run.status import training_folder

CONFIG = {"datasets": ["hippocampus"], "models": ["unet_2d_quick"], "n_folds": 3}
HEADER = "epoch,train_loss,val_loss,score,score_average,score_name,learning_rate,seconds\n"


def job(rule, fold="", needed=True):
    about = {"dataset": "hippocampus", "model": "unet_2d_quick", "fold": fold}
    wildcards = {key: value for key, value in about.items() if value}
    return Job(rule, wildcards, f"{rule}{fold}.out", Path(f"{rule}{fold}.log"), needed)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Run(CONFIG)


def test_the_share_counts_epochs_and_weighs_trainings(run):
    jobs = [job("convert_dataset"), job("train_fold", "0"), job("train_fold", "1")]
    jobs += [job("make_splits", needed=False), *(job(f"plot_{n}") for n in range(5))]
    record = write_start(FOLDER, run.config, jobs)
    share, line = describe_progress(run, read_starts(FOLDER)[0], 1.0)
    assert (share, line) == (0.0, "  0%, 0 of 8 jobs")
    write_event(record, FINISHED, 0)
    write_event(record, STARTED, 1)
    jobs[1].log.write_text("begun")
    progress = training_folder(run, jobs[1]) / "progress.csv"
    progress.parent.mkdir(parents=True)
    progress.write_text(HEADER + "".join(f"{n},0,0,0,0,pseudo Dice,0,1\n" for n in range(15)))
    share, line = describe_progress(run, read_starts(FOLDER)[0], 100.0)
    # 1 of conversion and 15 of 20 epochs of 12, of 1 + 12 + 12 + 5.
    assert share == pytest.approx(10 / 30)
    assert line == (
        " 33%, 1 of 8 jobs, about 3 min left, training fold, hippocampus unet_2d_quick fold 0, "
        "epoch 15 of 20"
    )


def test_a_start_with_nothing_to_do_is_done(run):
    write_start(FOLDER, run.config, [job("convert_dataset", needed=False)])
    assert describe_progress(run, read_starts(FOLDER)[0], time.time())[0] == 1.0


def test_the_table_has_the_best_first_and_leaves_published_results_out(run, tmp_path, capsys):
    run = Run({**CONFIG, "models": ["unet_2d_quick", "unet_3d_quick"]})
    folder = tmp_path / "results/hippocampus"
    folder.mkdir(parents=True)
    (folder / "best.json").write_text(json.dumps({"metric": "dice"}))
    columns = ["predictor", "split", "stage", "fold", "label", "metric", "mean"]
    columns += ["ci_low", "ci_high", "published"]
    shared = ["postprocessed", "all", "all", "dice"]
    rows = [
        ["unet_2d_quick", "val", *shared, 0.8, 0.75, 0.85, ""],
        ["unet_2d_quick", "test", *shared, 0.7, "", "", ""],
        ["unet_3d_quick", "val", *shared, 0.9, 0.85, 0.95, ""],
        ["unet_3d_quick", "val", "raw", *shared[1:], 0.1, "", "", ""],
        ["Theirs", "val", *shared, 0.99, "", "", "A paper"],
    ]
    with (folder / "summary.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    Console(width=120).print(result_table(run, "hippocampus", tmp_path / "results"))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[-2:] == [
        "3D U-Net, quick schedule 0.900 0.850 to 0.950 -",
        "2D U-Net, quick schedule 0.800 0.750 to 0.850 0.700",
    ]
    assert not any("0.99" in line for line in lines)
