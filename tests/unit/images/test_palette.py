from itertools import combinations

import numpy as np
import pytest
from skimage.color import rgb2lab

from segflow.images.palette import label_colours, label_names


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"background": 0, "liver": 2, "spleen": 1}, {1: "spleen", 2: "liver"}),
        ({"background": 0, "liver": 1, "ignore": 2}, {1: "liver"}),
        (  # BraTS
            {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]},
            {1: "rest of whole", 2: "rest of core", 3: "enhancing"},
        ),
        ({"background": 0, "kidney": [1, 2]}, {1: "kidney (1)", 2: "kidney (2)"}),
        (
            {"background": 0, "kidney": [1, 2, 3], "cyst": 3},
            {1: "rest of kidney (1)", 2: "rest of kidney (2)", 3: "cyst"},
        ),
    ],
)
def test_every_value_has_a_name(labels, names):
    assert label_names(labels) == names


def test_structures_of_a_whole_abdomen_can_be_told_apart():
    """The closest of Okabe and Ito's eight colours are 26 apart in CIELAB."""
    colours = label_colours({"background": 0} | {f"organ {n}": n for n in range(1, 25)})
    lab = rgb2lab(np.divide(list(colours.values()), 255))
    nearest = min(np.linalg.norm(one - other) for one, other in combinations(lab, 2))
    assert nearest > 25
