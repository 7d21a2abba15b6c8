"""From published files to checked cases and cross-validation folds.

In: the raw folder of each data set. Out: nnU-Net's raw folder, `cases.csv`, `problems.csv`,
`splits.json` and its description `splits.csv`; of some sets of pictures, `near_duplicates.csv`.
Training and test cases are converted apart, so that a new test image touches nothing that training
depends on.
"""


rule find_near_duplicates:
    """Find images that are nearly the same, which a split must keep together."""
    output:
        pairs=report(
            "<results>/{dataset}/near_duplicates.csv",
            caption="../workflow/report/near_duplicates.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "near-duplicates"},
        ),
        figure=report(
            "<results>/{dataset}/near_duplicates.png",
            caption="../workflow/report/near_duplicates.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "near-duplicates, picture"},
        ),
        sources="<results>/{dataset}/cases/all_sources.json",
    log:
        "<logs>/{dataset}/find_near_duplicates.log",
    benchmark:
        "<benchmarks>/{dataset}/find_near_duplicates.tsv"
    priority: 110
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(6000),
        runtime=minutes(60),
    params:
        code=code_key("find_near_duplicates"),
        converter=converter_key,
        state=raw_state,
        converted=lambda wildcards: RUN.converted(wildcards.dataset),
        # A function of the output is not tracked: words and places change nothing.
        raw=lambda wildcards, output: str(RUN.raw_folder(wildcards.dataset)),
        dataset=lambda wildcards, output: RUN.datasets[wildcards.dataset],
    script:
        "../workflow/scripts/find_near_duplicates.py"


rule convert_adni_to_bids:
    """Let Clinica, in an environment of its own, make the raw folder of a download of ADNI."""
    output:
        record="<results>/{dataset}/bids.json",
    log:
        "<logs>/{dataset}/convert_adni_to_bids.log",
    benchmark:
        "<benchmarks>/{dataset}/convert_adni_to_bids.tsv"
    priority: 120
    conda:
        "../envs/clinica.yaml"
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(1440),
    params:
        code=code_key("convert_adni_to_bids"),
        images=lambda wildcards: config["raw_downloads"][wildcards.dataset]["images"],
        clinical=lambda wildcards: config["raw_downloads"][wildcards.dataset]["clinical"],
        bids=lambda wildcards, output: str(RUN.raw_folder(wildcards.dataset)),
    script:
        "../workflow/scripts/convert_adni_to_bids.py"


rule normalise_brain:
    """Bring each head into template space, cut out the brain and score the registration.

    A case is done again only if its file or the way it is done changes.
    """
    input:
        bids=made_of_download,
    output:
        table=report(
            "<results>/{dataset}/brains.csv",
            caption="../workflow/report/brains.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "registration of the brains"},
        ),
        sources="<results>/{dataset}/brains_sources.json",
    log:
        "<logs>/{dataset}/normalise_brain.log",
    benchmark:
        "<benchmarks>/{dataset}/normalise_brain.tsv"
    priority: 110
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(12000),
        runtime=minutes(1440),
    params:
        code=code_key("normalise_brain"),
        converter=converter_key,
        state=brains_state,
        converted=lambda wildcards: RUN.converted(wildcards.dataset),
        raw=lambda wildcards, output: str(RUN.raw_folder(wildcards.dataset)),
        dataset=lambda wildcards, output: RUN.datasets[wildcards.dataset],
        rule=lambda wildcards: RUN.part_rule(wildcards.dataset),
        folder=brains_folder,
        problems=lambda wildcards: f"{RESULTS}/{wildcards.dataset}/problems.csv",
    script:
        "../workflow/scripts/normalise_brain.py"


rule plot_brains:
    """Show the brains that agree least with the template, and the scores of all."""
    input:
        table="<results>/{dataset}/brains.csv",
    output:
        figure=report(
            "<results>/{dataset}/brains.png",
            caption="../workflow/report/brains_figure.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "normalised brains, picture"},
        ),
    log:
        "<logs>/{dataset}/plot_brains.log",
    benchmark:
        "<benchmarks>/{dataset}/plot_brains.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(30),
    params:
        code=code_key("plot_brains"),
        folder=brains_folder,
        least_score=lambda wildcards: RUN.datasets[wildcards.dataset]["reading"]["brain"][
            "least_score"
        ],
    script:
        "../workflow/scripts/plot_brains.py"


rule convert_dataset:
    """Check the published files of one part and bring them into nnU-Net's raw layout.

    What is wrong with them stands in `problems.csv`, also when it stops the job, whose declared
    outputs Snakemake then removes.
    """
    input:
        pairs=near_duplicates,
        brains=normalised_brains,
    output:
        cases="<results>/{dataset}/cases/{part}.csv",
        sources="<results>/{dataset}/cases/{part}_sources.json",
    log:
        "<logs>/{dataset}/convert_dataset/{part}.log",
    benchmark:
        "<benchmarks>/{dataset}/convert_dataset/{part}.tsv"
    priority: 100
    conda:
        "../envs/segflow.yaml"
    threads: half_of_cores()
    resources:
        mem_mb=mem_mb(8000),
        runtime=minutes(240),
    params:
        code=code_key("convert_dataset"),
        converter=converter_key,
        state=raw_state,
        converted=lambda wildcards: RUN.converted(wildcards.dataset),
        raw=lambda wildcards, output: str(RUN.raw_folder(wildcards.dataset)),
        dataset=lambda wildcards, output: RUN.datasets[wildcards.dataset],
        rule=lambda wildcards: RUN.part_rule(wildcards.dataset),
        folder=nnunet_raw,
        brains=lambda wildcards, output: brains_folder(wildcards),
        problems=lambda wildcards: f"{RESULTS}/{wildcards.dataset}/problems.csv",
    script:
        "../workflow/scripts/convert_dataset.py"


rule describe_dataset:
    """Renew the names and words in nnU-Net's description of a data set, which nothing waits for."""
    input:
        cases="<results>/{dataset}/cases/train.csv",
    output:
        description="<results>/{dataset}/dataset.json",
    log:
        "<logs>/{dataset}/describe_dataset.log",
    benchmark:
        "<benchmarks>/{dataset}/describe_dataset.tsv"
    priority: 100
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("describe_dataset"),
        dataset=lambda wildcards: RUN.datasets[wildcards.dataset],
        results=results_folder,
        nnunet_name=nnunet_name,
    script:
        "../workflow/scripts/describe_dataset.py"


rule gather_cases:
    """Join the tables of both parts and refuse test cases that training could have seen."""
    input:
        cases=collect("<results>/{{dataset}}/cases/{part}.csv", part=["train", "test"]),
    output:
        cases=report(
            "<results>/{dataset}/cases.csv",
            caption="../workflow/report/cases.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "cases"},
        ),
        problems=report(
            "<results>/{dataset}/problems.csv",
            caption="../workflow/report/problems.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "problems found"},
        ),
    log:
        "<logs>/{dataset}/gather_cases.log",
    benchmark:
        "<benchmarks>/{dataset}/gather_cases.tsv"
    priority: 100
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("gather_cases"),
        published=lambda wildcards: RUN.part_rule(wildcards.dataset)["published"],
        subgroups=lambda wildcards: RUN.datasets[wildcards.dataset]["subgroups"],
    script:
        "../workflow/scripts/gather_cases.py"


rule plot_preparation:
    """Show how mammograms are prepared, step by step."""
    input:
        cases="<results>/{dataset}/cases.csv",
    output:
        figure=report(
            "<results>/{dataset}/preparation.png",
            caption="../workflow/report/preparation.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "preparation, picture"},
        ),
    log:
        "<logs>/{dataset}/plot_preparation.log",
    benchmark:
        "<benchmarks>/{dataset}/plot_preparation.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(60),
    params:
        code=code_key("plot_preparation"),
        raw=lambda wildcards, output: str(RUN.raw_folder(wildcards.dataset)),
        reading=lambda wildcards: RUN.datasets[wildcards.dataset]["reading"],
    script:
        "../workflow/scripts/plot_preparation.py"


rule make_splits:
    """Divide the training cases into folds, or check the folds that a user gives."""
    input:
        cases="<results>/{dataset}/cases/train.csv",
        # Waits for the check of the test cases, but is not repeated when only they change.
        checked=ancient("<results>/{dataset}/cases.csv"),
        given=lambda wildcards: config["splits"].get(wildcards.dataset, []),
    output:
        splits="<results>/{dataset}/splits.json",
    log:
        "<logs>/{dataset}/make_splits.log",
    benchmark:
        "<benchmarks>/{dataset}/make_splits.tsv"
    priority: 90
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("make_splits"),
        n_folds=config["n_folds"],
        seed=config["seed"],
        published=lambda wildcards: RUN.part_rule(wildcards.dataset)["published"],
        baseline=lambda wildcards: RUN.datasets[wildcards.dataset].get("evaluated_visits")
        == "baseline",
        results=results_folder,
        nnunet_name=nnunet_name,
    script:
        "../workflow/scripts/make_splits.py"


rule describe_splits:
    """Say what each fold holds, and warn of labels that it lacks."""
    input:
        cases="<results>/{dataset}/cases/train.csv",
        splits="<results>/{dataset}/splits.json",
    output:
        table=report(
            "<results>/{dataset}/splits.csv",
            caption="../workflow/report/splits.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "folds"},
        ),
    log:
        "<logs>/{dataset}/describe_splits.log",
    benchmark:
        "<benchmarks>/{dataset}/describe_splits.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("describe_splits"),
        labels=lambda wildcards: RUN.datasets[wildcards.dataset].get("labels", {}),
    script:
        "../workflow/scripts/describe_splits.py"


rule describe_cohort:
    """Compare age, sex and scores between the classes and parts of a data set."""
    input:
        cases="<results>/{dataset}/cases.csv",
        splits="<results>/{dataset}/splits.json",
    output:
        table=report(
            "<results>/{dataset}/cohort.csv",
            caption="../workflow/report/cohort.rst",
            category="5. Data",
            labels={"data set": "{dataset}", "table": "age, sex and scores"},
        ),
    log:
        "<logs>/{dataset}/describe_cohort.log",
    benchmark:
        "<benchmarks>/{dataset}/describe_cohort.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(1000),
        runtime=minutes(10),
    params:
        code=code_key("describe_cohort"),
        classes=class_names,
    script:
        "../workflow/scripts/describe_cohort.py"
