"""FROC: the share of lesions that are found against what is made up in a case.

A label map has one operating point. What is more comes from the probabilities: components of what
is likely enough are candidates, each with a score; a threshold on the scores makes a point.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from segflow.evaluation.bootstrap import CONFIDENCE, MIN_GROUPS, draw_few_counts

POINTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives per case
MEAN = "mean"
KEYS = ["predictor", "split", "label"]
COLUMNS = [
    *KEYS,
    *("n_cases", "n_groups", "n_reference", "n_candidates", "false_positives_per_case"),
    *("threshold", "sensitivity", "sensitivity_low", "sensitivity_high"),
]
CURVE = [*KEYS, "threshold", "false_positives_per_case", "sensitivity"]


def froc(
    candidates: pd.DataFrame, references: pd.DataFrame, groups: dict[str, str], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return sensitivities at given numbers of false positives per case, and whole curves.

    Parameters
    ----------
    candidates : DataFrame
        One row for each candidate, with `KEYS`, ``case``, ``score`` and ``found``.
    references : DataFrame
        One row for each case, with `KEYS`, ``case`` and ``n_reference``, its lesions.
    groups : dict of str to str
        Group of each case.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    points : DataFrame
        One row for each predictor, split, label and number of false positives per case (`POINTS`),
        and one whose number is ``mean``, for the mean of the seven sensitivities. The sensitivity
        is the largest of all thresholds with no more false positives, all cases counted together;
        0 if every threshold has more. ``threshold`` is the least score of the candidates that count
        there. The ends are those of 95 % percentile intervals over resamples of whole groups; NaN
        if fewer than five groups have a lesion.
    curves : DataFrame
        False positives per case and sensitivity for each score, from the best on.

    References
    ----------
    Chakraborty, Acad Radiol 20 (2013) 915-919, doi:10.1016/j.acra.2013.03.001, for FROC; Setio et
    al., Med Image Anal 42 (2017) 1-13, doi:10.1016/j.media.2017.06.015, for the seven points.
    """
    rows, parts = [], [pd.DataFrame(columns=CURVE)]
    for names, cases in references.groupby(KEYS, sort=False):
        about = dict(zip(KEYS, names, strict=True))
        own = candidates[(candidates[KEYS] == pd.Series(about)).all(axis=1)]
        own = own.sort_values("score", ascending=False, kind="stable")
        of_case = cases["case"].map(groups)
        known, of_row = np.unique(of_case, return_inverse=True)
        # Cases and lesions of each group, and the group of each candidate.
        n_cases = np.bincount(of_row)
        n_lesions = np.bincount(of_row, cases["n_reference"])
        of_candidate = np.searchsorted(known, own["case"].map(groups))
        hits, score = own["found"].to_numpy(bool), own["score"].to_numpy(float)
        ends = np.flatnonzero(np.diff(score, append=-1.0))
        counts = _Counts(n_cases, n_lesions, of_candidate, hits, ends)
        true, false = counts.sums(np.ones((1, len(known))))
        sensitivity, places = counts.at_points(np.ones((1, len(known))))
        low, high = _intervals(counts, seed)
        about_all = {
            "n_cases": int(n_cases.sum()),
            "n_groups": len(known),
            "n_reference": int(n_lesions.sum()),
            "n_candidates": len(own),
        }
        thresholds = [score[ends[place - 1]] if place else np.nan for place in places[0]]
        for number, point in enumerate([*POINTS, MEAN]):
            values = [point, [*thresholds, np.nan][number], sensitivity[0, number]]
            values += [low[number], high[number]]
            rows.append(about | about_all | dict(zip(COLUMNS[7:], values, strict=True)))
        if len(ends) and n_lesions.any():
            points = {
                "threshold": score[ends],
                "false_positives_per_case": false[0] / n_cases.sum(),
                "sensitivity": true[0] / n_lesions.sum(),
            }
            parts.append(pd.DataFrame(about | points))
    curves = pd.concat(parts[1:], ignore_index=True) if parts[1:] else parts[0]
    return pd.DataFrame(rows, columns=COLUMNS), curves


@dataclass(frozen=True)
class _Counts:
    """Cases and lesions of each group, and candidates in the order of their scores.

    ``ends`` are the places of the last candidate of each score.
    """

    n_cases: np.ndarray
    n_lesions: np.ndarray
    of_candidate: np.ndarray
    hits: np.ndarray
    ends: np.ndarray

    def sums(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return finds and false positives down to each score, of shape (resamples, scores)."""
        weights = drawn[:, self.of_candidate]
        return tuple(
            np.cumsum(weights * kind, axis=1)[:, self.ends] for kind in (self.hits, ~self.hits)
        )

    def at_points(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sensitivities, and their mean, and the number of scores that count at each point.

        Of shapes (resamples, points + 1) and (resamples, points).
        """
        true, false = self.sums(drawn)
        allowed = (drawn @ self.n_cases)[:, None] * np.array(POINTS)
        places = np.stack(
            [(false <= most[:, None] + 1e-9).sum(axis=1) for most in allowed.T], axis=1
        )
        true = np.concatenate([np.zeros((len(drawn), 1)), true], axis=1)
        with np.errstate(invalid="ignore"):
            found = np.take_along_axis(true, places, 1) / (drawn @ self.n_lesions)[:, None]
        return np.concatenate([found, found.mean(axis=1, keepdims=True)], axis=1), places


def _intervals(counts: _Counts, seed: int) -> np.ndarray:
    """Return the ends of the intervals of all points and their mean, of shape (2, points + 1)."""
    if (counts.n_lesions > 0).sum() < MIN_GROUPS:
        return np.full((2, len(POINTS) + 1), np.nan)
    parts = draw_few_counts(len(counts.n_cases), len(counts.hits), seed)
    found = np.concatenate([counts.at_points(part)[0] for part in parts])
    tail = (1 - CONFIDENCE) / 2
    return np.nanquantile(found, [tail, 1 - tail], axis=0)
