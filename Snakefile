"""Entry point: load the configuration, include the rules, name the targets."""

from snakemake.utils import min_version

min_version("9.14")


# A file that is given on the command line stands alone: merged into the demonstration's, it would
# inherit whatever it does not name.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/source.smk"
include: f"{SOURCE}/rules/common.smk"
include: f"{SOURCE}/rules/prepare.smk"
include: f"{SOURCE}/rules/plan.smk"
include: f"{SOURCE}/rules/train.smk"
include: f"{SOURCE}/rules/predict.smk"
include: f"{SOURCE}/rules/ensemble.smk"
include: f"{SOURCE}/rules/postprocess.smk"
include: f"{SOURCE}/rules/classify.smk"
include: f"{SOURCE}/rules/evaluate.smk"
include: f"{SOURCE}/rules/inference.smk"
include: f"{SOURCE}/rules/saliency.smk"
include: f"{SOURCE}/rules/report.smk"
include: f"{SOURCE}/rules/segment.smk"
include: f"{SOURCE}/rules/export.smk"


onstart:
    check_passed_over(workflow.dag, own_rules(rules))
    # For `make status`.
    record_start(config, workflow.dag, own_rules(rules))


onsuccess:
    record_end()


onerror:
    record_end()
    set_damage_aside()


rule all:
    """Everything that the configuration, or the selection, asks for."""
    default_target: True
    input:
        targets("report"),
        targets("discard"),
    localrule: True


rule convert:
    """Target: the data sets in nnU-Net's raw layout, checked, with their tables of cases."""
    input:
        targets("convert"),
    localrule: True


rule split:
    """Target: the cross-validation folds."""
    input:
        targets("split"),
    localrule: True


rule plan:
    """Target: fingerprints and the plans of all models."""
    input:
        targets("plan"),
    localrule: True


rule preprocess:
    """Target: the preprocessed training and test cases."""
    input:
        targets("preprocess"),
    localrule: True


rule train:
    """Target: the trained folds."""
    input:
        targets("train"),
    localrule: True


rule predict:
    """Target: the predictions of the run or, with `new_images`, those of a folder of new images."""
    input:
        targets("segment" if "new_images" in config else "predict"),
    localrule: True


rule evaluate:
    """Target: the tables of metrics."""
    input:
        targets("evaluate"),
    localrule: True


rule inference:
    """Target: ways to predict, what each takes and loses (`inference_study`)."""
    input:
        targets("inference"),
    localrule: True


rule report:
    """Target: all tables and figures, the provenance, and the report."""
    input:
        targets("report"),
    localrule: True


rule export:
    """Target: each predictor as one zip, for nnU-Net and for this project."""
    input:
        targets("export"),
    localrule: True


rule onnx:
    """Target: the trained networks in ONNX."""
    input:
        targets("onnx"),
    localrule: True
