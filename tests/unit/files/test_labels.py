import numpy as np
import pytest

from segflow.files.labels import (
    blank_ignored,
    foreground,
    foreground_values,
    ignored_value,
    single_values,
)

PLAIN = {"background": 0, "anterior": 2, "posterior": 1}
REGIONS = {"background": 0, "whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}


@pytest.mark.parametrize(
    ("labels", "members", "values"),
    [
        (PLAIN, {"anterior": [2], "posterior": [1]}, [1, 2]),
        (REGIONS, {"whole": [1, 2, 4], "core": [1, 4], "enhancing": [4]}, [1, 2, 4]),
    ],
)
def test_foreground_leaves_the_background_out(labels, members, values):
    assert foreground(labels) == members
    assert foreground_values(labels) == values


def test_the_order_of_the_description_is_kept():
    assert list(foreground(PLAIN)) == ["anterior", "posterior"]


def test_what_is_ignored_is_no_foreground():
    labels = {**REGIONS, "ignore": 5}
    assert foreground(labels) == foreground(REGIONS)
    assert (ignored_value(labels), ignored_value(REGIONS)) == (5, None)
    assert single_values(labels) == {"enhancing": 4, "ignore": 5}


def test_nothing_remains_where_the_reference_is_ignored():
    reference, prediction = np.array([0, 1, 3, 3]), np.array([1, 1, 1, 0])
    assert blank_ignored({"background": 0, "a": 1, "ignore": 3}, reference, prediction) == 2
    assert (reference.tolist(), prediction.tolist()) == ([0, 1, 0, 0], [1, 1, 0, 0])
    assert blank_ignored({"background": 0, "a": 1}, reference, prediction) == 0
