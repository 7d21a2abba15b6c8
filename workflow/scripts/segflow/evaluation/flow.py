"""What became of the cases of a data set, from the raw folder to the evaluation."""

from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from segflow.files.cases import Case

COLUMNS = ["step", "n_cases", "n_patients", "n_groups", "reason"]


def case_flow(
    cases: Iterable[Case], excluded: Mapping[str, str], evaluated: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Count the cases at each step.

    Parameters
    ----------
    cases : iterable of Case
        The converted cases.
    excluded : mapping of str to str
        Reason by name of the cases that the data set's description leaves out.
    evaluated : mapping of str to collection of str
        Cases with metrics of each split, ``val`` and ``test``.

    Returns
    -------
    DataFrame
        One row for each step: ``found`` in the raw folder; ``excluded``, a row for each
        ``reason``; ``converted``; ``training``, and of these ``cross-validated``, with metrics;
        ``test``, and of these ``test without a reference`` and ``tested``, with metrics. Patients
        and groups are counted of converted cases only.
    """
    cases = list(cases)
    training, test = ([one for one in cases if one.split == name] for name in ("train", "test"))
    steps = {
        "converted": cases,
        "training": training,
        "cross-validated": [one for one in training if one.case in evaluated.get("val", ())],
        "test": test,
        "test without a reference": [one for one in test if not one.label],
        "tested": [one for one in test if one.case in evaluated.get("test", ())],
    }
    reasons = pd.Series(excluded, dtype=str).value_counts(sort=False)
    rows = [{"step": "found", "n_cases": len(cases) + len(excluded)}]
    rows += [
        {"step": "excluded", "n_cases": count, "reason": reason}
        for reason, count in reasons.items()
    ]
    rows += [
        {
            "step": step,
            "n_cases": len(chosen),
            "n_patients": len({one.patient for one in chosen}),
            "n_groups": len({one.group for one in chosen}),
        }
        for step, chosen in steps.items()
    ]
    counts = ["n_cases", "n_patients", "n_groups"]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(counts, "Int64"))
