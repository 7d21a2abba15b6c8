"""Choice of the best predictor and stage from tables of metrics, and what it can promise."""

from dataclasses import dataclass

import numpy as np

from segflow.evaluation.metrics import Metric
from segflow.evaluation.summaries import STAGES, SplitMetrics, mean_of_defined


@dataclass(frozen=True)
class Candidate:
    """A predictor at a stage, which may be chosen.

    Parameters
    ----------
    predictor, stage : str
        Its names.
    n_members : int
        Models that it averages.
    values : ndarray of float
        Its metric in each case, the mean over the labels in which it is defined. NaN where it is
        defined in none; infinite distances are infinite.
    """

    predictor: str
    stage: str
    n_members: int
    values: np.ndarray


def list_candidates(split: SplitMetrics, n_members: dict[str, int]) -> list[Candidate]:
    """Return all predictors and stages of a split that holds one metric.

    Parameters
    ----------
    split : SplitMetrics
        See `segflow.evaluation.summaries.arrange`.
    n_members : dict of str to int
        Number of models of each predictor.
    """
    values = mean_of_defined(split.values[..., split.averaged, 0], axis=3)
    return [
        Candidate(predictor, stage, n_members[predictor], values[row, column])
        for row, predictor in enumerate(split.predictors)
        for column, stage in enumerate(split.stages)
    ]


def estimate(values: np.ndarray) -> dict[str, float | int | None]:
    """Return the mean of a metric over the cases in which it is finite, and the counts of cases.

    Parameters
    ----------
    values : ndarray of float
        One value a case.

    Returns
    -------
    dict
        ``n``, the cases in which the metric is defined; ``n_undefined``; ``n_infinite``, which are
        among the ``n``; and ``mean`` over the rest, None without any.
    """
    finite = np.isfinite(values)
    undefined = int(np.isnan(values).sum())
    return {
        "n": len(values) - undefined,
        "n_undefined": undefined,
        "n_infinite": len(values) - undefined - int(finite.sum()),
        "mean": float(values[finite].mean()) if finite.any() else None,
    }


def rank(candidates: list[Candidate], cases: np.ndarray, better: str) -> list[Candidate]:
    """Return the candidates from the best to the worst.

    Fewer cases with an infinite distance go first, for there an object was missed altogether;
    then the better mean. Of equal ones that with fewer members goes first, then the first name,
    then the raw stage.

    Parameters
    ----------
    candidates : list of Candidate
        The candidates.
    cases : ndarray of bool
        The cases to look at.
    better : str
        ``higher`` or ``lower``.
    """
    sign = -1 if better == "higher" else 1

    def place(candidate: Candidate) -> tuple:
        found = estimate(candidate.values[cases])
        mean = np.inf if found["mean"] is None else round(sign * found["mean"], 12)
        stage = STAGES.index(candidate.stage)
        return found["n_infinite"], mean, candidate.n_members, candidate.predictor, stage

    return sorted(candidates, key=place)


def cross_fit(candidates: list[Candidate], folds: list[str], better: str) -> dict | None:
    """Estimate what a choice made in this way is worth on cases that it was not made on.

    The best candidate on all other folds is measured on each fold; the values of all folds are
    gathered.

    Parameters
    ----------
    candidates : list of Candidate
        The candidates.
    folds : list of str
        Fold of each case.
    better : str
        ``higher`` or ``lower``.

    Returns
    -------
    dict or None
        See `estimate`, with ``choices``, the predictor and stage chosen for each fold. None if
        there is one fold only.
    """
    fold_of = np.array(folds)
    if len(set(folds)) < 2:
        return None
    values, choices = np.empty(len(folds)), {}
    for fold in sorted(set(folds)):
        held_out = fold_of == fold
        chosen = rank(candidates, ~held_out, better)[0]
        values[held_out] = chosen.values[held_out]
        choices[fold] = {"predictor": chosen.predictor, "stage": chosen.stage}
    return estimate(values) | {"choices": choices}


def select_predictor(
    splits: list[SplitMetrics], members: dict[str, dict[str, float]], name: str, metric: Metric
) -> dict:
    """Choose the best predictor and stage on the validation cases.

    Parameters
    ----------
    splits : list of SplitMetrics
        One metric of all predictors; see `segflow.evaluation.summaries.arrange`.
    members : dict of str to dict
        Models and weights of each predictor.
    name : str
        Name of the metric.
    metric : Metric
        The metric.

    Returns
    -------
    dict
        The choice; its estimates in sample, cross-fitted (see `cross_fit`) and on the test cases,
        which had no part in the choice (None without references); a note on what they mean; and
        the ranking of all candidates.

    Raises
    ------
    ValueError
        If the metric is finite in no validation case.
    """
    n_members = {predictor: len(models) for predictor, models in members.items()}
    found = {split.split: split for split in splits}
    folds = found["val"].folds if "val" in found else []
    candidates = list_candidates(found["val"], n_members) if folds else []
    ranking = rank(candidates, np.ones(len(folds), bool), metric.better)
    if not ranking or estimate(ranking[0].values)["mean"] is None:
        raise ValueError(f"selection.metric: {name} is finite in no validation case")
    best = ranking[0]
    tested = [
        estimate(candidate.values)
        for candidate in (list_candidates(found["test"], n_members) if "test" in found else [])
        if (candidate.predictor, candidate.stage) == (best.predictor, best.stage)
    ]
    choice = {
        "predictor": best.predictor,
        "stage": best.stage,
        "members": members[best.predictor],
        "metric": name,
        "better": metric.better,
        "in_sample": estimate(best.values),
        "cross_fitted": cross_fit(candidates, folds, metric.better),
        "test": tested[0] if tested else None,
    }
    return choice | {
        "note": describe_choice(choice, len(ranking), metric),
        "ranking": [
            {
                "predictor": candidate.predictor,
                "stage": candidate.stage,
                "n_members": candidate.n_members,
                **estimate(candidate.values),
            }
            for candidate in ranking
        ],
    }


def describe_choice(choice: dict, n_candidates: int, metric: Metric) -> str:
    """Say in plain sentences how good the chosen predictor is, and why to doubt the first number.

    Parameters
    ----------
    choice : dict
        See `select_predictor`.
    n_candidates : int
        Number of candidates.
    metric : Metric
        The metric.
    """
    sentences = [
        f"{choice['predictor']} ({choice['stage']}) has the best mean {metric.title} of "
        f"{n_candidates} candidates on the {choice['in_sample']['n']} validation cases: "
        f"{_number(choice['in_sample'], metric)}.",
        "It was chosen and measured on the same cases, so this number is optimistic, and the more "
        "so the more candidates there are and the fewer cases.",
    ]
    fitted = choice["cross_fitted"]
    if fitted is None:
        sentences.append("With one fold only there is no cross-fitted estimate.")
    else:
        agree = sum(
            (fold["predictor"], fold["stage"]) == (choice["predictor"], choice["stage"])
            for fold in fitted["choices"].values()
        )
        sentences.append(
            f"Chosen on all other folds and measured on the one left out, it is "
            f"{_number(fitted, metric)}; {agree} of {len(fitted['choices'])} folds choose the same."
        )
        if choice["stage"] == "postprocessed":
            sentences.append(
                "Post-processing itself was chosen on all folds; postprocessing.json says what it "
                "gains on cases that it was not chosen on."
            )
    if choice["test"] is not None:
        sentences.append(
            f"On the {choice['test']['n']} test cases, which had no part in any choice, it is "
            f"{_number(choice['test'], metric)}."
        )
    return " ".join(sentences)


def _number(found: dict, metric: Metric) -> str:
    """Return a mean with its unit, and how many cases it leaves out."""
    text = "undefined" if found["mean"] is None else f"{found['mean']:.4f} {metric.unit}".strip()
    infinite = found["n_infinite"]
    return f"{text} ({infinite} infinite left out)" if infinite else text
