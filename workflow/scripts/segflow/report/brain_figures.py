"""Figures of registered brains, and of what classifiers look at in them."""

from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from segflow.images.palette import COLOURS
from segflow.report.drawing import NAME_WIDTH, STYLE

SMOOTHED_MM = 3.0  # standard deviation, of maps whose single voxels say little


def draw_brains(
    scores: dict[str, float], sheets: dict[str, np.ndarray], least_score: float
) -> Figure:
    """Draw the scores of registrations above the contact sheets of some.

    Parameters
    ----------
    scores : dict of str to float
        Score of each case.
    sheets : dict of str to ndarray
        Pictures of the cases to show, of shape (y, x, 3), in their order.
    least_score : float
        Lower scores are flagged.
    """
    n_columns = 3
    n_rows = max(1, -(-len(sheets) // n_columns))
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(15, 1.8 + 2.6 * n_rows), layout="constrained")
        grid = figure.add_gridspec(1 + n_rows, n_columns, height_ratios=[1.8, *[2.6] * n_rows])
        above = figure.add_subplot(grid[0, :])
        above.hist(list(scores.values()), bins=np.linspace(-1, 1, 101), color=COLOURS[0])
        above.axvline(least_score, color=COLOURS[5])
        above.set(xlabel="correlation with the template", ylabel="cases", xlim=(-1, 1))
        for number, (case, sheet) in enumerate(sheets.items()):
            axis = figure.add_subplot(grid[1 + number // n_columns, number % n_columns])
            axis.axis("off")
            axis.imshow(sheet)
            failed = scores[case] < least_score
            title = "\n".join(wrap(f"{case}: {scores[case]:.2f}", 2 * NAME_WIDTH))
            axis.set_title(title, fontsize=9, color=COLOURS[5] if failed else COLOURS[7])
    return figure


def find_centre(
    values: np.ndarray, brain: np.ndarray, spacing_mm: tuple[float, ...]
) -> tuple[int, ...]:
    """Return the voxel (z, y, x) of a brain where a map is farthest from 0, smoothed as drawn."""
    smooth = np.where(brain, np.abs(_smooth(values, spacing_mm)), -1)
    return tuple(map(int, np.unravel_index(smooth.argmax(), smooth.shape)))


def _smooth(values: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return gaussian_filter(values.astype(float), np.divide(SMOOTHED_MM, spacing_mm))


def draw_saliency(
    template: np.ndarray,
    maps: dict[str, tuple[np.ndarray, tuple[int, ...]]],
    places_mm: dict[str, tuple[float, ...]],
    spacing_mm: tuple[float, ...],
    title: str,
) -> Figure:
    """Draw three planes of maps over the template, a row for each map.

    Parameters
    ----------
    template : ndarray
        Of shape (z, y, x), with axes to right, anterior and superior.
    maps : dict of str to (ndarray, tuple of int)
        By title: a map of the template's shape, and the voxel (z, y, x) that the planes go through.
    places_mm : dict of str to tuple of float
        By title: where that is, in mm to right, anterior and superior.
    spacing_mm : tuple of float
        Along z, y, x.
    title : str
        What the maps are of.
    """
    names = ("z", "y", "x")
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(
            len(maps), 3, figsize=(9, 2.4 * len(maps) + 0.6), squeeze=False, layout="constrained"
        )
        for row, (about, (values, centre)) in zip(axes, maps.items(), strict=True):
            smooth = _smooth(values, spacing_mm)
            most = max(np.abs(smooth).max(), np.finfo(float).tiny)
            for axis, plane in zip(row, (2, 1, 0), strict=True):  # sagittal, coronal, axial
                grey, seen = (np.take(one, centre[plane], plane) for one in (template, smooth))
                down, across = (mm for place, mm in enumerate(spacing_mm) if place != plane)
                shown = {"origin": "lower", "aspect": down / across}
                axis.imshow(grey, cmap="gray", **shown)
                opacity = np.clip(np.abs(seen) / most, 0, 1)
                drawn = axis.imshow(
                    seen, cmap="RdBu_r", vmin=-most, vmax=most, alpha=opacity, **shown
                )
                at_mm = places_mm[about][2 - plane]
                axis.set_title(f"{names[plane]} = {at_mm:.0f} mm", fontsize=9)
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            row[0].set_ylabel(about, fontsize=9)
            figure.colorbar(drawn, ax=row, shrink=0.8, format="%.0e")
        figure.suptitle("\n".join(wrap(title, 3 * NAME_WIDTH)), fontsize=11)
    return figure
