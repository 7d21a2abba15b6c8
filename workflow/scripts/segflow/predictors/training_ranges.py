"""What a predictor's training cases were like, and in what a new image differs from all of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segflow.images.nifti import SPACING_TOLERANCE, read_image
from segflow.images.orientation import orientation_of, reorient_grid

PERCENTILES = (0.5, 99.5)  # within which nnU-Net looks at intensities: a few odd voxels mean little
SAMPLE = 1_000_000  # voxels of a channel; these percentiles of so many are exact to 0.01 percent
COMMON = "RAS"  # the orientation in which axes are compared where networks see all images in one


def measure_image(files: list[Path], reoriented: bool) -> dict[str, Any]:
    """Measure a converted image.

    Parameters
    ----------
    files : list of Path
        One for each channel.
    reoriented : bool
        Whether networks see all images in one orientation, so that the axes of the body count and
        not those of the file.

    Returns
    -------
    dict
        ``spacing_mm`` and ``size``, in voxels, by axis (of 2D images ``x`` and ``y``),
        ``orientation``, empty of 2D images, and the `PERCENTILES` of each channel
        (``intensities``).
    """
    intensities = []
    for file in files:
        array, grid = read_image(file)
        values = array.ravel()
        if values.size > SAMPLE:
            values = values[np.random.default_rng(0).integers(0, values.size, SAMPLE)]
        intensities.append([float(value) for value in np.percentile(values, PERCENTILES)])
    orientation = orientation_of(grid)
    if orientation and reoriented:
        grid = reorient_grid(grid, COMMON)
    axes = "xyz" if orientation else "xy"
    return {
        "spacing_mm": dict(zip(axes, grid.spacing_mm[::-1], strict=False)),
        "size": dict(zip(axes, grid.shape[::-1], strict=False)),
        "orientation": orientation,
        "intensities": intensities,
    }


def gather_ranges(
    measured: Iterable[Mapping[str, Any]], channels: list[str], reoriented: bool
) -> dict[str, Any]:
    """Return the ranges over all training cases.

    Parameters
    ----------
    measured : iterable of mapping
        See `measure_image`.
    channels : list of str
        Names of the channels.
    reoriented : bool
        See `measure_image`.
    """
    measured = list(measured)
    ranges: dict[str, Any] = {"n_cases": len(measured), "reoriented": reoriented}
    for name in ("spacing_mm", "size"):
        axes = sorted({axis for one in measured for axis in one[name]})
        values = {axis: [one[name][axis] for one in measured if axis in one[name]] for axis in axes}
        ranges[name] = {axis: [min(values[axis]), max(values[axis])] for axis in axes}
    if not reoriented:
        ranges["orientations"] = sorted({one["orientation"] for one in measured})
    ends = np.array([one["intensities"] for one in measured])
    ranges["intensities"] = {
        channel: {
            "low": [float(ends[:, place, 0].min()), float(ends[:, place, 0].max())],
            "high": [float(ends[:, place, 1].min()), float(ends[:, place, 1].max())],
        }
        for place, channel in enumerate(channels)
    }
    return ranges


def ranges_of_fingerprint(fingerprint: Mapping[str, Any], channels: list[str]) -> dict[str, Any]:
    """Return what nnU-Net's fingerprint tells of the training cases.

    Parameters
    ----------
    fingerprint : mapping
        Content of ``dataset_fingerprint.json``, or of plans, which know intensities only. Sizes are
        those after cropping, and so are no ranges of images.
    channels : list of str
        Names of the channels.
    """
    ranges: dict[str, Any] = {}
    spacings = np.array(fingerprint.get("spacings", []))
    if len(spacings):
        ranges["n_cases"] = len(spacings)
        ranges["spacing_mm"] = {
            axis: [float(values.min()), float(values.max())]
            for axis, values in zip("xyz", spacings.T[::-1], strict=False)
        }
    structures = fingerprint.get("foreground_intensity_properties_per_channel", {})
    ranges["intensities"] = {
        channel: {"median": structures[str(place)]["median"]}
        for place, channel in enumerate(channels)
        if str(place) in structures
    }
    return ranges


def differences(found: Mapping[str, Any], ranges: Mapping[str, Any]) -> list[str]:
    """Say in what an image lies outside the ranges of the training cases, and name these.

    Spacings that differ by rounding do not differ.

    Parameters
    ----------
    found : mapping
        See `measure_image`.
    ranges : mapping
        See `gather_ranges` and `ranges_of_fingerprint`; what they do not tell is not compared.
    """
    texts = []
    for name, title, unit in (("spacing_mm", "spacing", "mm"), ("size", "size", "voxels")):
        slack = SPACING_TOLERANCE if name == "spacing_mm" else 0
        for axis, value in found[name].items():
            low, high = ranges.get(name, {}).get(axis, (value, value))
            if not low * (1 - slack) <= value <= high * (1 + slack):
                span = _span((low, high))
                texts.append(f"{title} along {axis} is {value:.4g} {unit} (training: {span})")
    known = ranges.get("orientations", [found["orientation"]])
    if found["orientation"] not in known:
        there = ", ".join(one or "2D" for one in known)
        texts.append(f"orientation is {found['orientation'] or '2D'} (training: {there})")
    of_channels = zip(ranges.get("intensities", {}).items(), found["intensities"], strict=False)
    for (channel, training), (low, high) in of_channels:
        texts += _other_intensities(channel, training, low, high)
    return texts


def _other_intensities(
    channel: str, training: Mapping[str, Any], low: float, high: float
) -> list[str]:
    """Say if the intensities of a channel, from `low` to `high`, are not those of the training."""
    found = f"intensities of {channel} reach from {low:.4g} to {high:.4g}"
    if "median" in training:
        median = training["median"]
        outside = not low <= median <= high
        return [f"{found} (training: median of structures {median:.4g})"] if outside else []
    inside = (
        training["low"][0] <= low <= training["low"][1],
        training["high"][0] <= high <= training["high"][1],
    )
    if all(inside):
        return []
    return [f"{found} (training: from {_span(training['low'])}, to {_span(training['high'])})"]


def _span(ends: Iterable[float]) -> str:
    low, high = (f"{value:.4g}" for value in ends)
    return low if low == high else f"{low} ... {high}"
