"""nnU-Net's base plans of a data set, made by nnU-Net's own planners."""

from pathlib import Path
from typing import Any

from segflow.models.nnunet import lean_imports
from segflow.models.planners import PLANNERS

with lean_imports():
    import nnunetv2
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class


def plan_experiment(nnunet_name: str, plans_name: str, planning: dict[str, Any]) -> dict:
    """Make and store nnU-Net's plans of a data set.

    Parameters
    ----------
    nnunet_name : str
        nnU-Net's name of the data set.
    plans_name : str
        Name that the plans get.
    planning : dict
        Planning options of a model (``planner``, ``gpu_memory_gb``, ``spacing_mm``).
    """
    planner = recursive_find_python_class(
        str(Path(nnunetv2.__path__[0], "experiment_planning")),
        PLANNERS[planning["planner"]][0],
        "nnunetv2.experiment_planning",
    )
    plans, _ = plan_experiment_dataset(
        nnunet_name,
        planner,
        gpu_memory_target_in_gb=planning.get("gpu_memory_gb"),
        overwrite_target_spacing=planning.get("spacing_mm"),
        overwrite_plans_name=plans_name,
    )
    return plans
