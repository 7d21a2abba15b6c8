"""What networks look at that tell brains apart.

In: trained folds, preprocessed brains, what the model says of them. Out: `saliency.csv` of each model
that is explained, mean maps of each class and method beside it, and a figure. Nothing runs unless
`saliency` asks for it.
"""

if "saliency" in config:

    rule explain_classifier:
        """Explain validation cases by networks that were not trained on them; average by class."""
        input:
            plans="<results>/{dataset}/{model}/plans.json",
            trainings=lambda wildcards: trainings([wildcards.dataset], [wildcards.model]),
            classification="<results>/{dataset}/{model}/classification.csv",
            preprocessed=preprocessed_cases,
            ages=lambda wildcards: (
                "<results>/{dataset}/cases/train.csv" if RUN.uses_age(wildcards.model) else []
            ),
        output:
            table=report(
                "<results>/{dataset}/{model}/saliency.csv",
                caption="../workflow/report/saliency.rst",
                category="1. Evaluation",
                subcategory="Classes",
                labels={"data set": "{dataset}", "table": "{model}, cases that are explained"},
            ),
        log:
            "<logs>/{dataset}/{model}/explain_classifier.log",
        benchmark:
            "<benchmarks>/{dataset}/{model}/explain_classifier.tsv"
        conda:
            "../envs/segflow.yaml"
        threads: lambda wildcards: RUN.models[wildcards.model]["threads"]
        resources:
            gpu=n_gpus,
            mem_mb=mem_mb(16000),
            runtime=minutes(480),
        params:
            procedure=procedure("models.saliency"),
            nnunet_name=nnunet_name,
            results=results_folder,
            folds=lambda wildcards: RUN.folds_of(wildcards.model),
            classes=class_names,
            wanted=config["saliency"],
            device=config["device"],
            # A function of the input is not tracked: how a GPU is shared changes no map.
            gpu_share=lambda wildcards, input: RUN.models[wildcards.model]["gpu_share"],
            folder=subpath(output.table, strip_suffix=".csv"),
            preprocessing=preprocessing_of,
            ages=lambda wildcards, input: ["--ages", input.ages] if input.ages else [],
        shell:
            ": > {log:q}; "
            "python -m explain_classifier --plans {input.plans:q} --trainings {input.trainings:q}"
            " --folds {params.folds} --nnunet-name {params.nnunet_name}"
            " --results {params.results:q} --classification {input.classification:q}"
            " --classes {params.classes:q} --cases-per-class {params.wanted[cases_per_class]}"
            " --steps {params.wanted[steps]} --block-mm {params.wanted[block_mm]} {params.ages:q}"
            " --preprocessed {input.preprocessed:q} --preprocessing {params.preprocessing}"
            " --device {params.device} --gpu-share {params.gpu_share} --threads {threads}"
            " --folder {params.folder:q} --table {output.table:q} >> {log:q} 2> >(tee -a {log:q} >&2)"

    rule plot_saliency:
        """Draw what a model's networks look at over the template."""
        input:
            table="<results>/{dataset}/{model}/saliency.csv",
        output:
            figure=report(
                "<results>/{dataset}/{model}/saliency.png",
                caption="../workflow/report/saliency.rst",
                category="1. Evaluation",
                subcategory="Classes",
                labels={"data set": "{dataset}", "table": "{model}, what it looks at"},
            ),
        log:
            "<logs>/{dataset}/{model}/plot_saliency.log",
        benchmark:
            "<benchmarks>/{dataset}/{model}/plot_saliency.tsv"
        conda:
            "../envs/segflow.yaml"
        resources:
            mem_mb=mem_mb(4000),
            runtime=minutes(10),
        params:
            code=code_key("plot_saliency"),
            classes=class_names,
            title=lambda wildcards: RUN.title(wildcards.model),
            folder=subpath(input.table, strip_suffix=".csv"),
        script:
            "../workflow/scripts/plot_saliency.py"
