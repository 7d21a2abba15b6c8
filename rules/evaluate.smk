"""From label maps to tables of metrics.

In: the label maps of both stages and the references. Out: `metrics.csv` of each predictor, one row a
case and label, and the summary of each data set.
"""


rule evaluate_predictor:
    """Compare every label map of a predictor with its reference."""
    input:
        predictions=collect(
            "<results>/{{dataset}}/{{predictor}}/predictions/{split}/{stage}/predictions.csv",
            split=["val", "test"],
            stage=["raw", "postprocessed"],
        ),
        cases="<results>/{dataset}/cases.csv",
        splits="<results>/{dataset}/splits.json",
    output:
        metrics=report(
            "<results>/{dataset}/{predictor}/metrics.csv",
            caption="../workflow/report/metrics.rst",
            category="1. Evaluation",
            subcategory="Per case",
            labels={"data set": "{dataset}", "predictor": "{predictor}"},
        ),
    log:
        "<logs>/{dataset}/{predictor}/evaluate_predictor.log",
    benchmark:
        "<benchmarks>/{dataset}/{predictor}/evaluate_predictor.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime="4h",
    params:
        code=code_key("evaluate_predictor"),
        folds=RUN.folds,
        labels=lambda wildcards: RUN.datasets[wildcards.dataset]["labels"],
        raw=lambda wildcards: f"{RESULTS}/nnUNet_raw/{RUN.nnunet_name(wildcards.dataset)}",
    script:
        "../workflow/scripts/evaluate_predictor.py"


rule summarise_metrics:
    """Summarise the metrics of all predictors of a data set."""
    input:
        metrics=collect("<results>/{{dataset}}/{predictor}/metrics.csv", predictor=RUN.predictors),
    output:
        csv="<results>/{dataset}/summary.csv",
        markdown="<results>/{dataset}/summary.md",
        latex="<results>/{dataset}/summary.tex",
        html=report(
            "<results>/{dataset}/summary.html",
            caption="../workflow/report/summary.rst",
            category="1. Evaluation",
            subcategory="Summary",
            labels={"data set": "{dataset}", "table": "before and after post-processing"},
        ),
    log:
        "<logs>/{dataset}/summarise_metrics.log",
    benchmark:
        "<benchmarks>/{dataset}/summarise_metrics.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime="10m",
    params:
        code=code_key("summarise_metrics"),
        title=lambda wildcards: RUN.datasets[wildcards.dataset]["title"],
        titles={name: RUN.title(name) for name in RUN.predictors},
    script:
        "../workflow/scripts/summarise_metrics.py"
