"""Division of groups into parts that are alike in everything that the groups hold."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

DIGITS = 9  # to which wishes are compared: they are sums and differences of shares
MARGIN = 1e-6  # cases: a part that lacks less is full


def divide(
    units: Sequence[Mapping[str, int]], sizes: Sequence[int], shares: Sequence[float], seed: int
) -> list[int]:
    """Divide units into parts of given shares, each with its share of every tag.

    This is iterative stratification [1]_ of units that weigh differently: the rarest tag is dealt
    out first, unit by unit, each to the part that lacks most of it. Ties are broken by the unit's
    other tags, from the rarest on, then by the cases that a part lacks, then by chance. A part that
    has its share of all cases gets no more.

    Parameters
    ----------
    units : sequence of mapping of str to int
        For each unit (a group of cases), how many of its cases have each tag.
    sizes : sequence of int
        Number of cases of each unit.
    shares : sequence of float
        What each part is to get, together 1.
    seed : int
        Seed of the order and of ties.

    Returns
    -------
    list of int
        The part of each unit.

    References
    ----------
    .. [1] K. Sechidis, G. Tsoumakas, I. Vlahavas, On the Stratification of Multi-label Data,
       ECML PKDD 2011. https://doi.org/10.1007/978-3-642-23808-6_10
    """
    draw = random.Random(seed)
    totals = sum((Counter(unit) for unit in units), Counter())
    lacking = {tag: [share * total for share in shares] for tag, total in totals.items()}
    lacking_cases = [share * sum(sizes) for share in shares]
    parts = [-1] * len(units)
    waiting = list(range(len(units)))
    draw.shuffle(waiting)
    while waiting:
        holders = Counter(tag for unit in waiting for tag in units[unit])
        by_rarity = sorted(holders, key=lambda tag: (holders[tag], tag))
        chosen = [unit for unit in waiting if not by_rarity or by_rarity[0] in units[unit]]
        for unit in sorted(chosen, key=lambda unit: -sizes[unit]):
            tags = [tag for tag in by_rarity if tag in units[unit]]
            wishes = {
                part: [*(lacking[tag][part] for tag in tags), lacking_cases[part], draw.random()]
                for part in range(len(shares))
                if lacking_cases[part] > MARGIN
            }
            part = max(wishes, key=lambda part: [round(wish, DIGITS) for wish in wishes[part]])
            parts[unit] = part
            lacking_cases[part] -= sizes[unit]
            for tag, count in units[unit].items():
                lacking[tag][part] -= count
        waiting = [unit for unit in waiting if parts[unit] < 0]
    return parts
