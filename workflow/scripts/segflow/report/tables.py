"""Tables for readers: numbers as text, published ones beside those of the run.

A cell may have several lines: the number, then what belongs to it. The index of a published row
is the word ``published``.
"""

from itertools import pairwise

import numpy as np
import pandas as pd

from segflow.evaluation.metrics import AREAS, METRICS, VOLUMES, Metric
from segflow.evaluation.summaries import ALL, SplitMetrics
from segflow.files.words import counted
from segflow.images.sizes import at_least, at_most

MAIN = ["dice", "iou", "hd95", "nsd", "boundary_iou", "cldice", "precision", "recall"]
BEFORE_AND_AFTER = ["dice", "iou", "precision"]
SPLITS = {"val": "Cross-validation", "test": "Test cases"}
WHEN = {"raw": ", before post-processing", "postprocessed": ", after post-processing"}
SHOWN = METRICS | {
    "reference_ml": Metric("Reference", "mL", ""),
    "prediction_ml": Metric("Prediction", "mL", ""),
    "reference_mm2": Metric("Reference", "mm²", ""),
    "prediction_mm2": Metric("Prediction", "mm²", ""),
    "auc": Metric("AUC", "", "higher"),  # these two only in published results
    "pseudo_dice": Metric("Pseudo Dice", "", "higher"),
}
READING = (
    "Mean ± standard deviation over cases, and the 95 % interval of the mean (bootstrap-t, whole "
    "groups drawn: the cases of a patient, or near-duplicates; none with fewer than five groups). "
    "Every case counts the same; where a group has several, the mean over groups stands below, in "
    "which every group does, as in the paired comparisons. The label all is the mean over the "
    "labels of each case. Cells say how many values are infinite or undefined."
)
CHANGE = (
    "The change is the mean of the differences of cases, with its 95 % interval. Where both masks "
    "are empty only before or only after, Dice and IoU count as 1 there. Post-processing was "
    "chosen on the cross-validation predictions: only the test cases show its gain without "
    "optimism."
)
AGREEMENT = (
    "Volumes: the bias is the mean of prediction minus reference, with its 95 % interval; between "
    "the limits of agreement (Bland and Altman) lie 95 % of the differences of new cases, if they "
    "are about normal. The picture beside this page shows whether they are."
)
DETECTION = (
    "Detection: lesions of all cases are counted together, and cases in which a structure is "
    "predicted where it is (sensitivity) and not predicted where it is not (specificity). "
    "Intervals are Wilson's, in which the trials of one group count as fewer."
)
PUBLISHED = (
    "Rows marked as published are other people's numbers, for orientation: other cases, splits "
    "and definitions may be behind them. They are in none of our statistics."
)


def infinite_note() -> str:
    """Say what the cells of metrics hold that may be infinite."""
    names = [metric.title for metric in METRICS.values() if metric.infinite]
    return (
        f"{', '.join(names)} may be infinite (a distance, if exactly one of the two masks is "
        "empty; the relative difference, if the reference is), and a mean over what is finite "
        "looks better the more is missed. So their first number is the median over all cases with "
        "its quartiles, infinite ones counted; then come, for distances, the penalised mean with "
        "its interval, and the mean over the finite values with their number. Published values "
        "are means."
    )


def penalty_note(penalty_mm: float | None) -> str:
    """Say what an infinite distance counts as in a penalised mean."""
    most = f"{penalty_mm} mm" if penalty_mm else "the diagonal of the case's image"
    return f"In a penalised mean an infinite distance counts as {most}, and none counts as more."


def left_out(regions: list[str]) -> list[str]:
    """Say which evaluated regions the mean over labels leaves out, if there are any."""
    return [f"No part of the label {ALL}: {', '.join(regions)}."] if regions else []


def heading(metric: str) -> str:
    """Return the title of a metric with its unit."""
    shown = SHOWN[metric]
    return f"{shown.title} ({shown.unit})" if shown.unit else shown.title


def number(value: float, metric: str, sign: str = "") -> str:
    """Return a value of a metric as text: three decimals of a share, two of what has a unit."""
    if np.isnan(value):
        return "-"
    decimals = 2 if SHOWN[metric].unit else 3
    return f"{value:{sign if round(value, decimals) else ''}z.{decimals}f}"


def overview(
    summary: pd.DataFrame, split: str, metrics: list[str], titles: dict[str, str]
) -> pd.DataFrame:
    """Show the results of a split after post-processing, a column for each metric.

    Parameters
    ----------
    summary : DataFrame
        See `segflow.evaluation.summaries.summarise`, with published rows
        (`segflow.report.published`).
    split : str
        ``val`` or ``test``. Published rows without a split are shown with both.
    metrics : list of str
        Metrics to show; those without any value are left out.
    titles : dict of str to str
        Predictors in their order, with their titles.
    """
    ours, published = _parts(summary)
    ours = ours[(ours["split"] == split) & (ours["stage"] == "postprocessed")]
    published = published[published["split"].isin([split, "unstated"])]
    shown = [
        name
        for name in metrics
        if ours.loc[ours["metric"] == name, "n"].sum() > 0 or (published["metric"] == name).any()
    ]
    rows, kinds = [], []
    cells = {(row.predictor, row.label, row.metric): row for row in ours.itertuples()}
    for predictor, label in _rows_of(ours, titles):
        found = {name: cells.get((predictor, label, name)) for name in shown}
        some = next(filter(None, found.values()))
        rows.append(
            {"predictor": titles[predictor], "label": label, "cases": some.n + some.n_undefined}
            | {heading(name): _summary_cell(row) for name, row in found.items()}
        )
        kinds.append("")
    keys = ["published", "predictor", "stage", "label"]
    for (source, name, stage, label), part in published.groupby(keys, sort=False):
        lines = [name + WHEN.get(stage, ""), f"published: {source}"]
        lines += [part["note"].iloc[0]] if part["note"].iloc[0] else []
        values = {
            row.metric: "mean " * SHOWN[row.metric].infinite + _mean_and_sd(row)
            for row in part.itertuples()
        }
        if values.keys() & set(shown):
            rows.append(
                {"predictor": "\n".join(lines), "label": label, "cases": ""}
                | {heading(n): values.get(n, "") for n in shown}
            )
            kinds.append("published")
    return pd.DataFrame(rows, index=kinds)


def by_subgroup(
    subgroups: pd.DataFrame, column: str, split: str, titles: dict[str, str]
) -> pd.DataFrame:
    """Show the main metrics of each value of a column of cases, after post-processing.

    Parameters
    ----------
    subgroups : DataFrame
        See `segflow.evaluation.subgroups.summarise_subgroups`.
    column : str
        Which of its subgroups to show.
    split : str
        ``val`` or ``test``.
    titles : dict of str to str
        Predictors in their order, with their titles.
    """
    chosen = subgroups[subgroups["subgroup"] == column].assign(fold=ALL, published=np.nan)
    parts = []
    for value, summary in chosen.groupby("value", sort=False):
        part = overview(summary, split, MAIN, titles)
        if len(part):
            part.insert(2, column, value)
            parts.append(part.reset_index(drop=True))
    if not parts:
        return pd.DataFrame()
    return pd.concat(parts).sort_index(kind="stable").fillna("-").reset_index(drop=True)


def before_and_after(
    summary: pd.DataFrame, changes: pd.DataFrame, split: str, titles: dict[str, str]
) -> pd.DataFrame:
    """Set the stages before and after post-processing side by side.

    Parameters
    ----------
    summary : DataFrame
        See `segflow.evaluation.summaries.summarise`.
    changes : DataFrame
        See `segflow.evaluation.comparisons.changes`.
    split : str
        ``val`` or ``test``.
    titles : dict of str to str
        Predictors in their order, with their titles.
    """
    ours = _parts(summary)[0]
    ours = ours[ours["split"] == split]
    cells = {(r.predictor, r.label, r.metric, r.stage): r for r in ours.itertuples()}
    changed = {
        (r.predictor, r.label, r.metric): r for r in changes[changes["split"] == split].itertuples()
    }
    rows = []
    for predictor, label in _rows_of(ours, titles):
        row = {"predictor": titles[predictor], "label": label}
        for name in BEFORE_AND_AFTER:
            change = changed[predictor, label, name]
            before, after = (
                _summary_cell(cells[predictor, label, name, stage])
                for stage in ("raw", "postprocessed")
            )
            title = heading(name)
            row |= {f"{title}\nbefore": before, f"{title}\nafter": after}
            row[f"{title}\nchange"] = "\n".join(
                [number(change.mean, name, "+"), *_interval(change, name, "+")]
            )
        rows.append(row)
    return pd.DataFrame(rows)


def bands(split: SplitMetrics, rule: dict, titles: dict[str, str]) -> pd.DataFrame:
    """Count the cases in bands of a metric, after post-processing.

    Parameters
    ----------
    split : SplitMetrics
        The metrics of one split.
    rule : dict
        ``metric``, and ``limits``: the lower end of each band but the last, ``poor``. The best
        band is what is above its limit; the others hold theirs.
    titles : dict of str to str
        Predictors in their order, with their titles.
    """
    names, limits = zip(*sorted(rule["limits"].items(), key=lambda item: -item[1]), strict=True)
    ends = [f"> {limits[0]:.2f}"]
    ends += [f"{low:.2f} to {high:.2f}" for high, low in pairwise(limits)]
    columns = [f"{name} ({end})" for name, end in zip(names, ends, strict=True)]
    columns += [f"poor (< {limits[-1]:.2f})", "undefined"]
    metric, stage = split.metrics.index(rule["metric"]), split.stages.index("postprocessed")
    rows = []
    for predictor in filter(split.predictors.__contains__, titles):
        for place, label in enumerate(split.labels):
            values = split.values[split.predictors.index(predictor), stage, :, place, metric]
            band = at_most(values, limits[0]).astype(int)
            band += sum((~at_least(values, limit)).astype(int) for limit in limits[1:])
            band[np.isnan(values)] = len(limits) + 1
            counts = np.bincount(band, minlength=len(limits) + 2)
            shares = [f"{n} ({n / len(values):.0%})" for n in counts]
            rows.append(
                {"predictor": titles[predictor], "label": label, "cases": len(values)}
                | dict(zip(columns, shares, strict=True))
            )
    return pd.DataFrame(rows)


def agreed(agreement: pd.DataFrame, split: str, titles: dict[str, str]) -> pd.DataFrame:
    """Show bias and limits of agreement of the volumes of a split, after post-processing.

    Parameters
    ----------
    agreement : DataFrame
        See `segflow.evaluation.agreement.volume_agreement`.
    split : str
        ``val`` or ``test``.
    titles : dict of str to str
        Predictors in their order, with their titles.
    """
    rows = []
    for row in _of_split(agreement, split, titles):
        name = AREAS[0] if row.unit == SHOWN[AREAS[0]].unit else VOLUMES[0]
        limits = f"{number(row.limit_low, name, '+')} to {number(row.limit_high, name, '+')}"
        rows.append(
            {
                "predictor": titles[row.predictor],
                "label": row.label,
                "cases": row.n,
                f"Mean reference ({row.unit})": number(row.mean_reference, name),
                f"Bias ({row.unit})": "\n".join(
                    [number(row.bias, name, "+"), *_interval(row, name, "+")]
                ),
                f"Limits of agreement ({row.unit})": "-" if np.isnan(row.sd) else limits,
            }
        )
    return pd.DataFrame(rows)


def detected_lesions(detection: pd.DataFrame, split: str, titles: dict[str, str]) -> pd.DataFrame:
    """Show how many lesions of a split are found and made up, after post-processing.

    Parameters
    ----------
    detection : DataFrame
        See `segflow.evaluation.detection.lesion_detection`.
    split : str
        ``val`` or ``test``.
    titles : dict of str to str
        Predictors in their order, with their titles.
    """
    return pd.DataFrame(
        {
            "predictor": titles[row.predictor],
            "label": row.label,
            "cases": row.n_cases,
            "Sensitivity": _rate_cell(row, "sensitivity", row.n_found, row.n_reference),
            "Precision": _rate_cell(row, "precision", row.n_found, row.n_prediction),
            "False positives per case": _rate_cell(row, "false_positives_per_case"),
        }
        for row in _of_split(detection, split, titles)
    )


def detected_structures(
    detection: pd.DataFrame, split: str, titles: dict[str, str]
) -> pd.DataFrame:
    """Show in how many cases of a split structures are found, and rightly left out.

    After post-processing. Labels that every case has, and every predictor finds, are left out.

    Parameters
    ----------
    detection : DataFrame
        See `segflow.evaluation.detection.structure_detection`.
    split : str
        ``val`` or ``test``.
    titles : dict of str to str
        Predictors in their order, with their titles.
    """
    rows = _of_split(detection, split, titles)
    shown = {row.label for row in rows if row.n_absent or row.n_found < row.n_present}
    return pd.DataFrame(
        {
            "predictor": titles[row.predictor],
            "label": row.label,
            "cases": row.n_present + row.n_absent,
            "Sensitivity": _rate_cell(row, "sensitivity", row.n_found, row.n_present),
            "Specificity": _rate_cell(row, "specificity", row.n_left_out, row.n_absent),
        }
        for row in rows
        if row.label in shown
    )


def compared(comparisons: pd.DataFrame, split: str, titles: dict[str, str]) -> pd.DataFrame:
    """Show the comparisons of a split after post-processing, a column for each metric.

    Parameters
    ----------
    comparisons : DataFrame
        See `segflow.evaluation.comparisons.compare`.
    split : str
        ``val`` or ``test``.
    titles : dict of str to str
        Titles of the predictors.
    """
    chosen = comparisons[
        (comparisons["split"] == split) & (comparisons["stage"] == "postprocessed")
    ]
    labels = [label for label in dict.fromkeys(chosen["label"]) if label != ALL]
    if len(labels) == 1:  # `all` would say the same again
        chosen = chosen[chosen["label"] != ALL]
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row in chosen.itertuples():
        pair = f"{titles[row.predictor]}\nminus {titles[row.other]}"
        cells = rows.setdefault((row.predictor, row.other, row.label), {})
        cells |= {"predictors": pair, "label": row.label}
        if np.isnan(row.p):
            cells[heading(row.metric)] = "-"
            continue
        lines = [
            number(row.hodges_lehmann, row.metric, "+"),
            *_interval(row, row.metric, "+"),
            f"median {number(row.median_difference, row.metric, '+')}",
        ]
        if not np.isnan(row.penalised_difference):
            lines.append(f"penalised mean {number(row.penalised_difference, row.metric, '+')}")
        lines += [
            f"{p_text(row.p_corrected)}, r {row.effect_size:+.2f}",
            f"{row.wins} : {row.ties} : {row.losses}",
        ]
        cells[heading(row.metric)] = "\n".join(lines)
    return pd.DataFrame(rows.values())


def p_text(p: float) -> str:
    """Return a p-value as people read it."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def one_line(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose cells have one line, for formats that know no other."""

    def joined(cell: object) -> object:
        if not isinstance(cell, str) or "\n" not in cell:
            return cell
        first, *rest = cell.split("\n")
        return f"{first} ({'; '.join(rest)})"

    return table.map(joined).rename(columns=lambda name: name.replace("\n", " "))


def _parts(summary: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return our rows over all folds, without what one label says twice, and the published ones."""
    ours = summary[summary["published"].isna() & (summary["fold"] == ALL)]
    if (ours["label"] != ALL).any() and ours.loc[ours["label"] != ALL, "label"].nunique() == 1:
        ours = ours[ours["label"] != ALL]
    return ours, summary[summary["published"].notna()]


def _rows_of(ours: pd.DataFrame, titles: dict[str, str]) -> list[tuple[str, str]]:
    """Return predictors that have rows, in the order of their titles, with each label."""
    labels = list(dict.fromkeys(ours["label"]))
    known = set(ours["predictor"])
    return [(predictor, label) for predictor in titles if predictor in known for label in labels]


def _of_split(table: pd.DataFrame, split: str, titles: dict[str, str]) -> list[tuple]:
    """Return the rows of a split after post-processing, predictors in the order of their titles."""
    chosen = table[(table["split"] == split) & (table["stage"] == "postprocessed")]
    return [
        row for predictor in titles for row in chosen[chosen["predictor"] == predictor].itertuples()
    ]


def _rate_cell(row: tuple, name: str, some: int = 0, total: int | None = None) -> str:
    """Return a rate with its interval and, if there is a `total`, what it is made from."""
    value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    lines = [number(value, "recall")]
    lines += [] if np.isnan(low) else [f"{number(low, 'recall')} to {number(high, 'recall')}"]
    return "\n".join([*lines, *([f"{some} of {total}"] if total is not None else [])])


def _mean_and_sd(row: tuple) -> str:
    mean = number(row.mean, row.metric)
    return mean if np.isnan(row.sd) else f"{mean} ± {number(row.sd, row.metric)}"


def _interval(row: tuple, metric: str, sign: str = "") -> list[str]:
    if np.isnan(row.ci_low):
        return []
    return [f"{number(row.ci_low, metric, sign)} to {number(row.ci_high, metric, sign)}"]


def _summary_cell(row: tuple | None) -> str:
    if row is None or row.n == 0:
        return "-"
    lines = [_mean_and_sd(row), *_interval(row, row.metric)]
    if SHOWN[row.metric].infinite:
        median, q1, q3 = (number(value, row.metric) for value in (row.median, row.q1, row.q3))
        penalised = f"penalised mean {number(row.penalised_mean, row.metric)}"
        lines = [f"{median} ({q1} to {q3})"]
        if not np.isnan(row.penalised_mean):
            lines.append(", ".join([penalised, *_interval(row, row.metric)]))
        if row.n_finite:
            lines.append(f"mean of {row.n_finite} finite {_mean_and_sd(row)}")
    if row.n_groups < row.n and not np.isnan(row.group_mean):
        lines.append(f"of {counted(row.n_groups, 'group')} {number(row.group_mean, row.metric)}")
    counts = [(row.n_infinite, "infinite"), (row.n_undefined, "undefined")]
    return "\n".join([*lines, *(f"{count} {word}" for count, word in counts if count)])
