"""Published results, to be read beside those of a run and never mixed with them."""

from collections.abc import Collection
from decimal import Decimal

import pandas as pd


def published_results(
    publications: dict[str, dict], left_out: Collection[str] = ()
) -> pd.DataFrame:
    """Return the published results of a data set as rows of its summary.

    Parameters
    ----------
    publications : dict of str to dict
        The content of a file of ``config/published``, as its schema describes it.
    left_out : collection of str
        Labels to leave out: classes of cases, which have a summary of their own.

    Returns
    -------
    DataFrame
        One row for each value: ``predictor`` (the model's name there), ``split``, ``stage``,
        ``label``, ``metric``, ``mean``, ``sd``, ``published`` (source and place in it) and
        ``note`` (why the values of this row cannot be right; empty otherwise).
    """
    rows = []
    for publication in publications.values():
        source = ", ".join(filter(None, [publication["source"], publication["table"]]))
        for result in publication["results"]:
            if result["label"] in left_out:
                continue
            for metric, value in result["values"].items():
                rows.append(
                    {
                        "predictor": result["model"],
                        "split": publication["split"],
                        "stage": result.get("stage", "unstated"),
                        "label": result["label"],
                        "metric": metric,
                        "mean": float(value),
                        "sd": float(result.get("sd", {}).get(metric, "nan")),
                        "published": source,
                        "note": contradiction(result["values"]),
                    }
                )
    columns = ["predictor", "split", "stage", "label", "metric", "mean", "sd", "published", "note"]
    return pd.DataFrame(rows, columns=columns)


def contradiction(values: dict[str, float]) -> str:
    """Say why results of one model on one set of cases cannot all be right, or nothing.

    In every case IoU <= Dice = 2 IoU / (1 + IoU), which is concave in IoU. So for means over cases
    mean IoU <= mean Dice <= 2 mean IoU / (1 + mean IoU), and the same holds for pooled counts.
    Published values are rounded: both may be off by half a step of their last digit.

    Parameters
    ----------
    values : dict of str to float
        Mean of each metric, as published.
    """
    if not {"dice", "iou"} <= values.keys():
        return ""
    dice, iou = values["dice"], values["iou"]
    half = 0.5 * 10.0 ** -max(map(_count_decimals, (dice, iou))) + 1e-12  # of a float's rounding
    most = 2 * iou / (1 + iou)
    if iou - half > dice + half:
        return f"impossible on the same cases: IoU {iou:.3g} is above Dice {dice:.3g}"
    if dice - half > 2 * (iou + half) / (1 + iou + half):
        return (
            f"impossible on the same cases: Dice {dice:.3g} is above {most:.3g}, the most that "
            f"IoU {iou:.3g} allows"
        )
    return ""


def _count_decimals(value: float) -> int:
    """Return the decimals of a number as it was written; zeros at its end cannot be known."""
    return max(0, -Decimal(repr(value)).as_tuple().exponent)
