import numpy as np
import pytest
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from segflow.images.nifti import read_labels
from segflow.models.cascade import to_preprocessed_grid

LABELS = {"background": 0, "anterior": 1, "posterior": 2}


@pytest.mark.parametrize("axes", [[0, 1, 2], [2, 0, 1]])
@pytest.mark.parametrize("spacing", [[1.0, 1.0, 1.0], [1.5, 0.8, 1.2]])
def test_label_maps_follow_nnunet_to_the_preprocessed_grid(hippocampus, base_plans, axes, spacing):
    base_plans["configurations"]["3d_fullres"]["spacing"] = spacing
    base_plans["transpose_forward"] = axes
    plans = PlansManager(base_plans)
    image, label = (
        hippocampus / folder / "hippocampus_001.nii.gz" for folder in ("imagesTr", "labelsTr")
    )
    data, expected, properties = DefaultPreprocessor(verbose=False).run_case(
        [str(image)],
        str(label),
        plans,
        plans.get_configuration("3d_fullres"),
        {"labels": LABELS, "channel_names": {"0": "MRI"}, "file_ending": ".nii.gz"},
    )
    label_map, _ = read_labels(label)
    found = to_preprocessed_grid(label_map, data.shape[1:], properties, plans, "3d_fullres")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.maximum(expected[0], 0))
