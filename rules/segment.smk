"""From a finished run, or a trained nnU-Net from elsewhere, to segmentations of new images.

In: a folder of new images (`new_images` of the configuration). Out: a label map for each image, and
a table of them.
"""

if "archive" in config.get("new_images", {}):

    rule segment_with_archive:
        """Segment a folder of new images with a trained nnU-Net from elsewhere."""
        input:
            archive=config["new_images"]["archive"],
        output:
            # What was segmented before stays there until it is segmented anew.
            manifest=update("{output}/segmentations.csv".format(**config["new_images"])),
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
            procedure=procedure("predictors.archives"),
            state=new_images_state,
            images=config["new_images"]["folder"],
            device=config["device"],
            configuration=config["new_images"].get("configuration", ""),
        shell:
            ": > {log:q}; "
            "python -m segment_with_archive --archive {input.archive:q}"
            " --configuration={params.configuration:q} --images {params.images:q}"
            " --device {params.device} --threads {threads} --memory-mb {resources.mem_mb}"
            " --manifest {output.manifest:q} >> {log:q} 2> >(tee -a {log:q} >&2)"

elif "new_images" in config:

    rule segment_images:
        """Segment a folder of new images with a predictor of the run, post-processing included."""
        input:
            training=trainings(
                [config["new_images"]["dataset"]],
                RUN.with_previous(RUN.predictors[config["new_images"]["predictor"]]),
            ),
            postprocessing="<results>/{dataset}/{predictor}/postprocessing.json".format(
                **config["new_images"]
            ),
        output:
            # What was segmented before stays there until it is segmented anew.
            manifest=update("{output}/segmentations.csv".format(**config["new_images"])),
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
            procedure=procedure("predictors.segmentation"),
            state=new_images_state,
            images=config["new_images"]["folder"],
            nnunet_name=RUN.nnunet_name(config["new_images"]["dataset"]),
            dataset=config["new_images"]["dataset"],
            results=results_folder,
            device=config["device"],
            members=[
                f"{model}:{weight}"
                for model, weight in RUN.predictors[config["new_images"]["predictor"]].items()
            ],
            folds=[
                f"{model}:{','.join(map(str, RUN.folds_of(model)))}"
                for model in RUN.with_previous(RUN.predictors[config["new_images"]["predictor"]])
            ],
            gpu_share=lambda wildcards, input: min(
                RUN.models[model]["gpu_share"]
                for model in RUN.predictors[config["new_images"]["predictor"]]
            ),
        shell:
            ": > {log:q}; "
            "python -m segment_images --images {params.images:q} --dataset {params.dataset}"
            " --nnunet-name {params.nnunet_name} --results {params.results:q}"
            " --members {params.members} --folds {params.folds}"
            " --postprocessing {input.postprocessing:q} --device {params.device}"
            " --gpu-share {params.gpu_share} --threads {threads} --memory-mb {resources.mem_mb}"
            " --manifest {output.manifest:q} >> {log:q} 2> >(tee -a {log:q} >&2)"
