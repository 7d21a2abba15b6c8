"""How a trained network predicts: what can be chosen, and what nnU-Net does."""

from typing import Any

CASCADE = "3d_cascade_fullres"  # the configuration that sees the previous stage
REFERENCE = "nnunet"  # of these settings, which others are compared with
# The defaults of the key ``prediction`` of a model.
NNUNET_SETTINGS: dict[str, Any] = {
    "checkpoint": "final",
    "mirroring": True,
    "step_size": 0.5,
    "precision": "auto",
    "windows": 1,
    "channels_last": False,
    "compile": False,
    "region": "whole",
    "margin_mm": 20,
}
# What a study of inference tries beside nnU-Net's settings, if it names nothing else. No precision:
# on a GPU nnU-Net computes in float16 already, and most CPUs are far slower with half of the bits.
USUAL_TRIALS: dict[str, dict[str, Any]] = {
    "mirrored_once": {"mirroring": [0]},
    "not_mirrored": {"mirroring": False},
    "wide_steps": {"step_size": 0.75},
    "not_mirrored_wide_steps": {"mirroring": False, "step_size": 0.75},
}
