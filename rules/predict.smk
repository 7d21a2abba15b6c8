"""From trained folds to probabilities.

In: trained folds and preprocessed cases. Out: a table of predicted cases for each fold; the
probabilities lie beside it and are read by the ensemble.
"""


rule predict_fold:
    """Predict a fold's validation cases, or the test cases with a fold's network."""
    input:
        plans="<results>/{dataset}/{model}/plans.json",
        training="<results>/{dataset}/{model}/fold_{fold}/training.json",
        preprocessed=preprocessed_cases,
        previous=previous_stage,
        ages=lambda wildcards: (
            "<results>/{{dataset}}/cases/{}.csv".format(
                "train" if wildcards.split == "val" else "test"
            )
            if RUN.uses_age(wildcards.model)
            else []
        ),
        names=lambda wildcards: (
            "<results>/{dataset}/splits.json"
            if wildcards.split == "val"
            else "<results>/{dataset}/cases/test.csv"
        ),
    output:
        manifest=kept_or_temporary(
            "<results>/{dataset}/{model}/probabilities/fold_{fold}_{split}.csv"
        ),
    log:
        "<logs>/{dataset}/{model}/predict_fold/{fold}_{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/predict_fold/{fold}_{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: lambda wildcards: RUN.models[wildcards.model]["threads"]
    resources:
        gpu=n_gpus,
        mem_mb=mem_mb(16000),
        runtime=minutes(480),
    params:
        procedure=procedure("models.prediction"),
        nnunet_name=nnunet_name,
        results=results_folder,
        device=config["device"],
        # A function of the input is not tracked: how a GPU is shared changes no prediction.
        gpu_share=lambda wildcards, input: RUN.models[wildcards.model]["gpu_share"],
        folder=subpath(output.manifest, strip_suffix=".csv"),
        names=lambda wildcards: "--splits" if wildcards.split == "val" else "--cases",
        preprocessing=preprocessing_of,
        previous=lambda wildcards, input: ["--previous", input.previous] if input.previous else [],
        ages=lambda wildcards, input: ["--ages", input.ages] if input.ages else [],
    shell:
        ": > {log:q}; "
        "python -m predict_fold --plans {input.plans:q} --training {input.training:q}"
        " --nnunet-name {params.nnunet_name} --results {params.results:q} --fold {wildcards.fold}"
        " {params.names} {input.names:q} --preprocessed {input.preprocessed:q}"
        " --preprocessing {params.preprocessing} {params.previous:q} {params.ages:q} --device {params.device}"
        " --gpu-share {params.gpu_share} --threads {threads} --folder {params.folder:q}"
        " --manifest {output.manifest:q} >> {log:q} 2> >(tee -a {log:q} >&2)"


rule collect_classes:
    """Gather the class probabilities of a fold's cases, of a model with a head."""
    input:
        manifest="<results>/{dataset}/{model}/probabilities/fold_{fold}_{split}.csv",
    output:
        table="<results>/{dataset}/{model}/classes/fold_{fold}_{split}.csv",
    log:
        "<logs>/{dataset}/{model}/collect_classes/{fold}_{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/collect_classes/{fold}_{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("collect_classes"),
        classes=lambda wildcards: RUN.datasets[wildcards.dataset]["classes"],
        folder=subpath(input.manifest, strip_suffix=".csv"),
    script:
        "../workflow/scripts/collect_classes.py"
