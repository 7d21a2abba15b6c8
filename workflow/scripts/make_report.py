"""Write the report: one page, with the viewer's cases in it or beside it (rule `make_report`)."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from segflow.evaluation.metrics import METRICS
from segflow.evaluation.summaries import ALL, KEYS
from segflow.files.cases import read_cases
from segflow.files.content import read_own_json, replacing
from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.dataset_part import Asked, describe_dataset
from segflow.report.facts import describe_cases, describe_run
from segflow.report.findings import STAGES, own_rows
from segflow.report.page import embed, fill_checklist, heat, references, render, write_methods
from segflow.report.tables import SPLITS

RANKED_BY, ALPHA = "dice", 0.05  # see `segflow.evaluation.ranking`, which takes long to load
INLINE_MB = 16.0  # of cases within the page; others lie beside it
SOFTWARE = ("python", "nnunetv2", "torch", "snakemake", "monai", "numpy", "scipy", "simpleitk")
WORKFLOW_REPORT = "workflow_report.html"  # that of Snakemake, beside this one
TITLE = "{} of medical images: results"


def describe_study(results: Path, asked: dict[str, Asked]) -> dict[str, Any] | None:
    """Return ranks and means over several data sets; None of one."""
    if len(asked) < 2 or not (results / "ranking.csv").exists():
        return None
    titles = next(iter(asked.values())).titles
    ranking = read_frame(results / "ranking.csv", ["split", "predictor", "note"])
    answer, parts, notes = [], [], []
    for split in SPLITS:
        rows = {}
        for name, one in asked.items():
            summary = read_frame(results / name / "summary.csv", KEYS)
            chosen = own_rows(
                summary,
                split=split,
                stage="postprocessed",
                fold=ALL,
                label=ALL,
                metric=RANKED_BY,
            )
            if len(chosen):
                rows[one.described["title"]] = chosen.set_index("predictor")["mean"]
        own = ranking[ranking["split"] == split]
        ranked = own[own["predictor"].notna()]
        if len(ranked):
            first = ranked.iloc[0]
            answer = answer or answer_over_all(ranked, titles, SPLITS[split])
            notes.append(
                f"{SPLITS[split]}: by mean rank {titles[first['predictor']]} is best. Friedman's "
                f"test over {first['n_datasets']:.0f} data sets gives p = {first['p']:.3g}; mean "
                f"ranks differ from {first['critical_difference']:.2f} on (Nemenyi, 5 %)."
            )
        notes += [f"{SPLITS[split]}: {note}." for note in own["note"].dropna()]
        if rows:
            values = pd.DataFrame(rows).T.reindex(columns=list(titles))
            table = pd.DataFrame(
                {
                    "predictor": ranked["predictor"].map(titles),
                    "mean rank": ranked["mean_rank"].map("{:.2f}".format),
                    "mean Dice": ranked["mean"].map("{:.3f}".format),
                    "data sets": ranked["n_datasets"].map("{:.0f}".format),
                }
            )
            parts.append(
                {
                    "title": SPLITS[split],
                    "ranking": table if len(table) else None,
                    "predictors": list(titles.values()),
                    "rows": heat(values),
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


def choose_inline(scripts: pd.DataFrame, first: list[str]) -> list[str]:
    """Return the cases whose scripts lie within the page.

    All of them, if they take no more than `INLINE_MB`; else those that the page shows first.
    """
    names = list(scripts.index)
    if scripts["bytes"].sum() <= INLINE_MB * 1e6:
        return names
    return [name for name in dict.fromkeys(first) if name in names]


def main(
    results: Path,
    config: dict,
    datasets: dict[str, dict],
    models: dict[str, dict],
    titles: dict[str, str],
    members: dict[str, list[str]],
    class_titles: dict[str, dict[str, str]],
    report: Path,
) -> None:
    """Write the `report` on the tables and figures below the folder `results`.

    Parameters
    ----------
    results : Path
        Folder of the run's results.
    config : dict
        The merged configuration.
    datasets, models : dict of str to dict
        Descriptions of those that the report is on.
    titles : dict of str to str
        Titles of predictors that make label maps.
    members : dict of str to list of str
        Members of each of these.
    class_titles : dict of str to dict
        By data set the titles of predictors that tell its classes; empty if none does.
    report : Path
        The page.
    """
    record = read_own_json(results / "run.json")
    studies = "inference_study" in config
    asked = {
        name: Asked(name, described, titles, class_titles[name], models, studies)
        for name, described in datasets.items()
    }
    contents, data, scripts = [], {}, []
    for name, one in asked.items():
        content, plotted = describe_dataset(one, results / name)
        contents.append(content)
        if plotted is not None:
            data[name] = plotted
            viewed = read_frame(results / name / "viewer.csv", ["split", "case", "script"])
            scripts.append(viewed.set_index(name + "/" + viewed["case"]))
    scripts = pd.concat(scripts) if scripts else pd.DataFrame({"script": [], "bytes": []})
    first = [f"{one['name']}/{case}" for one in contents for _, case in one.get("first_cases", [])]
    inline = {
        name: (results / scripts.loc[name, "script"]).read_text()
        for name in choose_inline(scripts, first)
    }
    metric = METRICS[config["selection"]["metric"]]
    chosen_by = f"the {'median' if metric.infinite else 'mean'} {metric.title}"
    facts = describe_run(config, datasets, models, titles, members, record, chosen_by)
    facts["datasets"] = []
    facts |= {"segmented": bool(titles), "classified": any(class_titles.values())}
    covariates: set[str] = set()
    for content in contents:
        name = content["name"]
        cases = read_cases(results / name / "cases.csv")
        covariates |= {covariate for case in cases for covariate in case.covariates}
        flow = []
        if content["segmented"]:
            table = read_frame(results / name / "flow.csv", ["step", "reason"])
            flow = table.fillna({"reason": ""}).to_dict("records")
        facts["datasets"].append(
            describe_cases(name, datasets[name], cases, flow, content["answer"][0])
        )
    facts["covariates"] = sorted(covariates)
    methods = write_methods(facts)
    versions = record["versions"]
    software = {"Segflow": record["version"]}
    software |= {name: versions[name] for name in SOFTWARE if name in versions}
    software |= {key.replace("_", " "): value for key, value in record["machine"].items() if value}
    page = render(
        {
            "title": TITLE.format("Segmentation" if titles else "Classification")
            + (", in miniature" if facts["miniature"] else ""),
            "asked": facts["asked"],
            "miniature": facts["miniature"],
            "datasets": contents,
            "study": describe_study(results, asked),
            "methods": methods,
            "references": references(methods, datasets),
            "checklist": fill_checklist(facts),
            "commands": _commands(record["git_commit"]),
            "software": pd.DataFrame(software.items(), columns=["what", "version or kind"]),
            "hashes": pd.DataFrame(record["sha256"].items(), columns=["file", "SHA-256"]),
            "configuration": yaml.safe_dump(config, sort_keys=False),
            "workflow_report": WORKFLOW_REPORT,
        },
        {
            "splits": SPLITS,
            "stages": STAGES,
            "datasets": data,
            "scripts": scripts["script"].to_dict(),
        },
        inline,
    )
    with replacing(report) as path:
        path.write_text(page)


def _commands(commit: str) -> str:
    checkout = [f"git checkout {commit.removesuffix('+')}"] if commit else []
    if commit.endswith("+"):
        checkout.append("# files of the project differed from this commit")
    run = "snakemake --cores all --configfile results/config.yaml"
    return "\n".join([*checkout, "make environment", "source .venv/bin/activate", run])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            results=Path(snakemake.output.report).parent,
            config=snakemake.params.config,
            datasets=snakemake.params.datasets,
            models=snakemake.params.models,
            titles=snakemake.params.titles,
            members=snakemake.params.members,
            class_titles=snakemake.params.class_titles,
            report=Path(snakemake.output.report),
        )
