"""nnU-Net's planners and normalisations, by the names that descriptions use."""

from typing import Any

from segflow.files.content import content_key

# Class, and name of its plans.
PLANNERS = {
    "default": ("ExperimentPlanner", "nnUNetPlans"),
    "resenc_m": ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans"),
    "resenc_l": ("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans"),
    "resenc_xl": ("nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans"),
}
# Configurations whose images nnU-Net prepares in the same way for the networks of all planners.
SHARED = ("2d", "3d_fullres")
# Names of channels that stand for a normalisation of their own.
NORMALISATIONS = ("ct", "nonorm", "zscore", "rescale_to_0_1", "rgb_to_0_1")
OTHER_NORMALISATION = "zscore"


def normalisation(channel: str) -> str:
    """Return the normalisation that nnU-Net chooses by the name of a channel."""
    name = channel.casefold()
    return name if name in NORMALISATIONS else OTHER_NORMALISATION


def name_of_plans(planning: dict[str, Any]) -> str:
    """Return the name of the base plans that planning options lead to.

    Models whose planning is the same share one name.
    """
    name = PLANNERS[planning["planner"]][1]
    special = {key: value for key, value in planning.items() if key != "planner"}
    return f"{name}_{content_key(special)[:6]}" if special else name


def planning_of_data(planning: dict[str, Any], configuration: str) -> dict[str, Any]:
    """Return the planning options that the preprocessed data of a configuration depend on."""
    return planning | {"planner": "default"} if configuration in SHARED else planning
