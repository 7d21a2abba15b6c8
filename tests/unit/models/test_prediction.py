import time
from copy import deepcopy
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from segflow.files.content import Damaged, file_sha256, write_json
from segflow.models import prediction
from segflow.models.prediction import (
    _allowed_axes,
    _exporting,
    _loaded_ahead,
    _use_precision,
    add_previous_stage,
    first_said,
    load_predictor,
    prediction_keys,
    region_of_interest,
)
from segflow.models.prediction_settings import NNUNET_SETTINGS
from segflow.models.progress import Pace
from segflow.models.sliding_windows import predict_logits

PREDICTION = NNUNET_SETTINGS
PLANS = {"segflow": {"prediction": PREDICTION, "training": {"epochs": 3}}}
MANIFEST = {"checkpoints": {"final": "f", "best": "b"}}
KEYS = {"x": "1", "y": "2"}


def changed(plans=PLANS, manifests=(MANIFEST,), keys=KEYS, previous=None):
    """Return the cases whose key differs from that of the plain prediction."""
    before = prediction_keys(PLANS, [MANIFEST], KEYS, {})
    after = prediction_keys(plans, manifests, keys, previous or {})
    return {case for case in before if before[case] != after[case]}


def plans_with(part, **changes):
    plans = deepcopy(PLANS)
    plans["segflow"][part] |= changes
    return plans


def test_a_prediction_depends_on_what_it_is_made_from():
    assert changed() == set()
    assert changed(keys={"x": "3", "y": "2"}) == {"x"}
    assert changed(previous={"y": "1"}) == {"y"}
    other = {"checkpoints": {"final": "g", "best": "b"}}
    assert changed(manifests=[other]) == {"x", "y"}
    assert changed(manifests=[MANIFEST, other]) == {"x", "y"}
    assert changed(plans=plans_with("prediction", mirroring=False)) == {"x", "y"}
    assert changed(plans=plans_with("prediction", checkpoint="best")) == {"x", "y"}


def test_a_prediction_depends_on_nothing_else():
    assert changed(manifests=[{"checkpoints": {"final": "f", "best": "c"}}]) == set()
    assert changed(plans=plans_with("training", epochs=4)) == set()


@pytest.mark.parametrize("there", [True, False])
def test_a_checkpoint_that_training_did_not_leave_is_refused(tmp_path, there):
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    path.parent.mkdir()
    found = "nothing"
    if there:
        path.write_text("another")
        found = file_sha256(path)[:12]
    manifest = tmp_path / "training.json"
    write_json(manifest, {"checkpoints": {"final": "0123456789abcdef"}})
    message = rf"checkpoint_final\.pth: expected SHA-256 0123456789ab of .*, found {found}"
    with pytest.raises(Damaged, match=message) as caught:
        load_predictor(tmp_path, {0: manifest}, PLANS, torch.device("cpu"))
    assert caught.value.files == (path, manifest)


def test_the_previous_stage_becomes_one_channel_a_label():
    data = np.full((1, 1, 1, 3), 0.5, np.float32)
    predictor = SimpleNamespace(label_manager=SimpleNamespace(foreground_labels=[1, 2]))
    found = add_previous_stage(data, np.array([[[0, 2, 1]]], np.uint8), predictor)
    assert found.tolist() == [[[[0.5, 0.5, 0.5]]], [[[0, 0, 1]]], [[[0, 1, 0]]]]
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("auto", 0.1), ("float32", 0.1), ("tf32", 0.1), ("float16", 0.099976), ("bfloat16", 0.100098)],
)
def test_networks_compute_in_the_wanted_precision(precision, expected):
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 0.1)
    _use_precision(network, precision, torch.device("cpu"))
    found = network(torch.ones(1, 1))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, abs=3e-6)


DEVICES = [torch.device("cpu"), torch.device("cuda")]  # none is touched


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_every_export_is_run_and_one_waits(device):
    done = []

    def export(number):
        time.sleep(0.01)
        done.append(number)

    with _exporting(device) as submit:
        for number in range(6):
            submit(export, number)
            assert number + 1 - len(done) <= 2
    assert sorted(done) == list(range(6))


def test_a_gpu_does_not_wait_for_an_export():
    goes_on, found = Event(), []
    with _exporting(torch.device("cuda")) as submit:
        submit(lambda: found.append(goes_on.wait(5)))
        goes_on.set()
    assert found == [True]


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("position", [0, 5])
def test_an_error_of_an_export_is_raised(device, position):
    def export(number):
        if number == position:
            raise OSError("the disk is full")

    def export_all():
        with _exporting(device) as submit:
            for number in range(6):
                submit(export, number)

    with pytest.raises(OSError, match="the disk is full"):
        export_all()


@pytest.mark.parametrize(
    ("patch", "shape", "mirrored", "at_a_time"),
    [
        ([8, 8], (3, 12, 5), (0, 1), 1),
        ([8, 8, 8], (20, 4, 9), None, 3),
        ([8, 8, 8], (8, 8, 20), (2,), 2),
    ],
)
def test_the_pace_of_a_case_counts_every_pass_through_the_network(
    monkeypatch, patch, shape, mirrored, at_a_time
):
    convolution = torch.nn.Conv2d if len(patch) == 2 else torch.nn.Conv3d
    network = convolution(1, 2, 1)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.perform_everything_on_device = False
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=patch)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=2, has_regions=False)
    predictor.list_of_parameters = [network.state_dict()] * 2
    predictor.allowed_mirroring_axes = mirrored
    paces = []

    def pace(what, n_steps):
        paces.append(Pace(what, n_steps))
        return paces[-1]

    monkeypatch.setattr(prediction, "Pace", pace)
    data = np.zeros((1, *shape), np.float32)
    with first_said(predictor, data, 3, at_a_time):
        predict_logits(predictor, data, at_a_time)
    assert paces[0].n_done == paces[0].n_steps
    assert paces[0].what == "predict: the first of 3 cases"


def make_mirroring(learned):
    return SimpleNamespace(allowed_mirroring_axes=learned)


def test_axes_to_mirror_are_those_that_training_mirrored():
    assert _allowed_axes(make_mirroring((0, 1, 2)), [2, 0], Path("model")) == (0, 2)
    assert _allowed_axes(make_mirroring(None), [], Path("model")) == ()
    with pytest.raises(ValueError, match=r"axes \[2\] were not mirrored in training; .* \[0, 1\]"):
        _allowed_axes(make_mirroring((0, 1)), [1, 2], Path("model"))


@pytest.mark.parametrize("n_cases", [1, 3])
def test_cases_are_loaded_in_order_one_ahead(monkeypatch, n_cases):
    loaded = []

    def load(folder, case):
        loaded.append(case)
        return np.zeros(1), {"case": case}

    monkeypatch.setattr(prediction, "load_preprocessed", load)
    cases = [f"case_{number}" for number in range(n_cases)]
    for number, (case, _, properties) in enumerate(_loaded_ahead(Path("data"), cases)):
        assert case == properties["case"] == cases[number]
        assert len(loaded) <= number + 2
    assert loaded == cases


def test_a_region_follows_what_is_asked_for():
    managed = SimpleNamespace(patch_size=[4, 4, 4], spacing=[2.0, 1.0, 1.0])
    predictor = SimpleNamespace(configuration_manager=managed)
    data = np.full((1, 12, 14, 16), -1, np.float32)
    data[:, 5:8, 3:9, 6:12] = 0
    seen = np.zeros(data.shape[1:], np.uint8)
    settings = NNUNET_SETTINGS | {"margin_mm": 1.5}
    assert region_of_interest(predictor, settings, data, None) is None
    body = region_of_interest(predictor, settings | {"region": "body"}, data, None)
    assert body == (slice(4, 9), slice(1, 11), slice(4, 14))
    previous = settings | {"region": "previous"}
    assert region_of_interest(predictor, previous, data, seen) is None  # it saw nothing
    seen[0, 0, 0] = 2
    found = region_of_interest(predictor, previous, data, seen)
    assert found == (slice(0, 4), slice(0, 4), slice(0, 4))
    managed.patch_size, managed.spacing = [4, 4], [1.0, 1.0]
    flat = region_of_interest(predictor, previous, data, seen)
    assert flat == (slice(0, 1), slice(0, 4), slice(0, 4))
