"""From trained folds to files that leave the project.

In: trained folds, the chosen post-processing, tables of results. Out: a predictor as one zip, which
nnU-Net and this project read, and networks in ONNX, which need neither.
"""


rule export_predictor:
    """Write a predictor as one zip, with a model card, licence and provenance."""
    input:
        training=lambda wildcards: trainings(
            [wildcards.dataset], RUN.with_previous(RUN.networks[wildcards.exported])
        ),
        postprocessing=lambda wildcards: (
            "<results>/{dataset}/{exported}/postprocessing.json"
            if wildcards.exported in RUN.predictors
            else []
        ),
        ranges="<results>/{dataset}/training_ranges.json",
        description="<results>/{dataset}/dataset.json",
        cases="<results>/{dataset}/cases.csv",
        splits="<results>/{dataset}/splits.json",
        summaries=lambda wildcards: [
            f"<results>/{wildcards.dataset}/{name}" for name in RUN.summaries(wildcards.dataset)
        ],
    output:
        archive="<results>/{dataset}/{exported}/predictor.zip",
    log:
        "<logs>/{dataset}/{exported}/export_predictor.log",
    benchmark:
        "<benchmarks>/{dataset}/{exported}/export_predictor.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(60),
    params:
        code=code_key("export_predictor"),
        title=lambda wildcards: RUN.title(wildcards.exported),
        results=results_folder,
        nnunet_name=nnunet_name,
        dataset=lambda wildcards: RUN.datasets[wildcards.dataset],
        models=lambda wildcards: {
            model: {**RUN.models[model], "folds": RUN.folds_of(model)}
            for model in RUN.with_previous(RUN.networks[wildcards.exported])
        },
        weights=lambda wildcards: RUN.networks[wildcards.exported],
        classes=lambda wildcards: RUN.classes_by_networks(wildcards.dataset, wildcards.exported),
        config=lasting(config),
    script:
        "../workflow/scripts/export_predictor.py"


rule export_onnx:
    """Write the network of a trained fold in ONNX, and check that it gives the same logits."""
    input:
        plans="<results>/{dataset}/{model}/plans.json",
        training="<results>/{dataset}/{model}/fold_{fold}/training.json",
    output:
        network="<results>/{dataset}/{model}/fold_{fold}/network.onnx",
    log:
        "<logs>/{dataset}/{model}/export_onnx/{fold}.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/export_onnx/{fold}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(16000),
        runtime=minutes(60),
    params:
        code=code_key("export_onnx"),
        results=results_folder,
        nnunet_name=nnunet_name,
    script:
        "../workflow/scripts/export_onnx.py"
