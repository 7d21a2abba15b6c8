import random
from collections import Counter

import pytest

from segflow.datasets.stratification import divide


@pytest.mark.parametrize("seed", range(20))
def test_every_tag_with_enough_units_is_in_every_part(seed):
    draw = random.Random(seed)
    units = [
        {tag: 1 for tag, chance in (("a", 0.1), ("b", 0.2), ("c", 0.9)) if draw.random() < chance}
        for _ in range(60)
    ]
    parts = divide(units, [1] * 60, [0.2] * 5, seed)
    assert Counter(parts) == dict.fromkeys(range(5), 12)
    for tag in "abc":
        holders = [part for unit, part in zip(units, parts, strict=True) if tag in unit]
        assert len(set(holders)) == min(5, len(holders))


def test_parts_have_their_shares():
    parts = divide([{"a": 1}] * 10 + [{"b": 1}] * 10, [1] * 20, [0.3, 0.7], seed=1)
    assert (Counter(parts[:10]), Counter(parts[10:])) == ({0: 3, 1: 7}, {0: 3, 1: 7})


def test_large_units_are_dealt_out_first():
    assert sorted(divide([{}, {}, {}], [1, 1, 2], [0.5, 0.5], seed=1)[:2]) in ([0, 0], [1, 1])
