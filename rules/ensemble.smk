"""From probabilities to label maps: over folds, and over models.

In: the probabilities of each fold. Out: one label map for each case and predictor, on the case's
own grid. A model alone is a predictor like any ensemble.
"""


rule ensemble_predictions:
    """Average the probabilities of all members and take the label map."""
    input:
        members=members("<results>/{dataset}/{model}/probabilities/fold_{fold}_{split}.csv"),
        splits="<results>/{dataset}/splits.json",
    output:
        manifest="<results>/{dataset}/{predictor}/predictions/{split}/raw/predictions.csv",
    log:
        "<logs>/{dataset}/{predictor}/ensemble_predictions/{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{predictor}/ensemble_predictions/{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(240),
    params:
        code=code_key("ensemble_predictions"),
        members=lambda wildcards: RUN.members(wildcards.predictor),
        regions_class_order=lambda wildcards: RUN.datasets[wildcards.dataset].get(
            "regions_class_order"
        ),
        images=nnunet_raw,
    script:
        "../workflow/scripts/ensemble_predictions.py"


rule discard_probabilities:
    """Remove the probabilities of a data set once all that is made of them is there."""
    input:
        label_maps=[
            f"<results>/{{dataset}}/{predictor}/predictions/{split}/raw/predictions.csv"
            for predictor in RUN.predictors
            for split in RUN.splits_of(predictor)
        ],
        measured=measured_probabilities("calibration"),
    output:
        record="<results>/{dataset}/discarded.csv",
    log:
        "<logs>/{dataset}/discard_probabilities.log",
    benchmark:
        "<benchmarks>/{dataset}/discard_probabilities.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("discard_probabilities"),
        folders=lambda wildcards: [
            f"{RESULTS}/{wildcards.dataset}/{model}/probabilities" for model in RUN.models
        ],
    script:
        "../workflow/scripts/discard_probabilities.py"
