"""Choice of the best predictor and stage from tables of metrics, and what it can promise."""

from dataclasses import dataclass

import numpy as np

from segflow.evaluation.metrics import Metric
from segflow.evaluation.summaries import STAGES, SplitMetrics, mean_of_defined, quantiles


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
    penalised : ndarray of float or None
        The same with infinite distances penalised, label by label; NaN where no penalty is known.
        None for a metric that is never infinite.
    """

    predictor: str
    stage: str
    n_members: int
    values: np.ndarray
    penalised: np.ndarray | None = None

    def estimate(self, cases: np.ndarray | slice = slice(None)) -> dict[str, float | int | None]:
        """Return what its metric is over some cases; see the function of this name."""
        penalised = None if self.penalised is None else self.penalised[cases]
        return estimate(self.values[cases], penalised)


def list_candidates(
    split: SplitMetrics, n_members: dict[str, int], infinite: bool = False
) -> list[Candidate]:
    """Return all predictors and stages of a split that holds one metric.

    Parameters
    ----------
    split : SplitMetrics
        See `segflow.evaluation.summaries.arrange`.
    n_members : dict of str to int
        Number of models of each predictor.
    infinite : bool
        Whether the metric may be infinite.
    """
    values, penalised = (
        mean_of_defined(kind[..., split.averaged, 0], axis=3)
        for kind in (split.values, split.penalised())
    )
    return [
        Candidate(
            predictor,
            stage,
            n_members[predictor],
            values[row, column],
            penalised[row, column] if infinite else None,
        )
        for row, predictor in enumerate(split.predictors)
        for column, stage in enumerate(split.stages)
    ]


def estimate(
    values: np.ndarray, penalised: np.ndarray | None = None
) -> dict[str, float | int | None]:
    """Return the mean of a metric over the cases in which it is finite, and the counts of cases.

    Parameters
    ----------
    values : ndarray of float
        One value a case.
    penalised : ndarray of float or None
        The values of a metric that may be infinite, with infinite ones penalised.

    Returns
    -------
    dict
        ``n``, the cases in which the metric is defined; ``n_undefined``; ``n_infinite``, which are
        among the ``n``; and ``mean`` over the rest. Of a metric that may be infinite, before the
        mean, the ``median`` over the ``n``, in which infinite values count, and the
        ``penalised_mean`` over them. None where there is no number, or it is infinite.
    """
    finite = np.isfinite(values)
    undefined = int(np.isnan(values).sum())
    found: dict[str, float | int | None] = {
        "n": len(values) - undefined,
        "n_undefined": undefined,
        "n_infinite": len(values) - undefined - int(finite.sum()),
    }
    if penalised is not None:
        found["median"] = _finite(quantiles(values[:, None], 0.5)[0] if len(values) else np.nan)
        found["penalised_mean"] = _finite(mean_of_defined(penalised, axis=0))
    return found | {"mean": _finite(mean_of_defined(values[finite], axis=0))}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def rank(candidates: list[Candidate], cases: np.ndarray | slice, better: str) -> list[Candidate]:
    """Return the candidates from the best to the worst.

    The better mean goes first. Of metrics that may be infinite it is the better median, in which
    infinite values count, then the better penalised mean, then fewer infinite values. Of equal
    ones that with fewer members goes first, then the first name, then the raw stage.

    Parameters
    ----------
    candidates : list of Candidate
        The candidates.
    cases : ndarray of bool or int, or slice
        The cases to look at; places may repeat, as in a resample.
    better : str
        ``higher`` or ``lower``.
    """
    sign = -1 if better == "higher" else 1

    def place(candidate: Candidate) -> tuple:
        found = candidate.estimate(cases)
        names = ("mean",) if candidate.penalised is None else ("median", "penalised_mean")
        values = [found[name] for name in names]
        worth = [np.inf if value is None else round(sign * value, 12) for value in values]
        stage = STAGES.index(candidate.stage)
        return *worth, found["n_infinite"], candidate.n_members, candidate.predictor, stage

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
    infinite = candidates[0].penalised is not None
    values, penalised, choices = np.empty(len(folds)), np.empty(len(folds)), {}
    for fold in sorted(set(folds)):
        held_out = fold_of == fold
        chosen = rank(candidates, ~held_out, better)[0]
        values[held_out] = chosen.values[held_out]
        if infinite:
            penalised[held_out] = chosen.penalised[held_out]
        choices[fold] = {"predictor": chosen.predictor, "stage": chosen.stage}
    return estimate(values, penalised if infinite else None) | {"choices": choices}


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
    candidates = list_candidates(found["val"], n_members, metric.infinite) if folds else []
    ranking = rank(candidates, np.ones(len(folds), bool), metric.better)
    if not ranking or all(candidate.estimate()["mean"] is None for candidate in ranking):
        raise ValueError(f"selection.metric: {name} is finite in no validation case")
    best = ranking[0]
    tested = [
        candidate.estimate()
        for candidate in (
            list_candidates(found["test"], n_members, metric.infinite) if "test" in found else []
        )
        if (candidate.predictor, candidate.stage) == (best.predictor, best.stage)
    ]
    choice = {
        "predictor": best.predictor,
        "stage": best.stage,
        "members": members[best.predictor],
        "metric": name,
        "better": metric.better,
        "in_sample": best.estimate(),
        "cross_fitted": cross_fit(candidates, folds, metric.better),
        "test": tested[0] if tested else None,
    }
    return choice | {
        "note": describe_choice(choice, _count_different(ranking), metric),
        "ranking": [
            {
                "predictor": candidate.predictor,
                "stage": candidate.stage,
                "n_members": candidate.n_members,
                **candidate.estimate(),
            }
            for candidate in ranking
        ],
    }


def _count_different(candidates: list[Candidate]) -> int:
    """Count candidates; those that are equal in every case, as without any step, are one."""
    return len({tuple(np.nan_to_num(one.values, nan=-1.0).tolist()) for one in candidates})


def describe_choice(choice: dict, n_candidates: int, metric: Metric) -> str:
    """Say in plain sentences how good the chosen predictor is, and why to doubt the first number.

    Parameters
    ----------
    choice : dict
        See `select_predictor`.
    n_candidates : int
        Number of different candidates.
    metric : Metric
        The metric.
    """
    n_cases, figure = choice["in_sample"]["n"], "median" if metric.infinite else "mean"
    sentences = [
        f"{choice['predictor']} ({choice['stage']}) has the best {figure} {metric.title} of "
        f"{_counted(n_candidates, 'different candidate')} on the "
        f"{_counted(n_cases, 'validation case')}: {_number(choice['in_sample'], metric)}.",
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
            f"On the {_counted(choice['test']['n'], 'test case')}, which had no part in any "
            f"choice, it is {_number(choice['test'], metric)}."
        )
    return " ".join(sentences)


def _counted(number: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{number} {noun}{'s' * (number != 1)}"


def _number(found: dict, metric: Metric) -> str:
    """Return the number that decides, with its unit; of distances what belongs to it, too."""

    def text(name: str) -> str:
        return f"{found[name]:.4f} {metric.unit}".strip()

    if not metric.infinite:
        return "undefined" if found["mean"] is None else text("mean")
    if found["n"] == 0:
        return "undefined"
    infinite, finite = found["n_infinite"], found["n"] - found["n_infinite"]
    beside = [f"{infinite} of {found['n']} infinite"] if infinite else []
    if found["penalised_mean"] is not None:
        beside.append(f"penalised mean {text('penalised_mean')}")
    if finite:
        beside.append(f"mean of the {finite} finite {text('mean')}")
    middle = "infinite" if found["median"] is None else text("median")
    return f"{middle} ({'; '.join(beside)})"
