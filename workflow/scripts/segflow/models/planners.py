"""nnU-Net's planners and normalisations, by the names that descriptions use."""

# Class, and name of its plans.
PLANNERS = {
    "default": ("ExperimentPlanner", "nnUNetPlans"),
    "resenc_m": ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans"),
    "resenc_l": ("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans"),
    "resenc_xl": ("nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans"),
}
# Names of channels that stand for a normalisation of their own.
NORMALISATIONS = ("ct", "nonorm", "zscore", "rescale_to_0_1", "rgb_to_0_1")
OTHER_NORMALISATION = "zscore"


def normalisation(channel: str) -> str:
    """Return the normalisation that nnU-Net chooses by the name of a channel."""
    name = channel.casefold()
    return name if name in NORMALISATIONS else OTHER_NORMALISATION
