"""From label maps to tables of metrics.

In: the label maps of both stages and the references. Out: `metrics.csv` of each predictor, one row a
case and label, `lesions.csv`, one row a lesion, the summary of each data set and the comparisons of its
predictors, and their ranking over several data sets.
"""


rule evaluate_predictor:
    """Compare every label map of a predictor with its reference."""
    input:
        predictions=predicted(
            "<results>/{dataset}/{predictor}/predictions/{split}/{stage}/predictions.csv"
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
        lesions=report(
            "<results>/{dataset}/{predictor}/lesions.csv",
            caption="../workflow/report/lesions.rst",
            category="1. Evaluation",
            subcategory="Per lesion",
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
        runtime=minutes(240),
    params:
        code=code_key("evaluate_predictor"),
        folds=RUN.folds,
        labels=lambda wildcards: RUN.measured(wildcards.dataset),
        tolerances_mm=lambda wildcards: RUN.tolerances_mm(wildcards.dataset),
        lesions=lambda wildcards: RUN.datasets[wildcards.dataset].get("lesions"),
        options=lambda wildcards: RUN.datasets[wildcards.dataset]["metrics"],
        boundary_mm=lambda wildcards: RUN.datasets[wildcards.dataset].get("boundary_mm"),
        raw=nnunet_raw,
    script:
        "../workflow/scripts/evaluate_predictor.py"


rule evaluate_probabilities:
    """Measure the probabilities of a predictor before they are discarded."""
    input:
        members=members("<results>/{dataset}/{model}/probabilities/fold_{fold}_{split}.csv"),
        predictions="<results>/{dataset}/{predictor}/predictions/{split}/raw/predictions.csv",
        cases="<results>/{dataset}/cases.csv",
        splits="<results>/{dataset}/splits.json",
    output:
        calibration="<results>/{dataset}/{predictor}/calibration_{split}.csv",
        reliability="<results>/{dataset}/{predictor}/reliability_{split}.csv",
        candidates="<results>/{dataset}/{predictor}/candidates_{split}.csv",
    log:
        "<logs>/{dataset}/{predictor}/evaluate_probabilities/{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{predictor}/evaluate_probabilities/{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(240),
    params:
        code=code_key("evaluate_probabilities"),
        members=lambda wildcards: RUN.members(wildcards.predictor),
        labels=lambda wildcards: RUN.datasets[wildcards.dataset]["labels"],
        regions=lambda wildcards: RUN.datasets[wildcards.dataset]["evaluated_regions"],
        regions_class_order=lambda wildcards: RUN.datasets[wildcards.dataset].get(
            "regions_class_order"
        ),
        calibration=lambda wildcards: RUN.datasets[wildcards.dataset].get("calibration"),
        froc=lambda wildcards: RUN.datasets[wildcards.dataset].get("froc"),
        lesions=lambda wildcards: RUN.datasets[wildcards.dataset].get("lesions"),
        raw=nnunet_raw,
    script:
        "../workflow/scripts/evaluate_probabilities.py"


rule summarise_probabilities:
    """Summarise calibration and FROC of all predictors of a data set."""
    input:
        calibration=measured_probabilities("calibration"),
        reliability=measured_probabilities("reliability"),
        candidates=measured_probabilities("candidates"),
        metrics=collect("<results>/{{dataset}}/{predictor}/metrics.csv", predictor=RUN.predictors),
        cases="<results>/{dataset}/cases.csv",
    output:
        calibration=report(
            "<results>/{dataset}/calibration.csv",
            caption="../workflow/report/calibration.rst",
            category="1. Evaluation",
            subcategory="Probabilities",
            labels={"data set": "{dataset}", "table": "calibration"},
        ),
        reliability=report(
            "<results>/{dataset}/reliability.csv",
            caption="../workflow/report/reliability.rst",
            category="1. Evaluation",
            subcategory="Probabilities",
            labels={"data set": "{dataset}", "table": "reliability"},
        ),
        froc=report(
            "<results>/{dataset}/froc.csv",
            caption="../workflow/report/froc.rst",
            category="1. Evaluation",
            subcategory="Probabilities",
            labels={"data set": "{dataset}", "table": "FROC"},
        ),
        curves="<results>/{dataset}/froc_curves.csv",
    log:
        "<logs>/{dataset}/summarise_probabilities.log",
    benchmark:
        "<benchmarks>/{dataset}/summarise_probabilities.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(30),
    params:
        code=code_key("summarise_probabilities"),
        with_froc=lambda wildcards: "froc" in RUN.datasets[wildcards.dataset],
        seed=config["seed"],
    script:
        "../workflow/scripts/summarise_probabilities.py"


rule summarise_metrics:
    """Summarise the metrics of all predictors of a data set."""
    input:
        metrics=collect("<results>/{{dataset}}/{predictor}/metrics.csv", predictor=RUN.predictors),
        cases="<results>/{dataset}/cases.csv",
    output:
        csv="<results>/{dataset}/summary.csv",
        markdown="<results>/{dataset}/summary.md",
        latex="<results>/{dataset}/summary.tex",
        html=report(
            "<results>/{dataset}/summary.html",
            caption="../workflow/report/summary.rst",
            category="1. Evaluation",
            subcategory="Summary",
            labels={"data set": "{dataset}", "table": "summary"},
        ),
        volumes=report(
            "<results>/{dataset}/volumes.csv",
            caption="../workflow/report/volumes.rst",
            category="1. Evaluation",
            subcategory="Summary",
            labels={"data set": "{dataset}", "table": "volumes, bias and limits"},
        ),
        lesions=report(
            "<results>/{dataset}/lesion_detection.csv",
            caption="../workflow/report/lesion_detection.rst",
            category="1. Evaluation",
            subcategory="Summary",
            labels={"data set": "{dataset}", "table": "detection of lesions"},
        ),
        structures=report(
            "<results>/{dataset}/structure_detection.csv",
            caption="../workflow/report/structure_detection.rst",
            category="1. Evaluation",
            subcategory="Summary",
            labels={"data set": "{dataset}", "table": "detection of structures"},
        ),
        subgroups=report(
            "<results>/{dataset}/subgroups.csv",
            caption="../workflow/report/subgroups.rst",
            category="1. Evaluation",
            subcategory="Summary",
            labels={"data set": "{dataset}", "table": "subgroups"},
        ),
        flow=report(
            "<results>/{dataset}/flow.csv",
            caption="../workflow/report/flow.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "flow of cases"},
        ),
    log:
        "<logs>/{dataset}/summarise_metrics.log",
    benchmark:
        "<benchmarks>/{dataset}/summarise_metrics.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(30),
    params:
        code=code_key("summarise_metrics"),
        regions=evaluated_regions,
        title=lambda wildcards: RUN.datasets[wildcards.dataset]["title"],
        titles={name: RUN.title(name) for name in RUN.predictors},
        seed=config["seed"],
        bands=lambda wildcards: RUN.datasets[wildcards.dataset].get("bands"),
        excluded=lambda wildcards: RUN.datasets[wildcards.dataset].get("exclude", {}),
        subgroups=lambda wildcards: RUN.datasets[wildcards.dataset]["subgroups"],
        penalty_mm=distance_penalty_mm,
        published=lambda wildcards: RUN.published.get(wildcards.dataset, {}),
        classes=published_of_classes,
    script:
        "../workflow/scripts/summarise_metrics.py"


rule compare_predictors:
    """Compare all pairs of predictors of a data set on the same cases."""
    input:
        metrics=collect("<results>/{{dataset}}/{predictor}/metrics.csv", predictor=RUN.predictors),
        cases="<results>/{dataset}/cases.csv",
    output:
        csv="<results>/{dataset}/comparisons.csv",
        html=report(
            "<results>/{dataset}/comparisons.html",
            caption="../workflow/report/comparisons.rst",
            category="1. Evaluation",
            subcategory="Comparisons",
            labels={"data set": "{dataset}", "table": "paired comparisons"},
        ),
    log:
        "<logs>/{dataset}/compare_predictors.log",
    benchmark:
        "<benchmarks>/{dataset}/compare_predictors.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(30),
    params:
        code=code_key("compare_predictors"),
        regions=evaluated_regions,
        title=lambda wildcards: RUN.datasets[wildcards.dataset]["title"],
        titles={name: RUN.title(name) for name in RUN.predictors},
        penalty_mm=distance_penalty_mm,
    script:
        "../workflow/scripts/compare_predictors.py"


rule plot_comparisons:
    """Draw the differences of all pairs of predictors with their intervals."""
    input:
        comparisons="<results>/{dataset}/comparisons.csv",
    output:
        figure=report(
            "<results>/{dataset}/comparisons.png",
            caption="../workflow/report/comparisons.rst",
            category="1. Evaluation",
            subcategory="Comparisons",
            labels={"data set": "{dataset}", "table": "paired comparisons, picture"},
        ),
    log:
        "<logs>/{dataset}/plot_comparisons.log",
    benchmark:
        "<benchmarks>/{dataset}/plot_comparisons.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(10),
    params:
        code=code_key("plot_comparisons"),
        titles={name: RUN.title(name) for name in RUN.predictors},
    script:
        "../workflow/scripts/plot_comparisons.py"


rule summarise_classification:
    """Measure how well all classifiers of a data set tell the classes of cases."""
    input:
        tables=collect(
            "<results>/{{dataset}}/{classifier}/classification.csv", classifier=RUN.classifiers
        ),
        cases="<results>/{dataset}/cases.csv",
    output:
        csv=report(
            "<results>/{dataset}/classification_summary.csv",
            caption="../workflow/report/classification_summary.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "summary, all measures"},
        ),
        markdown="<results>/{dataset}/classification_summary.md",
        html=report(
            "<results>/{dataset}/classification_summary.html",
            caption="../workflow/report/classification_summary.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "summary"},
        ),
        subgroups=report(
            "<results>/{dataset}/classification_subgroups.csv",
            caption="../workflow/report/classification_subgroups.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "subgroups"},
        ),
    log:
        "<logs>/{dataset}/summarise_classification.log",
    benchmark:
        "<benchmarks>/{dataset}/summarise_classification.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(60),
    params:
        code=code_key("summarise_classification"),
        classes=class_names,
        title=lambda wildcards: RUN.datasets[wildcards.dataset]["title"],
        titles=class_titles(),
        subgroups=lambda wildcards: RUN.datasets[wildcards.dataset]["subgroups"],
        seed=config["seed"],
        published=lambda wildcards: RUN.published.get(wildcards.dataset, {}),
    script:
        "../workflow/scripts/summarise_classification.py"


rule compare_classifiers:
    """Compare all pairs of classifiers of a data set on the same cases."""
    input:
        tables=collect(
            "<results>/{{dataset}}/{classifier}/classification.csv", classifier=RUN.classifiers
        ),
        cases="<results>/{dataset}/cases.csv",
    output:
        csv="<results>/{dataset}/classification_comparisons.csv",
        markdown="<results>/{dataset}/classification_comparisons.md",
        html=report(
            "<results>/{dataset}/classification_comparisons.html",
            caption="../workflow/report/classification_comparisons.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "paired comparisons"},
        ),
    log:
        "<logs>/{dataset}/compare_classifiers.log",
    benchmark:
        "<benchmarks>/{dataset}/compare_classifiers.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(60),
    params:
        code=code_key("compare_classifiers"),
        classes=class_names,
        title=lambda wildcards: RUN.datasets[wildcards.dataset]["title"],
        titles=class_titles(),
        seed=config["seed"],
    script:
        "../workflow/scripts/compare_classifiers.py"


rule rank_predictors:
    """Rank the predictors over all data sets."""
    input:
        summaries=collect("<results>/{dataset}/summary.csv", dataset=RUN.datasets),
    output:
        table=report(
            "<results>/ranking.csv",
            caption="../workflow/report/ranking.rst",
            category="1. Evaluation",
            subcategory="Ranking",
            labels={"data set": "all", "table": "ranking"},
        ),
        figure=report(
            "<results>/ranking.png",
            caption="../workflow/report/ranking.rst",
            category="1. Evaluation",
            subcategory="Ranking",
            labels={"data set": "all", "table": "ranking, picture"},
        ),
    log:
        "<logs>/rank_predictors.log",
    benchmark:
        "<benchmarks>/rank_predictors.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(10),
    params:
        code=code_key("rank_predictors"),
        titles={name: RUN.title(name) for name in RUN.predictors},
    script:
        "../workflow/scripts/rank_predictors.py"


rule select_predictor:
    """Rank all predictors of a data set and choose the best."""
    input:
        metrics=collect("<results>/{{dataset}}/{predictor}/metrics.csv", predictor=RUN.predictors),
        cases="<results>/{dataset}/cases.csv",
    output:
        choice=report(
            "<results>/{dataset}/best.json",
            caption="../workflow/report/best.rst",
            category="1. Evaluation",
            subcategory="Best predictor",
            labels={"data set": "{dataset}", "file": "best.json"},
        ),
        stability=report(
            "<results>/{dataset}/rank_stability.csv",
            caption="../workflow/report/rank_stability.rst",
            category="1. Evaluation",
            subcategory="Best predictor",
            labels={"data set": "{dataset}", "file": "stability of ranks"},
        ),
    log:
        "<logs>/{dataset}/select_predictor.log",
    benchmark:
        "<benchmarks>/{dataset}/select_predictor.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(10),
    params:
        code=code_key("select_predictor"),
        regions=evaluated_regions,
        members=RUN.predictors,
        metric=config["selection"]["metric"],
        penalty_mm=distance_penalty_mm,
        seed=config["seed"],
    script:
        "../workflow/scripts/select_predictor.py"
