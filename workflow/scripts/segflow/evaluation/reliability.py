"""Calibration over cases, each of which counts the same."""

import numpy as np
import pandas as pd

from segflow.evaluation.bootstrap import mean_intervals

KEYS = ["predictor", "split", "label", "domain"]
SUMMARY = [
    *KEYS,
    *("n_cases", "n_undefined", "n_groups", "brier", "brier_low", "brier_high"),
    *("ece", "case_ece", "case_ece_low", "case_ece_high"),
]
POOLED = [*KEYS, "bin", "share", "probability", "observed"]


def summarise_calibration(
    measures: pd.DataFrame, bins: pd.DataFrame, groups: dict[str, str], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summarise calibration over cases, each of which counts the same, however large it is.

    Parameters
    ----------
    measures, bins : DataFrame
        Those of `segflow.evaluation.calibration.measure_calibration` after the columns
        ``predictor`` and `ABOUT` of that module.
    groups : dict of str to str
        Group of each case.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    summary : DataFrame
        One row for each predictor, split, label and domain. ``brier`` and ``case_ece`` are means
        over the cases in which they are defined, with 95 % intervals
        (`segflow.evaluation.bootstrap.mean_intervals`), ``ece`` is the error of the bins of all
        cases together, in which the errors of cases may cancel out.
    pooled : DataFrame
        The bins of all cases together: ``share`` of the voxels (mean over cases), mean
        ``probability``, and the share ``observed`` that belongs to the label.
    """
    rows, parts = [], [pd.DataFrame(columns=POOLED)]
    chosen = bins.groupby(KEYS, sort=False)
    for names, table in measures.groupby(KEYS, sort=False):
        defined = table[table["n_voxels"] > 0]
        about = dict(zip(KEYS, names, strict=True))
        of_case = defined["case"].map(groups).to_numpy()
        row = about | {
            "n_cases": len(table),
            "n_undefined": len(table) - len(defined),
            "n_groups": len(set(of_case)),
        }
        if len(defined):
            values = defined[["brier", "ece"]].to_numpy(float)
            ends = np.clip(mean_intervals(values, of_case, seed), 0, 1)
            for place, name in enumerate(("brier", "case_ece")):
                row[name] = values[:, place].mean()
                row[f"{name}_low"], row[f"{name}_high"] = ends[:, place]
            pooled = _pool(chosen.get_group(names), defined)
            row["ece"] = (
                pooled["share"] * (pooled["probability"] - pooled["observed"]).abs()
            ).sum()
            parts.append(pooled.assign(**about)[POOLED])
        rows.append(row)
    pooled = pd.concat(parts[1:], ignore_index=True) if parts[1:] else parts[0]
    return pd.DataFrame(rows, columns=SUMMARY), pooled


def _pool(bins: pd.DataFrame, defined: pd.DataFrame) -> pd.DataFrame:
    """Return the bins of cases together; the voxels of a case weigh one over their number."""
    weight = 1 / bins["case"].map(defined.set_index("case")["n_voxels"]) / len(defined)
    sums = pd.DataFrame(
        {
            "bin": bins["bin"],
            "share": bins["n_voxels"] * weight,
            "probability": bins["n_voxels"] * weight * bins["probability"],
            "observed": bins["n_positive"] * weight,
        }
    )
    sums = sums.groupby("bin", as_index=False).sum()
    return sums.assign(
        probability=sums["probability"] / sums["share"], observed=sums["observed"] / sums["share"]
    )
