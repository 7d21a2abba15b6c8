"""From a finished run, or a trained nnU-Net from elsewhere, to what it says of new images.

In: a folder of new images (`new_images` of the configuration). Out: a label map for each image,
with a preview and, of DICOM, a segmentation, tables of them and of their volumes, and a table of
their classes, as far as the predictor tells them.
"""


rule measure_training:
    """Measure the training cases, which new images are compared with."""
    input:
        cases="<results>/{dataset}/cases/train.csv",
    output:
        ranges="<results>/{dataset}/training_ranges.json",
    log:
        "<logs>/{dataset}/measure_training.log",
    benchmark:
        "<benchmarks>/{dataset}/measure_training.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(120),
    params:
        code=code_key("measure_training"),
        channels=lambda wildcards: RUN.datasets[wildcards.dataset]["channels"],
        raw=nnunet_raw,
    script:
        "../workflow/scripts/measure_training.py"


if "archive" in config.get("new_images", {}):

    rule segment_with_archive:
        """Segment a folder of new images with a trained nnU-Net from elsewhere."""
        input:
            archive=config["new_images"]["archive"],
        output:
            # What was segmented before stays there until it is segmented anew.
            [update(f"{config['new_images']['output']}/{name}") for name in RUN.told_of_new_images],
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
            output=config["new_images"]["output"],
            device=config["device"],
            configuration=config["new_images"].get("configuration", ""),
            go_on=go_on,
            prediction=json.dumps(config["new_images"]["prediction"]),
        shell:
            ": > {log:q}; "
            "python -m segment_with_archive --archive {input.archive:q}"
            " --configuration={params.configuration:q} --images {params.images:q}"
            " --device {params.device} --threads {threads} --memory-mb {resources.mem_mb}"
            " --prediction {params.prediction:q} {params.go_on} --output {params.output:q} >> {log:q} 2> >(tee -a {log:q} >&2)"

elif "new_images" in config:

    NEW = config["new_images"]
    NEW_MODELS = RUN.with_previous(RUN.networks[NEW["predictor"]])

    rule segment_images:
        """Segment new images with a predictor of the run, post-processed, or tell their classes."""
        input:
            training=trainings([NEW["dataset"]], NEW_MODELS),
            postprocessing=(
                "<results>/{dataset}/{predictor}/postprocessing.json".format(**NEW)
                if NEW["predictor"] in RUN.predictors
                else []
            ),
            ranges="<results>/{dataset}/training_ranges.json".format(**NEW),
        output:
            # What was done before stays there until it is done anew.
            [update(f"{NEW['output']}/{name}") for name in RUN.told_of_new_images],
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
            images=NEW["folder"],
            output=NEW["output"],
            nnunet_name=RUN.nnunet_name(NEW["dataset"]),
            dataset=NEW["dataset"],
            results=results_folder,
            device=config["device"],
            members=[
                f"{model}:{weight}" for model, weight in RUN.networks[NEW["predictor"]].items()
            ],
            folds=[f"{model}:{','.join(map(str, RUN.folds_of(model)))}" for model in NEW_MODELS],
            postprocessing=lambda wildcards, input: (
                ["--postprocessing", input.postprocessing] if input.postprocessing else []
            ),
            classes=(
                ["--classes", *told]
                if (told := RUN.classes_by_networks(NEW["dataset"], NEW["predictor"]))
                else []
            ),
            codes=json.dumps(RUN.datasets[NEW["dataset"]]["label_codes"]),
            go_on=go_on,
            prediction=json.dumps(config["new_images"]["prediction"]),
            gpu_share=lambda wildcards, input: min(
                RUN.models[model]["gpu_share"] for model in NEW_MODELS
            ),
        shell:
            ": > {log:q}; "
            "python -m segment_images --images {params.images:q} --dataset {params.dataset}"
            " --nnunet-name {params.nnunet_name} --results {params.results:q}"
            " --members {params.members} --folds {params.folds} {params.postprocessing:q}"
            " {params.classes:q} --device {params.device} --gpu-share {params.gpu_share}"
            " --ranges {input.ranges:q} --codes {params.codes:q} {params.go_on}"
            " --prediction {params.prediction:q}"
            " --threads {threads} --memory-mb {resources.mem_mb} --output {params.output:q}"
            " >> {log:q} 2> >(tee -a {log:q} >&2)"


if "new_images" in config:

    rule check_new_images:
        """Fail if something was wrong with new images, once all others are done."""
        input:
            [f"{config['new_images']['output']}/{name}" for name in RUN.told_of_new_images],
        output:
            touch(f"{config['new_images']['output']}/.complete"),
        log:
            "<logs>/check_new_images.log",
        benchmark:
            "<benchmarks>/check_new_images.tsv"
        localrule: True
        conda:
            "../envs/segflow.yaml"
        resources:
            mem_mb=mem_mb(1000),
            runtime=minutes(10),
        params:
            code=code_key("check_new_images"),
            state=new_images_state,
            problems=f"{config['new_images']['output']}/problems.csv",
            images=config["new_images"]["folder"],
        script:
            "../workflow/scripts/check_new_images.py"
