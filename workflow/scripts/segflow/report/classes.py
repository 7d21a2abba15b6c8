"""Tables of classifiers for readers: numbers as text, published ones beside those of the run."""

import numpy as np
import pandas as pd

from segflow.evaluation.classification import ALL, MACRO, MICRO, TITLES
from segflow.report.published import published_results
from segflow.report.tables import p_text

OVERALL = ["balanced_accuracy", "accuracy", "brier", "ece"]
READING = (
    "Each class is told from all others together. The predicted class is the one with the largest "
    "probability: no threshold and no weight was chosen on the cases that are counted here. Macro "
    "is the mean over classes; micro counts the decisions on all classes together. Below each "
    "number is its 95 % interval, which takes the group of cases as what is drawn; none with fewer "
    "than five groups of a class, or of the others."
)
POOLED = (
    "Cross-validation: the cases of all folds are counted together, each as the network told it "
    "that was not trained on it. Probabilities of different networks are ranked against each "
    "other in AUC and average precision, which can only lower them; of the class prior, which "
    "differs from fold to fold, they are below chance for this reason alone."
)
BASELINES = (
    "The class prior gives every case the shares of the classes among the training cases of the "
    "fold, the majority class all probability to the most frequent one. Neither looks at an image."
)
SUBGROUPS = (
    "Subgroups: the same measures on the cases of each value of a column of the table of cases, "
    "with intervals of that subgroup by itself. A class without cases has no AUC there, and macro "
    "is the mean over the others. Differences between subgroups are not tested, and small "
    "subgroups differ by chance."
)
COMPARED = (
    "Accuracy: McNemar's exact test asks whether the cases that only one of two classifiers tells "
    "rightly are equally many; where groups have several cases, whole groups change sides. AUC: "
    "the difference over its standard error from resamples of whole groups. Holm's correction is "
    "over all pairs, and classes, of one measure in one split; identical hypotheses count once. "
    "Cells: the difference, its 95 % interval, corrected p and, of accuracy, the cases that only "
    "the first : only the other tells rightly."
)


def published_classes(publications: dict[str, dict], classes: list[str]) -> pd.DataFrame:
    """Return the published results on classes as rows of the summary of classifiers.

    They are those whose label is a class, ``macro`` or ``micro``, and of ``all`` the accuracy.

    Parameters
    ----------
    publications : dict of str to dict
        See `segflow.report.published.published_results`.
    classes : list of str
        Names of the data set's classes.
    """
    found = published_results(publications)
    of_class = found["label"].isin([*classes, MACRO, MICRO])
    overall = (found["label"] == ALL) & (found["metric"] == "accuracy")
    chosen = found[(of_class | overall) & found["metric"].isin(TITLES)]
    chosen = chosen.rename(columns={"label": "class", "mean": "value"})
    return chosen[["predictor", "split", "class", "metric", "value", "published"]]


def class_overview(
    summary: pd.DataFrame, split: str, classes: list[str], titles: dict[str, str]
) -> dict[str, pd.DataFrame]:
    """Show the measures of a split: over all classes, and of each class.

    Parameters
    ----------
    summary : DataFrame
        ``classification_summary.csv``.
    split : str
        ``val`` or ``test``. Published rows without a split are shown with both.
    classes : list of str
        Names of the classes.
    titles : dict of str to str
        Classifiers in their order, with their titles.

    Returns
    -------
    dict of str to DataFrame
        By what they are over; published rows have the index ``published``.
    """
    chosen = summary[summary["split"].isin([split, "unstated"])]
    parts = {"over classes": [MACRO, MICRO, ALL]} | {f"class {name}": [name] for name in classes}
    tables = {}
    for title, names in parts.items():
        part = chosen[chosen["class"].isin(names)]
        rows, kinds = [], []
        ours = part[part["published"].isna()]
        for predictor in titles:
            own = ours[ours["predictor"] == predictor]
            if len(own):
                cells = {_heading(row): _cell(row) for row in own.itertuples()}
                rows.append({"predictor": titles[predictor], "cases": int(own["n"].max())} | cells)
                kinds.append("")
        headings = [name for name in dict.fromkeys(key for row in rows for key in row)]
        theirs = part[part["published"].notna()]
        for (source, model), own in theirs.groupby(["published", "predictor"], sort=False):
            cells = {_heading(row): _cell(row) for row in own.itertuples()}
            rows.append({"predictor": f"{model}\npublished: {source}", "cases": ""} | cells)
            kinds.append("published")
        if rows:
            headings += [key for row in rows for key in row if key not in headings]
            table = pd.DataFrame(rows, index=kinds).reindex(columns=dict.fromkeys(headings))
            tables[title] = table.fillna("")
    return tables


def classes_by_subgroup(
    subgroups: pd.DataFrame, column: str, split: str, classes: list[str], titles: dict[str, str]
) -> pd.DataFrame:
    """Show how well classes are told among the cases of each value of a column of cases.

    Parameters
    ----------
    subgroups : DataFrame
        ``classification_subgroups.csv``.
    column : str
        Which of its subgroups to show.
    split : str
        ``val`` or ``test``.
    classes : list of str
        Names of the classes.
    titles : dict of str to str
        Classifiers in their order, with their titles.

    Returns
    -------
    DataFrame
        One row a classifier and value: the cases of each class, balanced accuracy, and the AUC
        of the mean over classes and of each class; empty without cases.
    """
    chosen = subgroups[(subgroups["subgroup"] == column) & (subgroups["split"] == split)]
    rows = []
    for predictor, title in titles.items():
        for value, own in chosen[chosen["predictor"] == predictor].groupby("of", sort=False):
            keys = zip(own["class"], own["metric"], strict=True)
            cells = dict(zip(keys, own.itertuples(), strict=True))
            counts = [f"{name}: {cells[name, 'auc'].n}" for name in classes]
            row = {"predictor": title, column: value, "cases": "\n".join(counts)}
            row[TITLES["balanced_accuracy"]] = _cell(cells[ALL, "balanced_accuracy"])
            for name in (MACRO, *classes):
                row[f"{TITLES['auc']}\n{name}"] = _cell(cells[name, "auc"])
            rows.append(row)
    return pd.DataFrame(rows)


def class_comparisons(
    comparisons: pd.DataFrame, split: str, titles: dict[str, str]
) -> pd.DataFrame:
    """Show the comparisons of a split, a column for accuracy and for the AUC of each class.

    Parameters
    ----------
    comparisons : DataFrame
        See `segflow.evaluation.classifier_comparisons.compare_classifiers`.
    split : str
        ``val`` or ``test``.
    titles : dict of str to str
        Titles of the classifiers.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in comparisons[comparisons["split"] == split].to_dict("records"):
        pair = f"{titles[row['predictor']]}\nminus {titles[row['other']]}"
        cells = rows.setdefault((row["predictor"], row["other"]), {"predictors": pair})
        cells["cases"] = f"{row['n']}"
        name = TITLES[row["metric"]]
        lines = [_number(row["difference"], "+")]
        if not np.isnan(row["low"]):
            lines.append(f"{_number(row['low'], '+')} to {_number(row['high'], '+')}")
        if not np.isnan(row["p_corrected"]):
            lines.append(p_text(row["p_corrected"]))
        if row["metric"] == "accuracy":
            lines.append(f"{row['first_only']:.0f} : {row['other_only']:.0f}")
        cells[name if row["class"] == ALL else f"{name}\n{row['class']}"] = "\n".join(lines)
    return pd.DataFrame(rows.values())


def _heading(row: tuple) -> str:
    name = TITLES[row.metric]
    return f"{name}\n{row[3]}" if row[3] in (MACRO, MICRO) else name


def _cell(row: tuple) -> str:
    lines = [_number(row.value)]
    if not np.isnan(row.low):
        lines.append(f"{_number(row.low)} to {_number(row.high)}")
    return "\n".join(lines)


def _number(value: float, sign: str = "") -> str:
    return "-" if np.isnan(value) else f"{value:{sign if round(value, 3) else ''}z.3f}"
