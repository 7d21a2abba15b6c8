"""No job loads what takes long and is not used."""

import ast

import pytest

from project import ROOT

SCRIPTS = ROOT / "workflow/scripts"
HEAVY = {"matplotlib", "nnunetv2", "pandas", "sklearn", "statsmodels", "torch"}
# What each script loads when it starts; the others load nothing of it. What only some of its work
# needs is imported there.
ALLOWED = {
    "classify_by_features": {"pandas", "sklearn"},
    "compare_classifiers": {"pandas", "sklearn", "statsmodels"},
    "compare_predictors": {"pandas", "statsmodels"},
    "count_costs": {"nnunetv2", "torch"},
    "explain_classifier": {"nnunetv2", "torch"},
    "export_onnx": {"nnunetv2", "torch"},
    "export_predictor": {"nnunetv2", "pandas", "torch"},
    "extract_fingerprint": {"nnunetv2"},
    "find_near_duplicates": {"matplotlib"},
    "make_report": {"pandas", "sklearn", "statsmodels"},
    "plan_experiment": {"nnunetv2"},
    "plot_augmentation": {"matplotlib", "torch"},
    "plot_brains": {"matplotlib"},
    "plot_case_comparison": {"matplotlib", "pandas"},
    "plot_cases": {"matplotlib", "pandas"},
    "plot_classification": {"matplotlib", "pandas", "sklearn", "statsmodels"},
    "plot_comparisons": {"matplotlib", "pandas"},
    "plot_inference": {"matplotlib", "pandas"},
    "plot_learning_curves": {"matplotlib", "pandas"},
    "plot_metrics": {"matplotlib", "pandas"},
    "plot_postprocessing": {"matplotlib", "pandas"},
    "plot_preparation": {"matplotlib"},
    "plot_probabilities": {"matplotlib", "pandas"},
    "plot_saliency": {"matplotlib"},
    "plot_training": {"matplotlib", "pandas"},
    "predict_fold": {"nnunetv2", "torch"},
    "preprocess_cases": {"nnunetv2"},
    "rank_predictors": {"matplotlib", "pandas"},
    "segment_images": {"nnunetv2", "torch"},
    "segment_with_archive": {"nnunetv2", "torch"},
    "select_predictor": {"pandas"},
    "study_inference": {"nnunetv2", "torch"},
    "summarise_classification": {"pandas", "sklearn", "statsmodels"},
    "summarise_inference": {"pandas"},
    "summarise_metrics": {"pandas", "statsmodels"},
    "summarise_probabilities": {"pandas"},
    "train_fold": {"torch"},
    "transfer_previous_stage": {"nnunetv2"},
}


def loaded(path, seen=None):
    """Return the heavy packages that a file imports when it is loaded, at any depth."""
    seen = set() if seen is None else seen
    seen.add(path)
    found, waiting = set(), list(ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
        for name in names:
            found |= {name.split(".")[0]} & HEAVY
            file = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
            if name.startswith("segflow.") and file.is_file() and file not in seen:
                found |= loaded(file, seen)
    return found


@pytest.mark.parametrize("script", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_a_script_loads_nothing_heavy_but_what_it_uses(script):
    assert loaded(SCRIPTS / f"{script}.py") == ALLOWED.get(script, set())


@pytest.mark.parametrize("module", ["configuration", "record", "targets", "locks"])
def test_what_the_start_of_the_workflow_needs_loads_nothing_heavy(module):
    assert loaded(SCRIPTS / f"segflow/run/{module}.py") == set()
