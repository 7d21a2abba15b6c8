import os
import signal
from types import SimpleNamespace

import pytest

from segflow.workers import count_workers, map_cases


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


def test_a_killed_worker_is_reported_as_lack_of_memory():
    with pytest.raises(MemoryError, match=r"convert: one of 2 workers was killed.*more memory"):
        list(map_cases(die, [1, 2, 3], 2, "convert"))
