"""Thresholds of volume that are worth trying."""

import math

import numpy as np

from segflow.images.sizes import TOLERANCE, at_least, at_most


def pick_volumes(wrong: np.ndarray, volumes: np.ndarray, count: int) -> list[float]:
    """Pick thresholds that each lie just above the volume of some wrong piece.

    Parameters
    ----------
    wrong : ndarray of float
        Volumes of the pieces that a step should reach.
    volumes : ndarray of float
        Volumes of all pieces, these included.
    count : int
        How many thresholds to pick at most: at evenly spaced ranks of the different volumes in
        `wrong`, the smallest and the largest among them.

    Returns
    -------
    list of float
        Ascending; each between that volume and the next larger one in `volumes`, with as few
        digits as this allows. Volumes that differ by hardly more than the tolerance of limits
        (`segflow.images.sizes`) are one.
    """
    wrong, volumes = np.unique(wrong), np.unique(volumes)
    places = np.unique(np.linspace(0, len(wrong) - 1, min(count, len(wrong))).round().astype(int))
    picked = []
    for low in wrong[places]:
        above = np.searchsorted(volumes, low * (1 + 4 * TOLERANCE), side="right")
        high = volumes[above] if above < len(volumes) else 1.5 * low
        picked.append(_short_number(float(low), float(high)))
    return list(dict.fromkeys(picked))


def _short_number(low: float, high: float) -> float:
    """Return a number between two others, near their geometric mean, with few digits."""
    middle = math.sqrt(low * high)
    for digits in range(1, 17):
        number = float(f"{middle:.{digits}g}")
        if not at_most(number, low) and not at_least(number, high):
            return number
    return middle
