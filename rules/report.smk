"""Figures, provenance and report.

In: the tables and label maps. Out: learning curves, box plots, case panels, `run.json`, the report,
with cases for its viewer, and the one that Snakemake makes of all that rules mark with `report()`; for
other tools a dictionary of all tables, colours of labels, and the run as an RO-Crate.
"""


rule plot_training:
    """Draw the learning curves of all folds of a model."""
    input:
        progress=lambda wildcards: collect(
            "<results>/{dataset}/{model}/fold_{fold}/progress.csv",
            fold=RUN.folds_of(wildcards.model),
            allow_missing=True,
        ),
    output:
        figure=report(
            "<results>/{dataset}/{model}/training.png",
            caption="../workflow/report/training.rst",
            category="4. Training",
            labels={"data set": "{dataset}", "model": "{model}"},
        ),
    log:
        "<logs>/{dataset}/{model}/plot_training.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/plot_training.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(10),
    params:
        code=code_key("plot_training"),
        folds=lambda wildcards: RUN.folds_of(wildcards.model),
        title=lambda wildcards: RUN.title(wildcards.model),
    script:
        "../workflow/scripts/plot_training.py"


rule plot_augmentation:
    """Show patches before and after a model's augmentation."""
    input:
        plans="<results>/{dataset}/{model}/plans.json",
        splits="<results>/{dataset}/splits.json",
        preprocessed=preprocessed_cases,
        previous=previous_stage,
    output:
        figure=report(
            "<results>/{dataset}/{model}/augmentation.png",
            caption="../workflow/report/augmentation.rst",
            category="4. Training",
            labels={"data set": "{dataset}", "model": "{model}, what it sees"},
        ),
    log:
        "<logs>/{dataset}/{model}/plot_augmentation.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/plot_augmentation.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(30),
    params:
        code=code_key("plot_augmentation"),
        nnunet_name=nnunet_name,
        fold=lambda wildcards: RUN.folds_of(wildcards.model)[0],
        results=results_folder,
    script:
        "../workflow/scripts/plot_augmentation.py"


rule plot_learning_curves:
    """Draw the learning curves of all models side by side."""
    input:
        progress=lambda wildcards: [
            f"<results>/{{dataset}}/{model}/fold_{fold}/progress.csv"
            for model in RUN.models
            for fold in RUN.folds_of(model)
        ],
    output:
        figure=report(
            "<results>/{dataset}/learning_curves.png",
            caption="../workflow/report/learning_curves.rst",
            category="4. Training",
            labels={"data set": "{dataset}", "model": "all, side by side"},
        ),
    log:
        "<logs>/{dataset}/plot_learning_curves.log",
    benchmark:
        "<benchmarks>/{dataset}/plot_learning_curves.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(10),
    params:
        code=code_key("plot_learning_curves"),
        titles={name: RUN.title(name) for name in RUN.models},
    script:
        "../workflow/scripts/plot_learning_curves.py"


rule count_costs:
    """Tell what each predictor costs to train and to use."""
    input:
        plans=collect("<results>/{{dataset}}/{model}/plans.json", model=RUN.models),
        trainings=lambda wildcards: trainings([wildcards.dataset], RUN.models),
        preprocessed=[
            f"<results>/{{dataset}}/preprocessed/{RUN.preprocessing(model)}/train.csv"
            for model in RUN.models
        ],
    output:
        table=report(
            "<results>/{dataset}/costs.csv",
            caption="../workflow/report/costs.rst",
            category="4. Training",
            labels={"data set": "{dataset}", "model": "all, their costs"},
        ),
    log:
        "<logs>/{dataset}/count_costs.log",
    benchmark:
        "<benchmarks>/{dataset}/count_costs.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(30),
    params:
        code=code_key("count_costs"),
        models=list(RUN.models),
        predictors={name: list(models) for name, models in RUN.networks.items()},
        results=results_folder,
        nnunet_name=nnunet_name,
    script:
        "../workflow/scripts/count_costs.py"


rule plot_metrics:
    """Draw box plots of the Dice of every predictor and label, and the agreement of volumes."""
    input:
        metrics=collect("<results>/{{dataset}}/{predictor}/metrics.csv", predictor=RUN.predictors),
        agreement="<results>/{dataset}/volumes.csv",
    output:
        figure=report(
            "<results>/{dataset}/metrics.png",
            caption="../workflow/report/box_plots.rst",
            category="1. Evaluation",
            subcategory="Figures",
            labels={"data set": "{dataset}", "figure": "Dice by predictor and label"},
        ),
        volumes=report(
            "<results>/{dataset}/volumes.png",
            caption="../workflow/report/volumes.rst",
            category="1. Evaluation",
            subcategory="Figures",
            labels={"data set": "{dataset}", "figure": "agreement of volumes"},
        ),
    log:
        "<logs>/{dataset}/plot_metrics.log",
    benchmark:
        "<benchmarks>/{dataset}/plot_metrics.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(10),
    params:
        code=code_key("plot_metrics"),
        titles={name: RUN.title(name) for name in RUN.predictors},
    script:
        "../workflow/scripts/plot_metrics.py"


rule plot_probabilities:
    """Draw reliability diagrams and FROC curves."""
    input:
        calibration="<results>/{dataset}/calibration.csv",
        reliability="<results>/{dataset}/reliability.csv",
        froc="<results>/{dataset}/froc.csv",
        curves="<results>/{dataset}/froc_curves.csv",
    output:
        reliability=report(
            "<results>/{dataset}/reliability.png",
            caption="../workflow/report/reliability.rst",
            category="1. Evaluation",
            subcategory="Probabilities",
            labels={"data set": "{dataset}", "table": "reliability, picture"},
        ),
        froc=report(
            "<results>/{dataset}/froc.png",
            caption="../workflow/report/froc.rst",
            category="1. Evaluation",
            subcategory="Probabilities",
            labels={"data set": "{dataset}", "table": "FROC, picture"},
        ),
    log:
        "<logs>/{dataset}/plot_probabilities.log",
    benchmark:
        "<benchmarks>/{dataset}/plot_probabilities.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(10),
    params:
        code=code_key("plot_probabilities"),
        titles={name: RUN.title(name) for name in RUN.predictors},
    script:
        "../workflow/scripts/plot_probabilities.py"


rule plot_classification:
    """Draw curves, confusion matrices, reliability and the cases of all classifiers."""
    input:
        tables=collect(
            "<results>/{{dataset}}/{classifier}/classification.csv", classifier=RUN.classifiers
        ),
        cases="<results>/{dataset}/cases.csv",
    output:
        curves=report(
            "<results>/{dataset}/classification_curves.png",
            caption="../workflow/report/classification_curves.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "ROC and precision-recall curves, picture"},
        ),
        confusion=report(
            "<results>/{dataset}/classification_confusion.png",
            caption="../workflow/report/classification_confusion.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "confusion matrices, picture"},
        ),
        reliability=report(
            "<results>/{dataset}/classification_reliability.png",
            caption="../workflow/report/classification_reliability.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "reliability, picture"},
        ),
        cases=report(
            "<results>/{dataset}/classification_cases.png",
            caption="../workflow/report/classification_cases.rst",
            category="1. Evaluation",
            subcategory="Classes",
            labels={"data set": "{dataset}", "table": "probability of the true class, picture"},
        ),
    log:
        "<logs>/{dataset}/plot_classification.log",
    benchmark:
        "<benchmarks>/{dataset}/plot_classification.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(60),
    params:
        code=code_key("plot_classification"),
        classes=class_names,
        titles=class_titles(),
        seed=config["seed"],
    script:
        "../workflow/scripts/plot_classification.py"


rule plot_cases:
    """Show the best, a median and the worst case of a predictor."""
    input:
        metrics="<results>/{dataset}/{predictor}/metrics.csv",
        cases="<results>/{dataset}/cases.csv",
    output:
        figure=report(
            "<results>/{dataset}/{predictor}/cases_{split}.png",
            caption="../workflow/report/cases_figure.rst",
            category="2. Cases",
            labels={"data set": "{dataset}", "predictor": "{predictor}", "split": "{split}"},
        ),
    log:
        "<logs>/{dataset}/{predictor}/plot_cases/{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{predictor}/plot_cases/{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(30),
    params:
        code=code_key("plot_cases"),
        labels=lambda wildcards: RUN.datasets[wildcards.dataset]["labels"],
        channels=lambda wildcards: RUN.datasets[wildcards.dataset]["channels"],
        raw=nnunet_raw,
    script:
        "../workflow/scripts/plot_cases.py"


rule plot_case_comparison:
    """Show the same cases as all predictors see them."""
    input:
        metrics=collect("<results>/{{dataset}}/{predictor}/metrics.csv", predictor=RUN.predictors),
        cases="<results>/{dataset}/cases.csv",
    output:
        figure=report(
            "<results>/{dataset}/case_comparison_{split}.png",
            caption="../workflow/report/case_comparison.rst",
            category="2. Cases",
            labels={"data set": "{dataset}", "predictor": "all, side by side", "split": "{split}"},
        ),
    log:
        "<logs>/{dataset}/plot_case_comparison/{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/plot_case_comparison/{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(30),
    params:
        code=code_key("plot_case_comparison"),
        titles={name: RUN.title(name) for name in RUN.predictors},
        labels=lambda wildcards: RUN.datasets[wildcards.dataset]["labels"],
        channels=lambda wildcards: RUN.datasets[wildcards.dataset]["channels"],
        raw=nnunet_raw,
    script:
        "../workflow/scripts/plot_case_comparison.py"


rule write_provenance:
    """Record what the results were made from and with."""
    input:
        summaries=[
            f"<results>/{dataset}/{name}"
            for dataset in RUN.datasets
            for name in RUN.summaries(dataset)
        ],
        cases=collect("<results>/{dataset}/cases.csv", dataset=RUN.datasets),
        splits=collect("<results>/{dataset}/splits.json", dataset=RUN.datasets),
        training=trainings(RUN.datasets, RUN.models),
    output:
        record=report(
            "<results>/run.json",
            caption="../workflow/report/run.rst",
            category="6. Provenance",
            labels={"file": "run.json"},
        ),
    log:
        "<logs>/write_provenance.log",
    benchmark:
        "<benchmarks>/write_provenance.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("write_provenance"),
        config=lasting(config),
        models=RUN.models,
        datasets=RUN.datasets,
        procedures=procedures(),
    script:
        "../workflow/scripts/write_provenance.py"


rule prepare_viewer:
    """Write every predicted case as the report's viewer shows it."""
    input:
        predictions=[
            f"<results>/{{dataset}}/{predictor}/predictions/{split}/{stage}/predictions.csv"
            for predictor in RUN.predictors
            for split in RUN.splits_of(predictor)
            for stage in ("raw", "postprocessed")
        ],
        cases="<results>/{dataset}/cases.csv",
        splits="<results>/{dataset}/splits.json",
    output:
        table="<results>/{dataset}/viewer.csv",
    log:
        "<logs>/{dataset}/prepare_viewer.log",
    benchmark:
        "<benchmarks>/{dataset}/prepare_viewer.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(240),
    params:
        code=code_key("prepare_viewer"),
        folds=RUN.folds,
        labels=lambda wildcards: RUN.datasets[wildcards.dataset]["labels"],
        channels=lambda wildcards: RUN.datasets[wildcards.dataset]["channels"],
        raw=nnunet_raw,
    script:
        "../workflow/scripts/prepare_viewer.py"


rule make_report:
    """Write the report: one page with answer, tables, figures and a viewer of cases."""
    input:
        targets("figures"),
        tables=targets("page"),
    output:
        report="<results>/report.html",
    log:
        "<logs>/make_report.log",
    benchmark:
        "<benchmarks>/make_report.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(30),
    params:
        code=code_key("make_report"),
        page=page_key(),
        config=lasting(config),
        datasets={name: RUN.datasets[name] for name in RUN.selected["dataset"]},
        models=RUN.models,
        titles={name: RUN.title(name) for name in RUN.predictors},
        members={name: list(members) for name, members in RUN.predictors.items()},
        class_titles={name: class_titles() if RUN.classifies(name) else {} for name in RUN.datasets},
    script:
        "../workflow/scripts/make_report.py"


rule make_workflow_report:
    """Let Snakemake gather tables, figures and provenance into a page of its own."""
    input:
        targets("figures"),
    output:
        report="<results>/workflow_report.html",
        config="<results>/config.yaml",
    log:
        "<logs>/make_workflow_report.log",
    benchmark:
        "<benchmarks>/make_workflow_report.tsv"
    localrule: True
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(30),
    params:
        code=code_key("make_workflow_report"),
        config=lasting(config),
        pathvars=config["pathvars"],
        # Not tracked: where the project lies changes nothing in the report.
        snakefile=lambda wildcards, input: f"{SOURCE}/Snakefile",
    script:
        "../workflow/scripts/make_workflow_report.py"


rule describe_tables:
    """Say what every column of every table is, in a Frictionless Data Package."""
    input:
        tables=targets("tables"),
    output:
        package="<results>/datapackage.json",
    log:
        "<logs>/describe_tables.log",
    benchmark:
        "<benchmarks>/describe_tables.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("describe_tables"),
        words=dictionary_key(),
        datasets={
            name: {key: RUN.datasets[name][key] for key in ("title", "license", "source")}
            for name in RUN.selected["dataset"]
        },
    script:
        "../workflow/scripts/describe_tables.py"


rule write_label_colours:
    """Name and colour the labels of a data set for ITK-SNAP and 3D Slicer, as the report does."""
    output:
        itksnap="<results>/{dataset}/labels_itksnap.txt",
        slicer="<results>/{dataset}/labels_slicer.ctbl",
    log:
        "<logs>/{dataset}/write_label_colours.log",
    benchmark:
        "<benchmarks>/{dataset}/write_label_colours.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("write_label_colours"),
        labels=lambda wildcards: RUN.datasets[wildcards.dataset]["labels"],
    script:
        "../workflow/scripts/write_label_colours.py"


rule write_crate:
    """Describe the run as a Workflow Run RO-Crate: inputs, software, parameters, results."""
    input:
        files=[
            *targets("tables"),
            *targets("figures"),
            "<results>/report.html",
            "<results>/workflow_report.html",
            "<results>/config.yaml",
            "<results>/datapackage.json",
        ],
        record="<results>/run.json",
        cases=collect("<results>/{dataset}/cases.csv", dataset=RUN.datasets),
    output:
        crate="<results>/ro-crate-metadata.json",
        workflow="<results>/Snakefile",
    log:
        "<logs>/write_crate.log",
    benchmark:
        "<benchmarks>/write_crate.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(30),
    params:
        code=code_key("write_crate"),
        # Not tracked: where the project lies changes nothing.
        snakefile=lambda wildcards, input: f"{SOURCE}/Snakefile",
    script:
        "../workflow/scripts/write_crate.py"
