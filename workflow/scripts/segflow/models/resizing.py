"""Whole images of one size: preprocessing that brings each image to it, whatever its own is.

nnU-Net resamples to a spacing. An image gets the size that is wanted when its spacing is chosen so;
the way back takes the image's own size from its properties, as always.
"""

from copy import deepcopy
from typing import Any

import numpy as np

from segflow.models.nnunet import lean_imports

with lean_imports():
    from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

KEY = "resize"  # of a configuration of plans: voxels along each of its axes
NAME = "ResizingPreprocessor"  # in plans; nnU-Net's own commands find none of that name and say so
FAR = 999.0  # spacing of an axis that is not resized, so that planners keep it first


class ResizingPreprocessor(DefaultPreprocessor):
    """nnU-Net's preprocessor, with a target spacing for each image that yields one size."""

    def run_case_npy(
        self,
        data: np.ndarray,
        seg: np.ndarray | None,
        properties: dict,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        dataset_json: dict | str,
    ) -> tuple[np.ndarray, np.ndarray, dict]:
        """Preprocess one image of shape (channel, z, y, x)."""
        forward = plans_manager.transpose_forward
        cropped, _, _ = crop_to_nonzero(data.transpose(0, *(axis + 1 for axis in forward)), None)
        wanted = configuration_manager.configuration[KEY]
        shape = cropped.shape[-len(wanted) :]
        spacing = [properties["spacing"][axis] for axis in forward][-len(wanted) :]
        target = [
            own * length / size for own, length, size in zip(spacing, shape, wanted, strict=True)
        ]
        changed = {**configuration_manager.configuration, "spacing": target}
        return super().run_case_npy(
            data, seg, properties, plans_manager, ConfigurationManager(changed), dataset_json
        )


def resized_fingerprint(fingerprint: dict[str, Any], resize: list[int]) -> dict[str, Any]:
    """Return the fingerprint that a data set would have if its images had one size.

    Parameters
    ----------
    fingerprint : dict
        nnU-Net's fingerprint.
    resize : list of int
        Wanted voxels: along y and x of the slices that nnU-Net cuts, or along z, y and x.
    """
    changed = deepcopy(fingerprint)
    shapes = changed["shapes_after_crop"]
    if len(resize) == 3:
        changed["shapes_after_crop"] = [list(resize) for _ in shapes]
        changed["spacings"] = [[1.0, 1.0, 1.0] for _ in shapes]
        return changed
    first = int(np.argmax(np.median(fingerprint["spacings"], axis=0)))
    changed["spacings"] = [np.insert([1.0, 1.0], first, FAR).tolist() for _ in shapes]
    changed["shapes_after_crop"] = [
        np.insert(resize, first, shape[first]).tolist() for shape in shapes
    ]
    return changed


def with_size(plans: dict[str, Any], resize: list[int]) -> dict[str, Any]:
    """Return plans of which only the configuration of resized images is left."""
    name = "2d" if len(resize) == 2 else "3d_fullres"
    own = plans["configurations"][name] | {"preprocessor_name": NAME, KEY: list(resize)}
    return plans | {"configurations": {name: own}}


def preprocessor_of(configuration: ConfigurationManager) -> DefaultPreprocessor:
    """Return the preprocessor that a configuration of plans asks for."""
    if KEY in configuration.configuration:
        return ResizingPreprocessor(verbose=False)
    return configuration.preprocessor_class(verbose=False)
