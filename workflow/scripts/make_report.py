"""Write the report: one page, with the viewer's cases in it or beside it (rule `make_report`)."""

from pathlib import Path

import pandas as pd
import yaml

from segflow.evaluation.metrics import METRICS
from segflow.files.cases import read_cases
from segflow.files.content import read_own_json, replacing
from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.asked import Asked
from segflow.report.dataset_part import describe_dataset
from segflow.report.facts import describe_cases, describe_run
from segflow.report.findings import STAGES
from segflow.report.page import fill_checklist, references, render, write_methods
from segflow.report.study_part import describe_study
from segflow.report.tables import SPLITS

INLINE_MB = 16.0  # of cases within the page; others lie beside it
SOFTWARE = ("python", "nnunetv2", "torch", "snakemake", "monai", "numpy", "scipy", "simpleitk")
WORKFLOW_REPORT = "workflow_report.html"  # that of Snakemake, beside this one
TITLE = "{} of medical images: results"


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
