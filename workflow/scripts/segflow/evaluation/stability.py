"""How sure the ranks of predictors are: what they would be with other cases."""

import numpy as np
import pandas as pd

from segflow.evaluation.metrics import Metric
from segflow.evaluation.selection import list_candidates, rank
from segflow.evaluation.summaries import SplitMetrics

N_RESAMPLES = 1000


def rank_stability(
    splits: list[SplitMetrics],
    n_members: dict[str, int],
    metric: Metric,
    groups: dict[str, str],
    seed: int,
) -> pd.DataFrame:
    """Rank the predictors again and again, on cases drawn with replacement.

    Whole groups are drawn, and all predictors are ranked on the same draw as
    `segflow.evaluation.selection.rank` does, so that of equal ones the same is always first.

    Parameters
    ----------
    splits : list of SplitMetrics
        One metric of all predictors; see `segflow.evaluation.summaries.arrange`.
    n_members : dict of str to int
        Number of models of each predictor.
    metric : Metric
        The metric.
    groups : dict of str to str
        Group of each case.
    seed : int
        Seed of the draws.

    Returns
    -------
    DataFrame
        One row for each split, stage and predictor, best first: ``rank`` on the cases as they are,
        the mean over resamples, and in ``rank_1``, ``rank_2``, ... the share of resamples, from 0
        to 1, in which it has this rank.

    References
    ----------
    Wiesenfarth et al., Sci Rep 11 (2021) 2369, doi:10.1038/s41598-021-82017-6.
    """
    parts = []
    for split in splits:
        draws = _draw_cases(np.array([groups[case] for case in split.cases]), seed)
        candidates = list_candidates(split, n_members, metric.infinite)
        for stage in split.stages:
            chosen = [one for one in candidates if one.stage == stage]
            names = [one.predictor for one in rank(chosen, slice(None), metric.better)]
            counts = np.zeros((len(names), len(names)), int)
            for cases in draws:
                order = [names.index(one.predictor) for one in rank(chosen, cases, metric.better)]
                counts[order, range(len(names))] += 1
            ranks = np.arange(1, len(names) + 1)
            about = {
                "split": split.split,
                "stage": stage,
                "predictor": names,
                "n_groups": len({groups[case] for case in split.cases}),
                "rank": ranks,
                "mean_rank": counts @ ranks / N_RESAMPLES,
            }
            shares = dict(zip((f"rank_{n}" for n in ranks), counts.T / N_RESAMPLES, strict=True))
            parts.append(pd.DataFrame(about | shares))
    return pd.concat(parts, ignore_index=True)


def _draw_cases(groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return the places of the cases of each resample of whole groups."""
    names, places = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(places == number) for number in range(len(names))]
    drawn = np.random.default_rng([seed, len(names)]).integers(
        len(names), size=(N_RESAMPLES, len(names))
    )
    return [np.concatenate([members[number] for number in resample]) for resample in drawn]
