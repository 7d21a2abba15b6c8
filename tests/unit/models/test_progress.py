import pytest

from segflow.models.progress import (
    COLUMNS,
    Pace,
    _duration,
    describe_epoch,
    enter_epoch,
    read_progress,
    write_progress,
)

VALUES = {
    "epoch": 0,
    "train_loss": -0.25,
    "val_loss": -0.5,
    "score": 0.75,
    "score_average": 1 / 3,
    "score_name": "pseudo IoU",
    "learning_rate": 0.01,
    "seconds": 2.0,
}


def enter(path, *epochs):
    for epoch in epochs:
        enter_epoch(path, {**VALUES, "epoch": epoch})


def test_each_epoch_is_a_row_that_names_its_score(tmp_path):
    path = tmp_path / "progress.csv"
    assert read_progress(path) == []
    enter(path, 0, 1)
    rows = read_progress(path)
    assert list(rows[0]) == COLUMNS
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert {row["score_name"] for row in rows} == {"pseudo IoU"}
    assert rows[0]["score_average"] == "0.333333"


def test_epochs_that_a_checkpoint_took_back_are_replaced(tmp_path):
    path = tmp_path / "progress.csv"
    enter(path, 0, 1, 2, 1)
    assert [row["epoch"] for row in read_progress(path)] == ["0", "1"]


def test_a_row_that_is_cut_short_is_left_out(tmp_path):
    path = tmp_path / "progress.csv"
    enter(path, 0, 1)
    text = path.read_text()
    path.write_text(text[: text.rindex(",0.01")])
    assert [row["epoch"] for row in read_progress(path)] == ["0"]


def test_a_table_of_a_former_version_is_read_and_written_in_todays_columns(tmp_path):
    path = tmp_path / "progress.csv"
    path.write_text(
        "epoch,train_loss,val_loss,pseudo_dice,ema_pseudo_dice,learning_rate,seconds\n"
        "0,-0.1,-0.2,0.5,0.4,0.01,3\n"
    )
    write_progress(path, read_progress(path))
    assert path.read_text().splitlines() == [
        ",".join(COLUMNS),
        "0,-0.1,-0.2,0.5,0.4,pseudo Dice,0.01,3",
    ]


def test_a_line_says_what_people_ask():
    assert describe_epoch("unet fold 1", 61, VALUES) == (
        "unet fold 1: epoch 1/61  loss -0.250/-0.500  pseudo IoU 0.750 (average 0.333)  2.0 s, "
        "2 min 00 s left"
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 min 00 s"),
        (59.4, "0 min 59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations_are_written_as_people_do(seconds, expected):
    assert _duration(seconds) == expected


def test_the_pace_is_said_once_without_the_first_step(monkeypatch, capsys):
    times = iter([0.0, 8.0, 9.0, 10.0, 11.0, 12.0])
    monkeypatch.setattr("segflow.models.progress.time.monotonic", lambda: next(times))
    pace = Pace("an epoch", 90)
    for _ in range(5):
        pace.step()
    assert capsys.readouterr().err == "an epoch takes about 1 min 30 s\n"


def test_a_single_long_step_has_a_pace_too(monkeypatch, capsys):
    times = iter([0.0, 40.0])
    monkeypatch.setattr("segflow.models.progress.time.monotonic", lambda: next(times))
    Pace("the first case", 3).step()
    assert capsys.readouterr().err == "the first case takes about 2 min 00 s\n"
