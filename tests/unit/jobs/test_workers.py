import os
import re
import signal
from types import SimpleNamespace

import pytest

from segflow.jobs.workers import count_workers, map_cases


@pytest.mark.parametrize(
    ("threads", "memory_mb", "case_mb", "n_cases", "expected"),
    [
        pytest.param(8, 16000, 100, 20, 8, id="threads"),
        pytest.param(8, 16000, 100, 3, 3, id="cases"),
        pytest.param(8, 1000, 300, 20, 3, id="memory of the job"),
        pytest.param(8, 16000, 1000, 20, 4, id="memory that is free"),
        pytest.param(8, 100, 500, 20, 1, id="always one"),
        pytest.param(8, 1000, 0, 0, 1, id="no cases"),
    ],
)
def test_count_workers_keeps_every_bound(
    monkeypatch, threads, memory_mb, case_mb, n_cases, expected
):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=4e9))
    assert count_workers(threads, memory_mb, case_mb, n_cases) == expected


def square(number):
    return number * number


def invert(number):
    return 1 / number


def die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("items", [[], [3], [3, 1, 2]])
def test_results_do_not_depend_on_the_number_of_workers(workers, items):
    found = dict(map_cases(square, items, workers, "square"))
    assert found == {number: number * number for number in items}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_case_reaches_the_caller(workers):
    with pytest.raises(ZeroDivisionError):
        list(map_cases(invert, [1, 0, 2], workers, "invert"))


def die_once(item):
    number, folder = item
    if number == 2 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_fewer_workers_go_on_when_one_is_killed(tmp_path, capsys):
    items = [(number, tmp_path) for number in range(1, 6)]
    found = dict(map_cases(die_once, items, 4, "convert"))
    assert found == {item: item[0] for item in items}
    said = capsys.readouterr().out
    assert re.search(r"convert: one of 4 workers was killed, .*took up to \d+ MB", said)
    assert re.search(r"; 2 go on with what is not finished", said)


def test_a_killed_worker_is_reported_as_lack_of_memory():
    finished = []

    def work():
        for _, result in map_cases(die, [1, 3, 4, 5, 2], 2, "convert"):
            finished.append(result)

    with pytest.raises(MemoryError, match=r"convert: the only worker was killed.*mem_mb"):
        work()
    assert {1, 3} <= {*finished}
