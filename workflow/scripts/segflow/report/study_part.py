"""The part of the report on several data sets together: ranks, tests and means."""

from pathlib import Path
from typing import Any

import pandas as pd

from segflow.evaluation.summaries import ALL, KEYS
from segflow.files.frames import read_frame
from segflow.report.asked import Asked
from segflow.report.findings import own_rows
from segflow.report.page import embed, heat
from segflow.report.tables import SPLITS

RANKED_BY, ALPHA = "dice", 0.05  # see `segflow.evaluation.ranking`, which takes long to load


def describe_study(results: Path, asked: dict[str, Asked]) -> dict[str, Any] | None:
    """Return what the page shows of several data sets together; None of one.

    Parameters
    ----------
    results : Path
        Folder of the run's results.
    asked : dict of str to Asked
        What the run asks of each data set.
    """
    if len(asked) < 2 or not (results / "ranking.csv").exists():
        return None
    titles = next(iter(asked.values())).titles
    ranking = read_frame(results / "ranking.csv", ["split", "predictor", "note"])
    answer, notes, parts = [], [], []
    for split, title in SPLITS.items():
        own = ranking[ranking["split"] == split]
        ranked = own[own["predictor"].notna()]
        if len(ranked):
            answer = answer or answer_over_all(ranked, titles, title)
            notes.append(f"{title}: {_said_of_ranks(ranked, titles)}")
        notes += [f"{title}: {note}." for note in own["note"].dropna()]
        if means := _means(results, asked, split):
            parts.append(
                {
                    "title": title,
                    "ranking": _table_of_ranks(ranked, titles) if len(ranked) else None,
                    "predictors": list(titles.values()),
                    "rows": heat(pd.DataFrame(means).T.reindex(columns=list(titles))),
                }
            )
    picture = embed(results / "ranking.png", "ranks", "Mean ranks and critical differences.")
    return {"answer": answer, "notes": notes, "parts": parts, "picture": picture}


def answer_over_all(ranked: pd.DataFrame, titles: dict[str, str], split: str) -> list[str]:
    """Say which predictor is best over all data sets, and from which ones it differs.

    Parameters
    ----------
    ranked : DataFrame
        The rows of one split of `segflow.evaluation.ranking.rank`, best first.
    titles : dict of str to str
        Titles of predictors.
    split : str
        The split, in words.
    """
    first = ranked.iloc[0]
    best = [
        f"{titles[first['predictor']]} has the best mean rank of {len(ranked)} predictors over "
        f"{first['n_datasets']:.0f} data sets, {split.lower()}: {first['mean_rank']:.2f}."
    ]
    tested = f"Friedman's test over all predictors: p {first['p']:.3g}."
    if not first["p"] < ALPHA:
        return [*best, f"{tested} No difference is shown."]
    others = [(titles[name], first[f"nemenyi_{name}"]) for name in ranked["predictor"].iloc[1:]]
    differing = ", ".join(f"{title} (p {p:.3g})" for title, p in others if p < ALPHA)
    alike = ", ".join(f"{title} (p {p:.3g})" for title, p in others if not p < ALPHA)
    sentences = [f"It differs from {differing}."] if differing else []
    sentences += [f"No difference is shown from {alike}."] if alike else []
    return [*best, " ".join([tested, *sentences, "Pairs are tested after Nemenyi."])]


def _said_of_ranks(ranked: pd.DataFrame, titles: dict[str, str]) -> str:
    first = ranked.iloc[0]
    return (
        f"by mean rank {titles[first['predictor']]} is best. Friedman's test over "
        f"{first['n_datasets']:.0f} data sets gives p = {first['p']:.3g}; mean ranks differ from "
        f"{first['critical_difference']:.2f} on (Nemenyi, 5 %)."
    )


def _table_of_ranks(ranked: pd.DataFrame, titles: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "predictor": ranked["predictor"].map(titles),
            "mean rank": ranked["mean_rank"].map("{:.2f}".format),
            "mean Dice": ranked["mean"].map("{:.3f}".format),
            "data sets": ranked["n_datasets"].map("{:.0f}".format),
        }
    )


def _means(results: Path, asked: dict[str, Asked], split: str) -> dict[str, pd.Series]:
    """Return the mean of each predictor, by the title of each data set that has the split."""
    means = {}
    for name, one in asked.items():
        rows = own_rows(
            read_frame(results / name / "summary.csv", KEYS),
            split=split,
            stage="postprocessed",
            fold=ALL,
            label=ALL,
            metric=RANKED_BY,
        )
        if len(rows):
            means[one.described["title"]] = rows.set_index("predictor")["mean"]
    return means
