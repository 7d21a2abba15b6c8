"""From preprocessed data and folds to trained networks.

In: plans, preprocessed cases, folds and, for a cascade, the predictions of its previous stage. Out:
for each fold `training.json`, which names the checkpoints in nnU-Net's results folder by their
hashes. The checkpoints are no declared outputs: Snakemake would remove them before a job runs
again, and with them the training that the job resumes.
"""


rule transfer_previous_stage:
    """Bring the segmentations of the previous stage to the grid of the preprocessed cases."""
    input:
        predictions=lambda wildcards: "<results>/{{dataset}}/{}/predictions/{}/raw/predictions.csv".format(
            RUN.models[wildcards.model]["previous_model"],
            "val" if wildcards.part == "train" else "test",
        ),
        preprocessed=lambda wildcards: f"<results>/{{dataset}}/preprocessed/{preprocessing_of(wildcards)}/{{part}}.csv",
        plans="<results>/{dataset}/{model}/plans.json",
    output:
        manifest="<results>/{dataset}/{model}/previous_stage/{part}.csv",
    log:
        "<logs>/{dataset}/{model}/transfer_previous_stage/{part}.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/transfer_previous_stage/{part}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(120),
    params:
        code=code_key("transfer_previous_stage"),
        results=results_folder,
        nnunet_name=nnunet_name,
        preprocessing=preprocessing_of,
    script:
        "../workflow/scripts/transfer_previous_stage.py"


rule train_fold:
    """Train one fold; an interrupted training goes on, an unchanged one is not repeated."""
    input:
        plans="<results>/{dataset}/{model}/plans.json",
        splits="<results>/{dataset}/splits.json",
        preprocessed=preprocessed_cases,
        previous=lambda wildcards: (
            previous_stage(wildcards) if RUN.starts_from_previous(wildcards.model) else []
        ),
        classes=lambda wildcards: (
            "<results>/{dataset}/cases/train.csv" if RUN.learns_classes(wildcards.model) else []
        ),
    output:
        manifest="<results>/{dataset}/{model}/fold_{fold}/training.json",
        progress="<results>/{dataset}/{model}/fold_{fold}/progress.csv",
    log:
        "<logs>/{dataset}/{model}/train_fold/{fold}.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/train_fold/{fold}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: lambda wildcards: RUN.models[wildcards.model]["threads"]
    resources:
        gpu=lambda wildcards: n_gpus(wildcards) * RUN.models[wildcards.model]["n_gpus"],
        mem_mb=lambda wildcards, attempt: (
            mem_mb(16000)(wildcards, attempt) * RUN.models[wildcards.model]["n_gpus"]
        ),
        runtime=minutes(2880),
    params:
        procedure=procedure("models.training"),
        nnunet_name=nnunet_name,
        results=results_folder,
        device=config["device"],
        n_gpus=lambda wildcards: RUN.models[wildcards.model]["n_gpus"],
        # Functions of the input are not tracked: how a GPU is shared, and that a training is
        # forgotten, is no change of it.
        gpu_share=lambda wildcards, input: RUN.models[wildcards.model]["gpu_share"],
        fresh=lambda wildcards, input: "--fresh" if config["fresh"] else "",
        previous=lambda wildcards, input: ["--previous", input.previous] if input.previous else [],
        classes=lambda wildcards, input: ["--cases", input.classes] if input.classes else [],
    shell:
        ": > {log:q}; "
        "python -m train_fold --plans {input.plans:q} --nnunet-name {params.nnunet_name}"
        " --results {params.results:q} --splits {input.splits:q} --fold {wildcards.fold}"
        " --preprocessed {input.preprocessed:q} {params.previous:q} {params.classes:q}"
        " --device {params.device} --n-gpus {params.n_gpus} --gpu-share {params.gpu_share} --threads {threads}"
        " --memory-mb {resources.mem_mb} --manifest {output.manifest:q}"
        " --progress {output.progress:q} {params.fresh} >> {log:q} 2> >(tee -a {log:q} >&2)"
