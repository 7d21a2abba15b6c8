"""Which cases a reader looks at first."""

import pandas as pd


def three_cases(
    metrics: pd.DataFrame, split: str, labels: list[str]
) -> dict[str, tuple[str, float]]:
    """Return the best, a median and the worst case of a predictor, after post-processing.

    Parameters
    ----------
    metrics : DataFrame
        The ``metrics.csv`` of the predictor.
    split : str
        ``val`` or ``test``.
    labels : list of str
        Labels over which the Dice of a case is averaged.

    Returns
    -------
    dict of str to (str, float)
        Name and Dice of the case by what it is; empty if no case has a reference.
    """
    chosen = (metrics["split"] == split) & (metrics["stage"] == "postprocessed")
    table = metrics[chosen & metrics["label"].isin(labels)]
    ranking = table.groupby("case")["dice"].mean().dropna().sort_values(kind="stable")
    if ranking.empty:
        return {}
    places = {"best": len(ranking) - 1, "median": len(ranking) // 2, "worst": 0}
    return {name: (ranking.index[at], float(ranking.iloc[at])) for name, at in places.items()}
