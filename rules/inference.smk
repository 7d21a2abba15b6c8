"""How fast trained folds predict, in several ways, and what each way loses.

In: trained folds, preprocessed cases, reference label maps. Out: `inference.csv`, `inference.json`
with what is proposed, and a figure. Nothing runs unless `inference_study` asks for it.
"""

if "inference_study" in config:

    rule study_inference:
        """Predict a fold's validation cases with every setting of the study, and measure each."""
        input:
            plans="<results>/{dataset}/{model}/plans.json",
            training="<results>/{dataset}/{model}/fold_{fold}/training.json",
            preprocessed=preprocessed_cases,
            previous=previous_stage,
            splits="<results>/{dataset}/splits.json",
        output:
            table="<results>/{dataset}/{model}/inference/fold_{fold}.csv",
        log:
            "<logs>/{dataset}/{model}/study_inference/{fold}.log",
        benchmark:
            "<benchmarks>/{dataset}/{model}/study_inference/{fold}.tsv"
        conda:
            "../envs/segflow.yaml"
        # Alone, whatever the cores: jobs beside it would be measured, too.
        threads: all_cores()
        resources:
            gpu=n_gpus,
            mem_mb=mem_mb(16000),
            runtime=minutes(480),
        params:
            procedure=procedure("predictors.inference_study"),
            nnunet_name=nnunet_name,
            results=results_folder,
            device=config["device"],
            n_cases=config["inference_study"]["cases"],
            settings=lambda wildcards: json.dumps(RUN.settings_to_try(wildcards.model)),
            labels=lambda wildcards: json.dumps(RUN.measured(wildcards.dataset)),
            folder=subpath(output.table, strip_suffix=".csv"),
            preprocessing=preprocessing_of,
            previous=lambda wildcards, input: (
                ["--previous", input.previous] if input.previous else []
            ),
        shell:
            ": > {log:q}; "
            "python -m study_inference --plans {input.plans:q} --training {input.training:q}"
            " --nnunet-name {params.nnunet_name} --results {params.results:q} --fold {wildcards.fold}"
            " --splits {input.splits:q} --n-cases {params.n_cases}"
            " --preprocessed {input.preprocessed:q} --preprocessing {params.preprocessing}"
            " {params.previous:q} --settings {params.settings:q} --labels {params.labels:q}"
            " --device {params.device} --threads {threads} --folder {params.folder:q}"
            " --table {output.table:q} >> {log:q} 2> >(tee -a {log:q} >&2)"

    rule summarise_inference:
        """Compare all settings of the study, and propose a fast and an exact one."""
        input:
            tables=[
                f"<results>/{{dataset}}/{model}/inference/fold_{fold}.csv"
                for model in RUN.studied_models
                for fold in RUN.folds_of(model)
            ],
            cases="<results>/{dataset}/cases.csv",
        output:
            table=report(
                "<results>/{dataset}/inference.csv",
                caption="../workflow/report/inference.rst",
                category="1. Evaluation",
                subcategory="Inference",
                labels={"data set": "{dataset}", "table": "ways to predict"},
            ),
            choice="<results>/{dataset}/inference.json",
        log:
            "<logs>/{dataset}/summarise_inference.log",
        benchmark:
            "<benchmarks>/{dataset}/summarise_inference.tsv"
        conda:
            "../envs/segflow.yaml"
        resources:
            mem_mb=mem_mb(2000),
            runtime=minutes(10),
        params:
            code=code_key("summarise_inference"),
            settings={model: RUN.settings_to_try(model) for model in RUN.studied_models},
            allowed=config["inference_study"]["allowed_loss"],
            seed=config["seed"],
        script:
            "../workflow/scripts/summarise_inference.py"

    rule plot_inference:
        """Draw speed against Dice of all settings of the study."""
        input:
            table="<results>/{dataset}/inference.csv",
        output:
            figure=report(
                "<results>/{dataset}/inference.png",
                caption="../workflow/report/inference.rst",
                category="1. Evaluation",
                subcategory="Inference",
                labels={"data set": "{dataset}", "table": "speed against Dice"},
            ),
        log:
            "<logs>/{dataset}/plot_inference.log",
        benchmark:
            "<benchmarks>/{dataset}/plot_inference.tsv"
        conda:
            "../envs/segflow.yaml"
        resources:
            mem_mb=mem_mb(2000),
            runtime=minutes(10),
        params:
            code=code_key("plot_inference"),
            titles={model: RUN.title(model) for model in RUN.studied_models},
        script:
            "../workflow/scripts/plot_inference.py"
