"""From trained folds to probabilities, and from a finished run to segmentations of new images.

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
        procedure=procedure("prediction"),
        nnunet_name=nnunet_name,
        results=results_folder,
        device=config["device"],
        # A function of the input is not tracked: how a GPU is shared changes no prediction.
        gpu_share=lambda wildcards, input: RUN.models[wildcards.model]["gpu_share"],
        folder=subpath(output.manifest, strip_suffix=".csv"),
        names=lambda wildcards: "--splits" if wildcards.split == "val" else "--cases",
        preprocessing=preprocessing_of,
        previous=lambda wildcards, input: f"--previous {input.previous}" if input.previous else "",
    shell:
        "python -m segflow.prediction --plans {input.plans} --training {input.training}"
        " --nnunet-name {params.nnunet_name} --results {params.results} --fold {wildcards.fold}"
        " {params.names} {input.names} --preprocessed {input.preprocessed}"
        " --preprocessing {params.preprocessing} {params.previous} --device {params.device}"
        " --gpu-share {params.gpu_share} --threads {threads} --folder {params.folder}"
        " --manifest {output.manifest} > {log} 2> >(tee -a {log} >&2)"


if "archive" in config.get("new_images", {}):

    rule segment_with_archive:
        """Segment a folder of new images with a trained nnU-Net from elsewhere."""
        input:
            archive=config["new_images"]["archive"],
        output:
            manifest="{output}/segmentations.csv".format(**config["new_images"]),
        log:
            "<logs>/segment_with_archive.log",
        benchmark:
            "<benchmarks>/segment_with_archive.tsv"
        conda:
            "../envs/segflow.yaml"
        threads: 8
        resources:
            gpu=n_gpus,
            mem_mb=mem_mb(16000),
            runtime=minutes(480),
        params:
            procedure=procedure("archives"),
            state=folder_state(Path(config["new_images"]["folder"])),
            images=config["new_images"]["folder"],
            device=config["device"],
            configuration=config["new_images"].get("configuration", ""),
        shell:
            "python -m segflow.archives --archive {input.archive:q}"
            " --configuration={params.configuration:q} --images {params.images:q}"
            " --device {params.device} --threads {threads} --memory-mb {resources.mem_mb}"
            " --manifest {output.manifest:q} > {log} 2> >(tee -a {log} >&2)"

elif "new_images" in config:

    rule segment_images:
        """Segment a folder of new images with a predictor of the run, post-processing included."""
        input:
            training=lambda wildcards: collect(
                "<results>/{dataset}/{model}/fold_{fold}/training.json",
                dataset=config["new_images"]["dataset"],
                model=RUN.predictors[config["new_images"]["predictor"]],
                fold=RUN.folds,
            ),
            postprocessing="<results>/{dataset}/{predictor}/postprocessing.json".format(
                **config["new_images"]
            ),
        output:
            manifest="{output}/segmentations.csv".format(**config["new_images"]),
        log:
            "<logs>/segment_images.log",
        benchmark:
            "<benchmarks>/segment_images.tsv"
        conda:
            "../envs/segflow.yaml"
        threads: 8
        resources:
            gpu=n_gpus,
            mem_mb=mem_mb(16000),
            runtime=minutes(480),
        params:
            procedure=procedure("segmentation"),
            state=folder_state(Path(config["new_images"]["folder"])),
            images=config["new_images"]["folder"],
            nnunet_name=RUN.nnunet_name(config["new_images"]["dataset"]),
            dataset=config["new_images"]["dataset"],
            results=results_folder,
            device=config["device"],
            members=" ".join(
                f"{model}:{weight}"
                for model, weight in RUN.predictors[config["new_images"]["predictor"]].items()
            ),
            folds=" ".join(str(fold) for fold in RUN.folds),
            gpu_share=lambda wildcards, input: min(
                RUN.models[model]["gpu_share"]
                for model in RUN.predictors[config["new_images"]["predictor"]]
            ),
        shell:
            "python -m segflow.segmentation --images {params.images:q} --dataset {params.dataset}"
            " --nnunet-name {params.nnunet_name} --results {params.results}"
            " --members {params.members} --folds {params.folds}"
            " --postprocessing {input.postprocessing} --device {params.device}"
            " --gpu-share {params.gpu_share} --threads {threads} --memory-mb {resources.mem_mb}"
            " --manifest {output.manifest:q} > {log} 2> >(tee -a {log} >&2)"
