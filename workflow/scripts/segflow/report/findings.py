"""What a reader is to know first: the answer in sentences, and what to be wary of.

Everything is read from tables of the run; no number is computed here.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from segflow.datasets.sources import Problem
from segflow.evaluation.classification import MACRO
from segflow.evaluation.metrics import METRICS
from segflow.evaluation.summaries import ALL
from segflow.files.words import counted, enumerate_some
from segflow.report.tables import SPLITS, heading, number, p_text

STAGES = {"raw": "before post-processing", "postprocessed": "after post-processing"}
LEVEL = 0.05  # below which a corrected p shows a difference
SHOWN = 3  # published results in a sentence
ELSEWHERE = "They come from other cases or splits, so that no test compares them with ours."


class Warned(NamedTuple):
    """Something to be wary of: how much, what it is, and where more is said."""

    level: str  # "bad" makes numbers doubtful, "note" is worth knowing
    text: str
    section: str


def own_rows(summary: pd.DataFrame, **chosen: str) -> pd.DataFrame:
    """Return the rows of a summary that are ours and have these values."""
    kept = summary["published"].isna()
    for name, value in chosen.items():
        kept &= summary[name] == value
    return summary[kept]


def estimate(row: pd.Series, metric: str) -> str:
    """Return the number by which a metric is judged, with its interval and the cases behind it."""
    infinite = METRICS[metric].infinite
    value = number(row["median" if infinite else "mean"], metric)
    unit = f" {METRICS[metric].unit}" if METRICS[metric].unit else ""
    beside = []
    if infinite:
        beside.append(f"quartiles {number(row['q1'], metric)} to {number(row['q3'], metric)}")
    elif not np.isnan(row["ci_low"]):
        low, high = (number(row[end], metric) for end in ("ci_low", "ci_high"))
        beside.append(f"95 % interval {low} to {high}")
    beside.append(counted(int(row["n"]), "case"))
    counts = {kind: int(row[f"n_{kind}"]) for kind in ("undefined", "infinite")}
    beside += [f"{count} {kind}" for kind, count in counts.items() if count]
    return f"{value}{unit} ({', '.join(beside)})"


def answer(
    best: dict[str, Any], summary: pd.DataFrame, comparisons: pd.DataFrame, titles: dict[str, str]
) -> list[str]:
    """Say in sentences which predictor is best, how good it is, and against what.

    Parameters
    ----------
    best : dict
        ``best.json``; see `segflow.evaluation.selection.select_predictor`.
    summary, comparisons : DataFrame
        ``summary.csv``, published rows included, and ``comparisons.csv``.
    titles : dict of str to str
        Titles of the predictors.

    Returns
    -------
    list of str
        The answer; then the test cases, the next predictor with the test, and published results,
        where there are any.
    """
    metric, chosen = best["metric"], {"predictor": best["predictor"], "stage": best["stage"]}
    figure = "median" if METRICS[metric].infinite else "mean"
    title = METRICS[metric].title
    rows = own_rows(summary, fold=ALL, label=ALL, metric=metric, **chosen)
    by_split = {row["split"]: row for _, row in rows.iterrows()}
    n_candidates = len({row["predictor"] for row in best["ranking"]})
    among = f" of {n_candidates} predictors" if n_candidates > 1 else ""
    what = f"{titles[best['predictor']]}, {STAGES[best['stage']]}"
    sentences = []
    if "val" in by_split:
        found = estimate(by_split["val"], metric)
        sentences.append(f"{what}, has the best {figure} {title}{among}: {found}, cross-validated.")
    else:
        sentences.append(f"{what}: no validation case has a reference.")
    if "test" in by_split:
        found = estimate(by_split["test"], metric)
        sentences.append(f"On the test cases, which had no part in any choice: {found}.")
    following = next((r for r in best["ranking"] if r["predictor"] != best["predictor"]), None)
    if following is not None:
        sentences.append(_against(best, following, comparisons, titles))
    if published := _published(summary, metric):
        sentences.append(published)
    return sentences


def answer_classes(summary: pd.DataFrame, titles: dict[str, str]) -> list[str]:
    """Say in sentences which classifier is best, how good it is, and against what.

    Parameters
    ----------
    summary : DataFrame
        ``classification_summary.csv``, published rows included.
    titles : dict of str to str
        Titles of the classifiers, baselines included.

    Returns
    -------
    list of str
        The answer, by the macro AUC of the validation cases, of test cases where no classifier has
        validation cases; then the test cases, and published results, where there are any.
    """
    rows = summary[(summary["class"] == MACRO) & (summary["metric"] == "auc")]
    own = rows[rows["published"].isna() & rows["value"].notna()]
    if own.empty:
        return ["No AUC is defined: too few classes have cases."]
    judged_by = next(split for split in SPLITS if (own["split"] == split).any())
    ranked = own[own["split"] == judged_by].sort_values("value", ascending=False, kind="stable")
    best = ranked.iloc[0]
    where = "cross-validated" if judged_by == "val" else "on the test cases"
    sentences = [
        f"{titles[best['predictor']]} has the best macro AUC of "
        f"{counted(len(ranked), 'classifier')}, baselines included: {_of_class(best)}, {where}."
    ]
    test = own[(own["split"] == "test") & (own["predictor"] == best["predictor"])]
    if judged_by == "val" and len(test):
        sentences.append(
            f"On the test cases, which had no part in any choice: {_of_class(test.iloc[0])}."
        )
    if len(ranked) > 1:
        following = ranked.iloc[1]
        sentences.append(
            f"Next is {titles[following['predictor']]}: {_of_class(following)}. Tests of all pairs "
            "are below."
        )
    theirs = rows[rows["published"].notna()].sort_values("value", ascending=False, kind="stable")
    if len(theirs):
        names = [f"{row.predictor} {row.value:.3f}" for row in theirs[:SHOWN].itertuples()]
        sentences.append(f"Published macro AUC: {'; '.join(names)}. {ELSEWHERE}")
    return sentences


def _of_class(row: pd.Series) -> str:
    beside = [counted(int(row["n"]), "case")]
    if not np.isnan(row["low"]):
        beside.insert(0, f"95 % interval {row['low']:.3f} to {row['high']:.3f}")
    return f"{row['value']:.3f} ({', '.join(beside)})"


def _against(
    best: dict[str, Any], following: dict[str, Any], comparisons: pd.DataFrame, titles: dict
) -> str:
    """Compare the best predictor with the next one, by the test of `comparisons`."""
    metric = best["metric"]
    figure = "median" if METRICS[metric].infinite else "mean"
    value = following[figure]
    text = f"Next is {titles[following['predictor']]}, {STAGES[following['stage']]}"
    text += f": {number(np.nan if value is None else value, metric)}. "
    pair = {best["predictor"], following["predictor"]}
    rows = comparisons[
        (comparisons["split"] == "val")
        & (comparisons["stage"] == best["stage"])
        & (comparisons["metric"] == metric)
        & (comparisons["label"] == ALL)
        & comparisons["predictor"].isin(pair)
        & comparisons["other"].isin(pair)
    ]
    if rows.empty or np.isnan(rows.iloc[0]["p_corrected"]):
        return text + "There are too few cases for a test of the difference."
    row = rows.iloc[0]
    values = [row["hodges_lehmann"], row["ci_low"], row["ci_high"]]
    if row["predictor"] != best["predictor"]:
        values = [-values[0], -values[2], -values[1]]
    middle, low, high = (number(value, metric, "+") for value in values)
    shown = "a difference is shown" if row["p_corrected"] < LEVEL else "no difference is shown"
    interval = f", 95 % interval {low} to {high}" if not np.isnan(values[1]) else ""
    return text + (
        f"Case by case, both {STAGES[best['stage']]}, the difference is {middle} "
        f"(Hodges-Lehmann{interval}; {counted(int(row['n_groups']), 'group')} of cases): {shown} "
        f"(Wilcoxon's signed-rank test, {p_text(row['p_corrected'])} after Holm's correction)."
    )


def _published(summary: pd.DataFrame, metric: str) -> str:
    """Name the published results of a metric, best first."""
    labels = {*own_rows(summary, fold=ALL)["label"]} - {ALL}
    judged = {ALL, *labels} if len(labels) == 1 else {ALL}
    rows = summary[
        summary["published"].notna() & (summary["metric"] == metric) & summary["label"].isin(judged)
    ]
    if rows.empty:
        return ""
    rows = rows.sort_values("mean", ascending=METRICS[metric].better == "lower", kind="stable")
    names = [
        f"{row.predictor} {number(row.mean, metric)}{_where(row.split)}"
        f"{' (impossible beside its other numbers)' if row.note else ''}"
        for row in rows[:SHOWN].itertuples()
    ]
    more = f", and {len(rows) - SHOWN} lower" if METRICS[metric].better == "higher" else ""
    more = more if len(rows) > SHOWN else ""
    return f"Published {METRICS[metric].title}: {'; '.join(names)}{more}. {ELSEWHERE}"


def _where(split: str) -> str:
    return {"val": " in cross-validation", "test": " on test cases"}.get(split, "")


def early_warnings(
    problems: list[Problem],
    splits: pd.DataFrame,
    trainings: dict[tuple[str, str], dict],
    duplicates: pd.DataFrame | None,
    titles: dict[str, str],
) -> list[Warned]:
    """Return what to be wary of in data and trainings; see `warnings`."""
    return [*_of_data(problems, splits, duplicates), *_of_trainings(trainings, titles)]


def warnings(
    best: dict[str, Any],
    summary: pd.DataFrame,
    detection: pd.DataFrame,
    problems: list[Problem],
    splits: pd.DataFrame,
    trainings: dict[tuple[str, str], dict],
    duplicates: pd.DataFrame | None,
    titles: dict[str, str],
) -> list[Warned]:
    """Return what to be wary of in the results of a data set.

    Parameters
    ----------
    best : dict
        ``best.json``.
    summary, detection, splits : DataFrame
        ``summary.csv``, ``structure_detection.csv`` and ``splits.csv``.
    problems : list of Problem
        ``problems.csv``.
    trainings : dict of (str, str) to dict
        ``training.json`` by model and fold.
    duplicates : DataFrame or None
        ``near_duplicates.csv``, if the data set asks for it.
    titles : dict of str to str
        Titles of the predictors.
    """
    return [
        *early_warnings(problems, splits, trainings, duplicates, titles),
        *_of_cases(best, summary, detection),
        *_of_folds(best, summary, titles),
        *_of_publications(summary),
    ]


def _of_data(
    problems: list[Problem], splits: pd.DataFrame, duplicates: pd.DataFrame | None
) -> list[Warned]:
    found = []
    leaks = [problem for problem in problems if problem.severity == "leak"]
    kept = [leak for leak in leaks if "instead" not in leak.action]
    if kept:
        text = f"{counted(len(kept), 'leak')} between parts stayed in: {kept[0].problem}"
        found.append(Warned("bad", text + (", ..." if len(kept) > 1 else ""), "data"))
    if len(leaks) > len(kept):
        n_mended = len(leaks) - len(kept)
        text = f"The published split has {counted(n_mended, 'leak')}; here groups stay together."
        found.append(Warned("note", text, "data"))
    if duplicates is not None and len(duplicates):
        against = int((duplicates["contradicts"].astype(str) == "True").sum())
        text = f"{counted(len(duplicates), 'pair')} of nearly equal images, kept in one group each"
        text += f"; {against} with different classes" if against else ""
        found.append(Warned("bad" if against else "note", f"{text}.", "data"))
    excluded = [problem for problem in problems if problem.severity == "error"]
    if excluded:
        found.append(
            Warned("bad", f"{counted(len(excluded), 'case')} could not be converted.", "data")
        )
    for row in splits[splits["lacks"].notna()].itertuples():
        text = f"Fold {row.fold} has no {row.lacks} in its {row.part} part."
        found.append(Warned("bad", text, "data"))
    return found


def _of_trainings(trainings: dict[tuple[str, str], dict], titles: dict[str, str]) -> list[Warned]:
    collapsed: dict[str, list[str]] = {}
    for (model, fold), facts in trainings.items():
        if facts.get("collapsed"):
            collapsed.setdefault(model, []).append(fold)
    return [
        Warned(
            "bad",
            f"{titles[model]}: the training of classes collapsed in fold "
            f"{enumerate_some(folds)}: one class only is told.",
            "training",
        )
        for model, folds in collapsed.items()
    ]


def _of_cases(best: dict[str, Any], summary: pd.DataFrame, detection: pd.DataFrame) -> list[Warned]:
    found = []
    rows = detection[
        (detection["predictor"] == best["predictor"]) & (detection["stage"] == best["stage"])
    ]
    for row in rows.itertuples():
        missed, made_up = int(row.n_present - row.n_found), int(row.n_absent - row.n_left_out)
        said = []
        if missed:
            there = counted(int(row.n_present), "case")
            said.append(f"misses {row.label} wholly in {missed} of {there} that have it")
        if made_up:
            absent = counted(int(row.n_absent), "case")
            said.append(f"sees it in {made_up} of {absent} without {row.label}")
        if said:
            text = f"{SPLITS[row.split]}: the best predictor {' and '.join(said)}."
            found.append(Warned("bad", text, "cases"))
    judged = own_rows(summary, fold=ALL, label=ALL, metric=best["metric"], split="val")
    if len(judged) and (judged["n_groups"] < 5).all():
        text = "Fewer than five groups of cases: no mean has an interval."
        found.append(Warned("note", text, "comparison"))
    return found


def _of_folds(best: dict[str, Any], summary: pd.DataFrame, titles: dict[str, str]) -> list[Warned]:
    """Warn of folds whose median lies outside the middle half of all cases, or that disagree."""
    found = []
    metric = best["metric"]
    chosen = {"predictor": best["predictor"], "stage": best["stage"], "split": "val"}
    rows = own_rows(summary, label=ALL, metric=metric, **chosen)
    whole = rows[rows["fold"] == ALL]
    for row in rows[rows["fold"] != ALL].itertuples() if len(whole) else ():
        low, high = whole.iloc[0][["q1", "q3"]]
        if row.median < low or row.median > high:
            text = (
                f"Fold {row.fold} differs: its median {heading(metric)} of "
                f"{number(row.median, metric)} lies outside the middle half of all validation "
                f"cases, {number(low, metric)} to {number(high, metric)}."
            )
            found.append(Warned("bad", text, "comparison"))
    others = {}
    for fold, choice in ((best.get("cross_fitted") or {}).get("choices") or {}).items():
        if (choice["predictor"], choice["stage"]) != (best["predictor"], best["stage"]):
            others[fold] = f"{titles[choice['predictor']]}, {STAGES[choice['stage']]}"
    if others:
        text = "; ".join(f"without fold {fold} it is {name}" for fold, name in others.items())
        found.append(
            Warned("note", f"Which predictor is best depends on the folds: {text}.", "cases")
        )
    return found


def _of_publications(summary: pd.DataFrame) -> list[Warned]:
    notes = summary[summary["note"] != ""].drop_duplicates(["predictor", "published"])
    if notes.empty:
        return []
    names = enumerate_some(notes["predictor"])
    text = f"Published numbers that contradict each other: {names}. See the results."
    return [Warned("note", text, "comparison")]
