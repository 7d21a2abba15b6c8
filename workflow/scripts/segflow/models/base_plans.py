"""nnU-Net's base plans of a data set, made by nnU-Net's own planners."""

from pathlib import Path
from typing import Any

from segflow.models import resizing
from segflow.models.nnunet import lean_imports
from segflow.models.planners import PLANNERS, name_of_plans, planning_of_data

with lean_imports():
    import nnunetv2
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
        Planning options of a model (``planner``, ``gpu_memory_gb``, ``spacing_mm``, ``resize``).
    """
    planner_class = recursive_find_python_class(
        str(Path(nnunetv2.__path__[0], "experiment_planning")),
        PLANNERS[planning["planner"]][0],
        "nnunetv2.experiment_planning",
    )
    options = {"plans_name": plans_name}
    if "gpu_memory_gb" in planning:
        options["gpu_memory_target_in_gb"] = planning["gpu_memory_gb"]
    if "spacing_mm" in planning:
        # nnU-Net refuses whole numbers.
        options["overwrite_target_spacing"] = [float(size) for size in planning["spacing_mm"]]
    planner = planner_class(nnunet_name, **options)
    resize = planning.get("resize")
    if resize is not None:
        fingerprint = planner.dataset_fingerprint
        planner.dataset_fingerprint = resizing.resized_fingerprint(fingerprint, resize)
    plans = planner.plan_experiment()
    for name, configuration in plans["configurations"].items():
        if "data_identifier" in configuration:
            # nnU-Net's planners of residual networks name the plain one's, whatever their options.
            shared = name_of_plans(planning_of_data(planning, name))
            configuration["data_identifier"] = f"{shared}_{name}"
    return plans if resize is None else resizing.with_size(plans, resize)
