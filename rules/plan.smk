"""From cases to nnU-Net's plans and preprocessed data.

In: the converted cases. Out: the fingerprint, base plans for each kind of planning, the plans of
each model, and the preprocessed cases, which models share whose planning is the same but for the
planner's networks.
"""


rule extract_fingerprint:
    """Extract nnU-Net's fingerprint of the training cases."""
    input:
        cases="<results>/{dataset}/cases/train.csv",
    output:
        fingerprint="<results>/{dataset}/fingerprint.json",
    log:
        "<logs>/{dataset}/extract_fingerprint.log",
    benchmark:
        "<benchmarks>/{dataset}/extract_fingerprint.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(16000),
        runtime=minutes(240),
    params:
        code=code_key("extract_fingerprint"),
        n_channels=lambda wildcards: len(RUN.datasets[wildcards.dataset]["channels"]),
        results=results_folder,
        nnunet_name=nnunet_name,
    script:
        "../workflow/scripts/extract_fingerprint.py"


rule plan_experiment:
    """Make the base plans of one kind of planning."""
    input:
        fingerprint="<results>/{dataset}/fingerprint.json",
    output:
        plans="<results>/{dataset}/plans/{plans}.json",
    log:
        "<logs>/{dataset}/plan_experiment/{plans}.log",
    benchmark:
        "<benchmarks>/{dataset}/plan_experiment/{plans}.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(60),
    params:
        code=code_key("plan_experiment"),
        planning=lambda wildcards: RUN.plannings[wildcards.plans],
        results=results_folder,
        nnunet_name=nnunet_name,
    script:
        "../workflow/scripts/plan_experiment.py"


rule make_model_plans:
    """Add a model's overrides and settings to its base plans."""
    input:
        plans=lambda wildcards: f"<results>/{{dataset}}/plans/{RUN.plans(wildcards.model)}.json",
        pretrained=lambda wildcards: RUN.models[wildcards.model]["network"].get("pretrained", []),
    output:
        plans="<results>/{dataset}/{model}/plans.json",
    log:
        "<logs>/{dataset}/{model}/make_model_plans.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/make_model_plans.tsv"
    conda:
        "../envs/segflow.yaml"
    resources:
        mem_mb=mem_mb(4000),
        runtime=minutes(10),
    params:
        code=code_key("make_model_plans"),
        model=lambda wildcards: RUN.planned(wildcards.model),
        classified=lambda wildcards: RUN.classified(wildcards.dataset, wildcards.model),
        seed=config["seed"],
        results=results_folder,
        nnunet_name=nnunet_name,
    script:
        "../workflow/scripts/make_model_plans.py"


rule preprocess_cases:
    """Preprocess the training or test cases; unchanged cases are left as they are."""
    input:
        cases="<results>/{dataset}/cases/{part}.csv",
        plans=lambda wildcards: f"<results>/{{dataset}}/plans/{base_plans(wildcards)}.json",
    output:
        manifest="<results>/{dataset}/preprocessed/{preprocessing}/{part}.csv",
    log:
        "<logs>/{dataset}/preprocess_cases/{preprocessing}_{part}.log",
    benchmark:
        "<benchmarks>/{dataset}/preprocess_cases/{preprocessing}_{part}.tsv"
    conda:
        "../envs/segflow.yaml"
    threads: half_of_cores()
    resources:
        mem_mb=mem_mb(16000),
        runtime=minutes(480),
    params:
        procedure=procedure("models.preprocessing"),
        nnunet_name=nnunet_name,
        results=results_folder,
        configuration=lambda wildcards: RUN.base_of(wildcards.preprocessing)[1],
    shell:
        ": > {log:q}; "
        "python -m preprocess_cases --cases {input.cases:q} --plans {input.plans:q}"
        " --configuration {params.configuration} --nnunet-name {params.nnunet_name}"
        " --results {params.results:q} --manifest {output.manifest:q} --part {wildcards.part}"
        " --threads {threads} --memory-mb {resources.mem_mb} >> {log:q} 2> >(tee -a {log:q} >&2)"
