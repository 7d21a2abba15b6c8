"""What methods and checklists name of a run."""

from typing import Any

from segflow.files.cases import Case
from segflow.files.words import counted

ADOPT = {
    "confirmed": "only if the interval of its gain on folds that it was not chosen on is above 0 "
    "and no label's mean Dice falls there",
    "cross_fitted": "if its gain on folds that it was not chosen on is positive",
    "in_sample": "if it gains on the cases that it was chosen on",
}


def describe_model(model: dict[str, Any]) -> dict[str, Any]:
    """Return what methods say of a model, from its description."""
    training, prediction = model["training"], model["prediction"]
    return {
        "title": model["title"],
        "configuration": model["configuration"],
        "network": model["network"]["name"],
        "head": "head" in model,
        "epochs": training["epochs"],
        "iterations": training["iterations_per_epoch"],
        "schedule": training["schedule"],
        "learning_rate": f"{training['learning_rate']:g}",
        "augmentation": training["augmentation"],
        "checkpoint": prediction["checkpoint"],
        "mirroring": prediction["mirroring"],
    }


def describe_cases(
    name: str, described: dict[str, Any], cases: list[Case], flow: list[dict[str, Any]], answer: str
) -> dict[str, Any]:
    """Return what methods say of a data set.

    Parameters
    ----------
    name : str
        Name of the data set.
    described : dict
        Its description.
    cases : list of Case
        Its cases.
    flow : list of dict
        The rows of ``flow.csv``.
    answer : str
        Its answer; see `segflow.report.findings.answer`.
    """
    parts = {split: [case for case in cases if case.split == split] for split in ("train", "test")}
    n_groups = len({case.group for case in cases})
    flat = all("1" in case.shape.split() for case in cases)
    steps = [
        f"{row['step']} {row['n_cases']}" + (f" ({row['reason']})" if row["reason"] else "")
        for row in flow
    ]
    excluded = [row for row in flow if row["step"].startswith("excluded") and row["n_cases"]]
    labels = [label for label in described["labels"] if label not in ("background", "ignore")]
    return {
        "name": name,
        "title": described["title"],
        "license": described["license"],
        "source": described["source"],
        "n_cases": counted(len(cases), "case"),
        "n_train": _counted_patients(parts["train"]),
        "n_test": _counted_patients(parts["test"]) if parts["test"] else "",
        "groups": counted(n_groups, "group") if n_groups < len(cases) else "",
        "n_dimensions": 2 if flat else 3,
        "channels": list(described["channels"]),
        "labels": labels,
        "excluded": ", ".join(f"{row['n_cases']} ({row['reason']})" for row in excluded),
        "held_out": "held_out" in described,
        "flow": ", ".join(steps),
        "answer": answer,
    }


def describe_run(
    config: dict[str, Any],
    datasets: dict[str, dict[str, Any]],
    models: dict[str, dict[str, Any]],
    titles: dict[str, str],
    members: dict[str, list[str]],
    record: dict[str, Any],
    metric: str,
) -> dict[str, Any]:
    """Return what methods say of a run as a whole.

    Parameters
    ----------
    config : dict
        The merged configuration.
    datasets, models : dict of str to dict
        Their descriptions.
    titles : dict of str to str
        Titles of the predictors.
    members : dict of str to list of str
        Members of each predictor; a model is its own.
    record : dict
        ``run.json``.
    metric : str
        By which the best predictor is chosen, as people read it.
    """
    folds = config["folds"] or list(range(config["n_folds"]))
    versions = record["versions"]
    tolerances = [one["surface_tolerance_mm"] for one in datasets.values() if _has_tolerance(one)]
    n_networks = sum(1 if "fold" in model else len(folds) for model in models.values())
    return {
        "asked": _asked(config, datasets, models, members, len(folds), metric),
        "models": [describe_model(model) for model in models.values()],
        "ensembles": [
            {"title": titles[name], "members": [titles[member] for member in own]}
            for name, own in members.items()
            if len(own) > 1
        ],
        "n_folds": config["n_folds"],
        "folds_used": len(folds),
        "n_networks": n_networks,
        "seed": config["seed"],
        "published_splits": [
            datasets[n]["title"] for n in config["published_splits"] if n in datasets
        ],
        "operations": [name.replace("_", " ") for name in config["postprocessing"]["operations"]],
        "adopt": ADOPT[config["postprocessing"]["adopt"]],
        "miniature": "miniature" in config,
        "metric": metric,
        "nsd": " and ".join(dict.fromkeys(map(_in_mm, tolerances))),
        "lesions": any("lesions" in one for one in datasets.values()),
        "subgroups": sorted({name for one in datasets.values() for name in one["subgroups"]}),
        "pretrained": [m["title"] for m in models.values() if "pretrained" in m["network"]],
        "nnunet": versions.get("nnunetv2", ""),
        "torch": versions.get("torch", ""),
        "snakemake": versions.get("snakemake", ""),
        "commit": record["git_commit"],
    }


def _asked(
    config: dict, datasets: dict, models: dict, members: dict, n_folds: int, metric: str
) -> str:
    ensembles = sum(len(own) > 1 for own in members.values())
    among = f" and {counted(ensembles, 'ensemble')}" if ensembles else ""
    does = "segments" if members else "tells classes"
    judged = metric if members else "the macro AUC"
    return (
        f"Which of {counted(len(models), 'model')}{among} {does} best on "
        f"{counted(len(datasets), 'data set')}? Cross-validated in {counted(n_folds, 'fold')} "
        f"with seed {config['seed']}; the best is chosen by {judged} of the validation cases."
    )


def _counted_patients(cases: list[Case]) -> str:
    patients = len({case.patient for case in cases})
    of = "" if patients == len(cases) else f" of {counted(patients, 'patient')}"
    return counted(len(cases), "case") + of


def _has_tolerance(described: dict[str, Any]) -> bool:
    return "surface_tolerance_mm" in described


def _in_mm(tolerance: float | dict[str, float]) -> str:
    if isinstance(tolerance, dict):
        return ", ".join(f"{value:g} mm ({name})" for name, value in tolerance.items())
    return f"{tolerance:g} mm"
