"""From tables of classes, one a fold, to what each classifier says of all cases.

In: `classes/fold_{fold}_{split}.csv` of each member that tells classes, whatever makes it. Out:
`classification.csv` of each predictor that tells classes, and such members as need no network: the
baselines, and classifiers that are fitted to features of predicted lesions or of brains.
"""


rule gather_classification:
    """Average the probabilities of classes of all members of a predictor."""
    input:
        val=class_tables("val"),
        test=class_tables("test"),
        cases="<results>/{dataset}/cases.csv",
        splits="<results>/{dataset}/splits.json",
    output:
        table=report(
            "<results>/{dataset}/{classifier}/classification.csv",
            caption="../workflow/report/classification.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "{classifier}, case by case"},
        ),
    log:
        "<logs>/{dataset}/{classifier}/gather_classification.log",
    benchmark:
        "<benchmarks>/{dataset}/{classifier}/gather_classification.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("gather_classification"),
        val=lambda wildcards: RUN.class_members(wildcards.classifier, "val"),
        test=lambda wildcards: RUN.class_members(wildcards.classifier, "test"),
        classes=class_names,
    script:
        "../workflow/scripts/gather_classification.py"


rule classify_by_prior:
    """Say of every case how frequent classes are among a fold's training cases."""
    input:
        cases="<results>/{dataset}/cases.csv",
        splits="<results>/{dataset}/splits.json",
    output:
        table="<results>/{dataset}/{baseline}/classes/fold_{fold}_{split}.csv",
    log:
        "<logs>/{dataset}/{baseline}/classify_by_prior/{fold}_{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{baseline}/classify_by_prior/{fold}_{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("classify_by_prior"),
        classes=class_names,
    script:
        "../workflow/scripts/classify_by_prior.py"


rule measure_features:
    """Measure shape, intensity and texture of the lesions that a predictor sees."""
    input:
        predictions="<results>/{dataset}/{predictor}/predictions/{split}/raw/predictions.csv",
    output:
        table="<results>/{dataset}/{predictor}/features_{split}.csv",
    log:
        "<logs>/{dataset}/{predictor}/measure_features/{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{predictor}/measure_features/{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(240),
    params:
        code=code_key("measure_features"),
        values=lesion_values,
        channels=lambda wildcards: len(RUN.datasets[wildcards.dataset]["channels"]),
        raw=nnunet_raw,
    script:
        "../workflow/scripts/measure_features.py"


rule measure_regions:
    """Measure fluid, grey and white matter in regions of normalised brains."""
    input:
        cases="<results>/{dataset}/cases.csv",
    output:
        table="<results>/{dataset}/region_volumes.csv",
    log:
        "<logs>/{dataset}/measure_regions.log",
    benchmark:
        "<benchmarks>/{dataset}/measure_regions.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(120),
    params:
        code=code_key("measure_regions"),
        raw=nnunet_raw,
    script:
        "../workflow/scripts/measure_regions.py"


rule classify_by_features:
    """Fit a classifier to features of a fold's training cases, and tell the classes of others."""
    input:
        features=measured_features,
        cases="<results>/{dataset}/cases.csv",
        splits="<results>/{dataset}/splits.json",
    output:
        table="<results>/{dataset}/{feature_classifier}/classes/fold_{fold}_{split}.csv",
    log:
        "<logs>/{dataset}/{feature_classifier}/classify_by_features/{fold}_{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{feature_classifier}/classify_by_features/{fold}_{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(30),
    params:
        code=code_key("classify_by_features"),
        method=lambda wildcards: config["feature_classifiers"][wildcards.feature_classifier][
            "method"
        ],
        classes=class_names,
        seed=config["seed"],
    script:
        "../workflow/scripts/classify_by_features.py"
