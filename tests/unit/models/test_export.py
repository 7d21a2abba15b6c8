from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from segflow.images.orientation import reorient
from segflow.images.probabilities import LEVELS, MAX_ERROR, read_probabilities
from segflow.models import export
from segflow.models.prediction import export_case

CLASSES = {"background": 0, "a": 1, "b": 2}
REGIONS = {"background": 0, "both": [1, 2], "b": [2]}
LINEAR = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
# Voxels and spacing of the file, spacing and axes of the plans; where slices are taken whole.
CASES = {
    "finer": ((30, 41, 52), (1, 1, 1), [0.7, 0.8, 0.9], [0, 1, 2], None),
    "coarser, other axes": ((30, 41, 52), (1, 1, 1), [1.3, 1.2, 1.1], [2, 0, 1], None),
    "thick slices": ((12, 41, 52), (5, 1, 1), [4, 1.2, 1.2], [0, 1, 2], 0),
    "thick slices along y": ((41, 12, 52), (1, 5, 1), [5, 0.8, 0.9], [1, 0, 2], 0),
    "thick slices of the plans": ((40, 41, 52), (1, 0.9, 1), [5, 1.2, 1.2], [2, 0, 1], 0),
    "as it was": ((9, 41, 52), (1, 1, 1), [1, 1, 1], [0, 1, 2], None),
    "slices": ((9, 41, 52), (1, 1, 1), [1.3, 1.2], [0, 1, 2], None),
    "a picture": ((1, 41, 52), (999, 1, 1), [1.3, 1.2], [0, 1, 2], 0),
}


def make_predictor(planned, forward, labels, function="resample_data_or_seg_to_shape", **options):
    """Return as much of nnU-Net's predictor as an export uses."""
    order = [1, 2] if labels is REGIONS else None
    configuration = {
        "architecture": {
            "network_class_name": "none",
            "arch_kwargs": {},
            "_kw_requires_import": [],
        },
        "spacing": planned,
        "resampling_fn_probabilities": function,
        "resampling_fn_probabilities_kwargs": options or LINEAR,
    }
    backward = np.argsort(forward).tolist()
    return SimpleNamespace(
        plans_manager=SimpleNamespace(transpose_forward=forward, transpose_backward=backward),
        configuration_manager=ConfigurationManager(configuration),
        label_manager=LabelManager(labels, regions_class_order=order),
    )


def make_case(predictor, shape, spacing, cropped):
    """Return drawn logits of a case and nnU-Net's properties of it."""
    forward = predictor.plans_manager.transpose_forward
    before = tuple(shape[axis] for axis in forward)
    box = [[2, size - 1] if cropped and size > 4 else [0, size] for size in before]
    after = tuple(high - low for low, high in box)
    own = [spacing[axis] for axis in forward]
    planned = predictor.configuration_manager.spacing
    planned = planned if len(planned) == 3 else [own[0], *planned]
    resampled = np.round(np.multiply(after, own) / planned).astype(int)
    drawn = np.random.default_rng(0).standard_normal(
        (predictor.label_manager.num_segmentation_heads, *resampled)
    )
    properties = {
        "spacing": list(spacing),
        "shape_before_cropping": before,
        "bbox_used_for_cropping": box,
        "shape_after_cropping_and_before_resampling": after,
    }
    return torch.from_numpy(4 * drawn.astype(np.float32)), properties


def nnunet_says(predictor, logits, properties):
    """Return nnU-Net's probabilities."""
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
        return_probabilities=True,
        num_threads_torch=1,
    )[1]


def exported(predictor, logits, properties, folder):
    path = folder / "case.b2nd"
    export_case(predictor, logits, properties, path, 1)
    return read_probabilities(path)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions"])
@pytest.mark.parametrize("cropped", [False, True], ids=["whole", "cropped"])
def test_probabilities_are_those_of_nnunet(tmp_path, name, labels, cropped):
    shape, spacing, planned, forward, nearest = CASES[name]
    predictor = make_predictor(planned, forward, labels)
    logits, properties = make_case(predictor, shape, spacing, cropped)
    assert export.way_back(predictor, properties).nearest == nearest
    found = exported(predictor, logits, properties, tmp_path)
    expected = nnunet_says(predictor, logits, properties)
    assert found.shape == expected.shape == (len(logits), *shape)
    assert np.abs(found - expected).max() < 2 * MAX_ERROR + 1e-5  # background is what is left


def test_axes_come_back_from_where_nnunet_turned_them(tmp_path):
    predictor = make_predictor([1.3, 1.2, 1.1], [2, 0, 1], CLASSES)
    logits, properties = make_case(predictor, (30, 41, 52), (1, 1, 1), cropped=True)
    turned = properties | {"sitk_stuff": {"original_orientation": "PIR"}}
    found = exported(predictor, logits, turned, tmp_path)
    expected = reorient(nnunet_says(predictor, logits, properties), "RAS", "PIR")
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2 * MAX_ERROR + 1e-5


def test_other_ways_of_resampling_are_followed(tmp_path):
    cubic = make_predictor([1.3, 1.2, 1.1], [0, 1, 2], CLASSES, **LINEAR | {"order": 3})
    torch_ = make_predictor(
        [1.3, 1.2, 1.1],
        [0, 1, 2],
        CLASSES,
        "resample_torch_fornnunet",
        is_seg=False,
        force_separate_z=False,
        memefficient_seg_resampling=False,
    )
    for predictor in (cubic, torch_):
        logits, properties = make_case(predictor, (10, 21, 22), (1, 1, 1), cropped=False)
        found = exported(predictor, logits, properties, tmp_path)
        expected = nnunet_says(predictor, logits, properties)
        assert np.abs(found - expected).max() < 2 * MAX_ERROR + 1e-5


def test_slices_are_made_a_few_at_a_time(monkeypatch):
    predictor = make_predictor([1.3, 1.2, 1.1], [0, 1, 2], CLASSES)
    logits, properties = make_case(predictor, (30, 41, 52), (1, 1, 1), cropped=False)
    way = export.way_back(predictor, properties)
    whole = export.read_levels(logits, way, False, slice(0, 30))
    monkeypatch.setattr(export, "STEP_BYTES", 4 * 3 * 41 * 52 * 4)  # four slices
    resampled = []
    interpolate = torch.nn.functional.interpolate

    def watched(part, *arguments, **options):
        resampled.append(len(part))
        return interpolate(part, *arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "interpolate", watched)
    found = export.read_levels(logits, way, False, slice(7, 17))
    assert resampled == [4, 4, 2]
    assert (found == whole[:, 7:17]).all()
    assert whole.max() <= LEVELS
