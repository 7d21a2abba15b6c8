import pytest

from segflow.files.labels import foreground, foreground_values

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
