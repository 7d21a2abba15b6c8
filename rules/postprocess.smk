"""From raw to post-processed label maps.

In: the label maps of the validation cases. Out: `postprocessing.json`, which says what was
searched, chosen and gained, `components.csv`, one row a component or hole, their figure, and the label
maps after it, of validation and test cases.
"""


rule search_postprocessing:
    """Choose connected-component steps on the cross-validation predictions."""
    input:
        # None of networks that saw all training cases.
        predictions=lambda wildcards: [
            f"<results>/{{dataset}}/{{predictor}}/predictions/{split}/raw/predictions.csv"
            for split in RUN.splits_of(wildcards.predictor)
            if split == "val"
        ],
        splits="<results>/{dataset}/splits.json",
        cases="<results>/{dataset}/cases.csv",
    output:
        choice=report(
            "<results>/{dataset}/{predictor}/postprocessing.json",
            caption="../workflow/report/postprocessing.rst",
            category="3. Post-processing",
            labels={"data set": "{dataset}", "predictor": "{predictor}", "file": "steps and gain"},
        ),
        components="<results>/{dataset}/{predictor}/components.csv",
    log:
        "<logs>/{dataset}/{predictor}/search_postprocessing.log",
    benchmark:
        "<benchmarks>/{dataset}/{predictor}/search_postprocessing.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(240),
    params:
        code=code_key("search_postprocessing"),
        labels=lambda wildcards: RUN.datasets[wildcards.dataset]["labels"],
        options=config["postprocessing"],
        lesions=scored_lesions,
        seed=config["seed"],
        references=lambda wildcards: f"{nnunet_raw(wildcards)}/labelsTr",
    script:
        "../workflow/scripts/search_postprocessing.py"


rule apply_postprocessing:
    """Apply the chosen steps."""
    input:
        predictions="<results>/{dataset}/{predictor}/predictions/{split}/raw/predictions.csv",
        choice="<results>/{dataset}/{predictor}/postprocessing.json",
    output:
        manifest="<results>/{dataset}/{predictor}/predictions/{split}/postprocessed/predictions.csv",
    log:
        "<logs>/{dataset}/{predictor}/apply_postprocessing/{split}.log",
    benchmark:
        "<benchmarks>/{dataset}/{predictor}/apply_postprocessing/{split}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(120),
    params:
        code=code_key("apply_postprocessing"),
    script:
        "../workflow/scripts/apply_postprocessing.py"


rule plot_postprocessing:
    """Draw the gain of each threshold, and the sizes of true and false components."""
    input:
        choice="<results>/{dataset}/{predictor}/postprocessing.json",
        components="<results>/{dataset}/{predictor}/components.csv",
    output:
        figure=report(
            "<results>/{dataset}/{predictor}/postprocessing.png",
            caption="../workflow/report/postprocessing_figure.rst",
            category="3. Post-processing",
            labels={"data set": "{dataset}", "predictor": "{predictor}", "file": "figure"},
        ),
    log:
        "<logs>/{dataset}/{predictor}/plot_postprocessing.log",
    benchmark:
        "<benchmarks>/{dataset}/{predictor}/plot_postprocessing.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(2000),
        runtime=minutes(10),
    params:
        code=code_key("plot_postprocessing"),
        title=lambda wildcards: RUN.title(wildcards.predictor),
    script:
        "../workflow/scripts/plot_postprocessing.py"
